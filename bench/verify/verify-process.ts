/** Main module of the process that is measured, which the bench builds. Prints the rows of its table as JSON. */
import { hash, randomUUID } from 'node:crypto'
import { eventLine } from '../../src/audit/bundle/record-lines.ts'
import { ContentsPool } from '../../src/audit/verify/contents-pool.ts'
import { RecordsCheck } from '../../src/audit/verify/verify-records.ts'
import type { RunRecord } from '../../src/domain/records.ts'
import { type LoadedRun, streamOf } from '../../src/log/run-log.ts'
import { prepare } from '../../test/support/append-records.ts'
import { integer, median } from '../support/figures.ts'

const RECORDS = [10_000, 100_000]
const CHUNK = 64 * 1024
/** Characters of each output: a record and its metadata come to about 1 KB. */
const OUTPUT = 430
const ROUNDS = Number(process.argv[2])

async function compare(count: number): Promise<string[]> {
  const runId = randomUUID()
  const bytes = Buffer.from(linesOf(runId, count))
  const rounds: { readonly verified: number; readonly alone: number; readonly bare: number }[] = []
  // The first round warms up both sides and does not count.
  for (let round = 0; round <= ROUNDS; round += 1) {
    const start = performance.now()
    await verify(runId, bytes, count, new ContentsPool())
    const middle = performance.now()
    await verify(runId, bytes, count, new ContentsPool(0))
    const later = performance.now()
    hash('sha256', bytes)
    const end = performance.now()
    if (round === 0) continue
    rounds.push({ verified: middle - start, alone: later - middle, bare: end - later })
  }
  const [verified, alone, bare] = [
    median(rounds.map((each) => each.verified)),
    median(rounds.map((each) => each.alone)),
    median(rounds.map((each) => each.bare)),
  ]
  return [
    integer(count),
    integer(bytes.length / count),
    `${verified.toFixed(0)} ms`,
    `${alone.toFixed(0)} ms`,
    `${bare.toFixed(0)} ms`,
    (bare / verified).toFixed(3),
    integer((1000 * count) / verified),
  ]
}

async function verify(
  runId: string,
  bytes: Buffer,
  count: number,
  given: ContentsPool,
): Promise<void> {
  using pool = given
  pool.expect(count)
  const check = new RecordsCheck(runId, pool)
  await check.read(chunksOf(bytes), 'plain')
  if (check.bad !== null || check.next !== count) throw new Error('the run must hold')
}

async function* chunksOf(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let from = 0; from < bytes.length; from += CHUNK) yield bytes.subarray(from, from + CHUNK)
}

function linesOf(runId: string, count: number): string {
  const lines: string[] = []
  let after: LoadedRun | null = null
  for (const records of appends(runId, count)) {
    const prepared = prepare(runId, after, records, { commandId: randomUUID() })
    const first = (after?.state.seq ?? -1) + 1
    prepared.events.forEach((event, index) => {
      const place = { stream: streamOf(runId), revision: first + index, position: '', created: 0 }
      lines.push(`${eventLine({ ...event, ...place }, 'plain')}\n`)
    })
    after = prepared.after
  }
  return lines.join('')
}

/** A run that calls one tool after the other, in one long turn. */
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

const rows: string[][] = []
for (const count of RECORDS) rows.push(await compare(count))
console.log(JSON.stringify(rows))
