/** Main module of the process that verifies with the sources of v0.1. Argument: their folder. */
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { RunRecord } from '../../src/domain/records.ts'
import type { EventStore } from '../../src/store/event-store.ts'
import { must } from '../loop/must.ts'
import { answerCalls } from '../support/calls.ts'
import { appends, chunksOf, type ExportedRun, exportedRun } from './export-lines.ts'

const [root = ''] = process.argv.slice(2)
const load = (name: string) => import(pathToFileURL(join(root, 'src', name)).href)
const [{ eventLine }, { verifyRecords }, { append, prepare }, { openEmbeddedStore }] =
  await Promise.all([
    load('audit/record-line.ts'),
    load('audit/verify-records.ts'),
    load('store/run-log.ts'),
    load('store/embedded/embedded-store.ts'),
  ])

/** Records of one append: together they stay below the limit of an append. */
const AT_ONCE = 400

const aborted = (run_id: string): RunRecord => ({
  ...{ kind: 'run_end', run_id, iteration: 1, ts: 1_770_000_001 },
  payload: {
    ...{ status: 'aborted', reason: 'enough', achieved: false, iterations: 1 },
    ...{ total_tokens: 0, estimated_cost_usd: 0 },
  },
})

let run: ExportedRun = { runId: '', bytes: Buffer.alloc(0) }
let records = 0

const operations = {
  /** Writes an aborted run into a new log. @returns its id */
  fill: async ({ file, count }: { readonly file: string; readonly count: number }) => {
    const store: EventStore = must(await openEmbeddedStore({ file }))
    const runId = randomUUID()
    const records = [...appends(runId, count - 1), [aborted(runId)]].flat()
    let after = null
    for (let from = 0; from < records.length; from += AT_ONCE) {
      const some = records.slice(from, from + AT_ONCE)
      after = must(await append(store, prepare(runId, after, some, { commandId: randomUUID() })))
    }
    await store.close()
    return runId
  },
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
