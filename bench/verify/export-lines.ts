import { randomUUID } from 'node:crypto'
import { eventLine } from '../../src/audit/stored-events.ts'
import type { RunRecord } from '../../src/domain/records.ts'
import { prepare } from '../../test/support/append-records.ts'

/** A run as an export holds it. */
export type ExportedRun = { readonly runId: string; readonly bytes: Buffer }

const CHUNK = 64 * 1024
/** Characters of each output: a record and its metadata come to about 1 KB. */
const OUTPUT = 430

/** The lines of a run with so many records. */
export function exportedRun(count: number): ExportedRun {
  const runId = randomUUID()
  const lines: string[] = []
  let after: Parameters<typeof prepare>[1] = null
  for (const records of appends(runId, count)) {
    const prepared = prepare(runId, after, records, { commandId: randomUUID() })
    const first = (after?.state.seq ?? -1) + 1
    prepared.events.forEach((event, index) => {
      const place = { stream: `run-${runId}`, revision: first + index, position: '', created: 0 }
      lines.push(`${eventLine({ ...event, ...place }, 'plain')}\n`)
    })
    after = prepared.after
  }
  return { runId, bytes: Buffer.from(lines.join('')) }
}

export async function* chunksOf(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let from = 0; from < bytes.length; from += CHUNK) yield bytes.subarray(from, from + CHUNK)
}

/** A run that calls one tool after the other, in one long turn. `count` records in all. */
function* appends(runId: string, count: number): Generator<RunRecord[]> {
  const common = { run_id: runId, iteration: 1, ts: 1_770_000_000.125 }
  const config = {
    goal: 'pytest',
    cwd: '/project',
    model_name: 'scripted',
    max_iterations: 1,
    hitl_enabled: false,
    max_cost_usd: null,
    max_tokens: null,
    max_seconds: null,
    shell_goal: null,
  }
  yield [{ kind: 'run_created', ...common, payload: { config, system_prompt: 'Mend it.' } }]
  const output = 'x'.repeat(OUTPUT)
  for (let left = count - 1; left > 0; ) {
    const call = { call_id: `call-${left}`, tool: 'bash_exec', args: { command: 'make check' } }
    const turn: RunRecord[] = [
      {
        kind: 'assistant_message',
        ...common,
        payload: { text: output, tool_calls: [call], finish_reason: 'tool_calls' },
      },
      { kind: 'step_start', ...common, payload: { node: 'act' } },
      { kind: 'tool_call', ...common, payload: { ...call, read_only: false } },
      {
        kind: 'tool_result',
        ...common,
        payload: {
          call_id: call.call_id,
          tool: call.tool,
          output: output.repeat(2),
          exit_code: 0,
          outcome: 'ok',
          duration_ms: 7,
          bytes: 2 * OUTPUT,
          truncated: false,
          sha256: null,
        },
      },
    ]
    yield turn.slice(0, left)
    left -= turn.length
  }
}
