/** Main module of the process that verifies with the sources of v0.1. Argument: their folder. */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { answerCalls } from '../support/calls.ts'
import { chunksOf, type ExportedRun, exportedRun } from './export-lines.ts'

const [root = ''] = process.argv.slice(2)
const load = (name: string) => import(pathToFileURL(join(root, 'src', name)).href)
const [{ eventLine }, { verifyRecords }, { prepare }] = await Promise.all([
  load('audit/record-line.ts'),
  load('audit/verify-records.ts'),
  load('store/run-log.ts'),
])

let run: ExportedRun = { runId: '', bytes: Buffer.alloc(0) }
let records = 0

const operations = {
  prepare: (count: number): void => {
    run = exportedRun(count, { prepare, lineOf: eventLine })
    records = count
  },
  /** @returns milliseconds */
  round: async (): Promise<number> => {
    const began = performance.now()
    const { run: verified, bad } = await verifyRecords(run.runId, chunksOf(run.bytes))
    if (bad !== null || verified.state.seq !== records - 1) throw new Error('the run must hold')
    return performance.now() - began
  },
}
export type BeforeOperations = typeof operations

answerCalls(operations)
