import { createHash, randomUUID } from 'node:crypto'
import type { AgentCommand, PersonCommand } from '../../src/domain/commands.ts'
import { decide } from '../../src/domain/decide.ts'
import type { RunRecord } from '../../src/domain/records.ts'
import { type LoadedRun, streamOf } from '../../src/log/run-log.ts'
import { type PreparedAppend, prepare } from '../../test/support/append-records.ts'
import type { BareLog } from '../support/bare-log.ts'

/** Records of a run of one iteration, from its creation to its end. */
export const RECORDS_EACH = 9
/** Runs that are stored in one transaction. */
const AT_ONCE = 500

const create = (runId: string, cwd: string): PersonCommand => ({
  type: 'create',
  runId,
  system_prompt: 'You work on a project until its goal is reached.',
  config: {
    goal: 'shell-goal',
    cwd,
    model_name: 'scripted-model',
    max_iterations: 20,
    hitl_enabled: false,
    max_cost_usd: null,
    max_tokens: null,
    max_seconds: null,
    // A goal that is reached at once would end the run before it asks the model.
    shell_goal: { check_command: 'false', success_condition: { exit_code: 0 } },
  },
})

type Report<C = AgentCommand> = C extends AgentCommand
  ? Omit<C, 'claimant' | 'readOnlyTools'>
  : never

const byAgent = (report: Report): AgentCommand =>
  ({ ...report, claimant: 'bench', readOnlyTools: new Set() }) as AgentCommand

const CLAIM = byAgent({ type: 'claim', expected: null, pid: 1, host: 'bench' })
const reply = (text: string): AgentCommand =>
  byAgent({
    type: 'record',
    made: {
      llm_usage: {
        input_tokens: 1000,
        output_tokens: 50,
        cost_usd: 0.001,
        model_name: 'scripted-model',
        duration_ms: 900,
        omitted_turns: 0,
      },
      assistant_message: { text, tool_calls: [], finish_reason: 'stop' },
    },
  })
const CHECK = byAgent({
  type: 'record',
  made: {
    goal_check: {
      achieved: true,
      reason: 'It succeeded',
      details: 'x'.repeat(200),
      duration_ms: 5,
    },
  },
})

/**
 * The appends of one run, as the server makes them.
 * @param said by the model; null: the run waits for it
 * @param began in seconds since the epoch
 */
function appends(runId: string, cwd: string, said: string | null, began: number): PreparedAppend[] {
  const commands = [create(runId, cwd), CLAIM, ...(said === null ? [] : [reply(said), CHECK])]
  const made: PreparedAppend[] = []
  let run: LoadedRun | null = null
  for (const [second, command] of commands.entries()) {
    const records: RunRecord[] = decide(command, run?.state ?? null, began + second)._unsafeUnwrap()
    const prepared: PreparedAppend = prepare(runId, run, records, { commandId: randomUUID() })
    made.push(prepared)
    run = prepared.after
  }
  return made
}

/**
 * Stores `runs` runs in the project `cwd`; the last `unfinished` of them wait for their model.
 * @param say what the model of a run says
 * @returns the number of records
 */
export function fill(
  log: BareLog,
  cwd: string,
  runs: number,
  unfinished: number,
  say: (run: number) => string = () => 'All is done already.',
): number {
  let records = 0
  for (let first = 1; first <= runs; first += AT_ONCE) {
    const ids = Array.from({ length: Math.min(AT_ONCE, runs - first + 1) }, (_, n) => first + n)
    log.addNamedStreams(ids.map((id) => ({ id, name: streamOf(uuidOf(id)) })))
    const rows = ids.flatMap((stream) =>
      appends(
        uuidOf(stream),
        cwd,
        stream <= runs - unfinished ? say(stream) : null,
        1_770_000_000 + stream,
      )
        .flatMap(({ events }) => events)
        .map((event, revision) => ({ stream, revision, event })),
    )
    log.append(rows)
    records += rows.length
  }
  return records
}

function uuidOf(number: number): string {
  const hex = createHash('sha256').update(`run ${number}`).digest('hex')
  const parts = [hex.slice(0, 8), hex.slice(8, 12), `4${hex.slice(13, 16)}`]
  return [...parts, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join('-')
}
