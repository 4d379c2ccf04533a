/** Main module of the process that verifies with the code of this commit, which the bench builds. */
import { hash } from 'node:crypto'
import { RecordsCheck } from '../../src/audit/verify/bundle-reading.ts'
import { answerCalls } from '../support/calls.ts'
import { chunksOf, type ExportedRun, exportedRun } from './export-lines.ts'

/** Milliseconds of each side. */
type Times = { readonly verified: number; readonly bare: number }

let run: ExportedRun = { runId: '', bytes: Buffer.alloc(0) }
let records = 0

async function verify(): Promise<number> {
  const began = performance.now()
  const check = new RecordsCheck(run.runId)
  await check.read(chunksOf(run.bytes), 'plain', () => {})
  if (check.bad !== null || check.length !== records) throw new Error('the run must hold')
  return performance.now() - began
}

const operations = {
  /** Makes the run that is verified from now on. @returns its bytes */
  prepare: (count: number): number => {
    run = exportedRun(count)
    records = count
    return run.bytes.length
  },
  round: async (): Promise<Times> => {
    const verified = await verify()
    const began = performance.now()
    hash('sha256', run.bytes)
    return { verified, bare: performance.now() - began }
  },
}
export type VerifyOperations = typeof operations

answerCalls(operations)
