/** Main module of the process that verifies with the code of this commit, which the bench builds. */
import { hash } from 'node:crypto'
import { eventLine } from '../../src/audit/bundle/record-lines.ts'
import { ContentsPool } from '../../src/audit/verify/contents-pool.ts'
import { RecordsCheck } from '../../src/audit/verify/verify-records.ts'
import { prepare } from '../../test/support/append-records.ts'
import { answerCalls } from '../support/calls.ts'
import { chunksOf, type ExportedRun, exportedRun } from './export-lines.ts'

/** Milliseconds of each side. */
type Times = { readonly verified: number; readonly alone: number; readonly bare: number }

let run: ExportedRun = { runId: '', bytes: Buffer.alloc(0) }
let records = 0

async function verify(given: ContentsPool): Promise<number> {
  const began = performance.now()
  using pool = given
  pool.expect(records)
  const check = new RecordsCheck(run.runId, pool)
  await check.read(chunksOf(run.bytes), 'plain')
  if (check.bad !== null || check.next !== records) throw new Error('the run must hold')
  return performance.now() - began
}

const operations = {
  /** Makes the run that is verified from now on. @returns its bytes */
  prepare: (count: number): number => {
    run = exportedRun(count, { prepare, lineOf: (event) => eventLine(event, 'plain') })
    records = count
    return run.bytes.length
  },
  round: async (): Promise<Times> => {
    const verified = await verify(new ContentsPool())
    const alone = await verify(new ContentsPool(0))
    const began = performance.now()
    hash('sha256', run.bytes)
    return { verified, alone, bare: performance.now() - began }
  },
}
export type VerifyOperations = typeof operations

answerCalls(operations)
