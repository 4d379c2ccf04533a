import { randomUUID } from 'node:crypto'
import type { RunRecord } from '../../src/domain/records.ts'
import type { LoadedRun } from '../../src/log/run-log.ts'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.ts'
import { append, prepare } from '../../test/support/append-records.ts'
import { must } from '../loop/must.ts'

const START = 1_770_000_000
/** Records of one append: together they stay below the limit of an append. */
const AT_ONCE = 400

/** Writes a finished run of `count` records of about 1 KB. @returns its id */
export async function fill(file: string, count: number): Promise<string> {
  const store = must(await openEmbeddedStore({ file }))
  const runId = randomUUID()
  let run: LoadedRun | null = null
  let batch: RunRecord[] = []
  for (let seq = 0; seq < count; seq += 1) {
    batch.push(recordAt(runId, seq, count))
    if (batch.length < AT_ONCE && seq < count - 1) continue
    const prepared = prepare(runId, run, batch, { commandId: randomUUID() })
    run = must(await append(store, prepared))
    batch = []
  }
  await store.close()
  return runId
}

const TEXT = 'The quick brown fox jumps over the lazy dog and "quotes" it.\n'.repeat(13)

/** Its keys are in the order in which the server writes them. */
function recordAt(run_id: string, seq: number, count: number): RunRecord {
  const at = { run_id, iteration: 0, ts: START + seq / 8 } as const
  if (seq === 0) {
    const limits = { max_cost_usd: null, max_tokens: null, max_seconds: null, shell_goal: null }
    const config = { goal: 'idle', cwd: '/', model_name: 'none', max_iterations: 1, ...limits }
    const payload = { config: { ...config, hitl_enabled: false }, system_prompt: '' }
    return { kind: 'run_created', ...at, payload }
  }
  if (seq < count - 1) {
    const changes = { model_name: `${seq} ${TEXT}` }
    return { kind: 'run_config_changed', ...at, payload: { changes } }
  }
  const ended = { achieved: false, iterations: 0, total_tokens: 0, estimated_cost_usd: 0 } as const
  return { kind: 'run_end', ...at, payload: { ...ended, status: 'aborted', reason: 'enough' } }
}
