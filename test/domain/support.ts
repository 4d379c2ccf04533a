import { expect } from 'vitest'
import { storedRecord } from '../../src/audit/stored-events.ts'
import { type VerifiedRun, verifyRecord } from '../../src/audit/verify/verify-run.ts'
import type {
  AgentCommand,
  CommandOnRun,
  FromLog,
  Made,
  PersonCommand,
  RunCommand,
} from '../../src/domain/commands.ts'
import type { Conversation } from '../../src/domain/conversation.ts'
import { converse } from '../../src/domain/converse.ts'
import { decide } from '../../src/domain/decide.ts'
import type { RunError } from '../../src/domain/errors.ts'
import { fold } from '../../src/domain/evolve.ts'
import type { Kind, PayloadOf, RunRecord } from '../../src/domain/records.ts'
import type { ConfigChanges, RunConfig } from '../../src/domain/run-config.ts'
import { toMessages } from '../../src/domain/sent-messages.ts'
import { chained } from '../support/run-records.ts'

const RUN_ID = '550e8400-e29b-41d4-a716-446655440000'
const READ_ONLY: ReadonlySet<string> = new Set(['file_read'])

const config: RunConfig = {
  goal: 'pytest',
  cwd: '/project',
  model_name: 'claude-sonnet-4-6',
  max_iterations: 3,
  hitl_enabled: false,
  max_cost_usd: null,
  max_tokens: null,
  max_seconds: null,
  shell_goal: null,
}

type Report<C = AgentCommand> = C extends AgentCommand
  ? Omit<C, 'claimant' | 'readOnlyTools'>
  : never

/** A command of the process that claimed the run as `claimant`. */
export const by = (claimant: string, report: Report): RunCommand =>
  ({ ...report, claimant, readOnlyTools: READ_ONLY }) as RunCommand

/** What the process that claimed the run first reports of the step under way. */
export const record = (made: Made): RunCommand => by('p1', { type: 'record', made })

export const create = (changes: Partial<RunConfig> = {}): RunCommand => ({
  type: 'create',
  runId: RUN_ID,
  config: { ...config, ...changes },
  system_prompt: 'You fix code.',
})

export const claim = (claimant = 'p1', expected: string | null = null): RunCommand =>
  by(claimant, { type: 'claim', expected, pid: 1, host: 'host' })

export const queue = (reason: string, expected: string | null = null, overrides = true) =>
  ({ type: 'queue', reason, expected, overrides }) as const

/** A claim of a run whose process has crashed. */
export const claimAfterCrash = (claimant: string, expected: string): RunCommand =>
  by(claimant, { type: 'claim', expected, pid: 1, host: 'host', after: 'crash' })

export const usageOf = (tokens: number, cost: number | null) => ({
  input_tokens: tokens,
  output_tokens: 0,
  cost_usd: cost,
  model_name: 'claude-sonnet-4-6',
  duration_ms: 1,
  omitted_turns: 0,
})

export const reply = (
  tools: readonly string[] = [],
  tokens = 100,
  cost: number | null = 0.01,
  more: Partial<PayloadOf<'assistant_message'>> = {},
) =>
  record({
    llm_usage: usageOf(tokens, cost),
    assistant_message: {
      text: 'I look.',
      tool_calls: tools.map((tool, n) => ({ call_id: `c${n}`, tool, args: {} })),
      finish_reason: 'stop',
      ...more,
    },
  })

export const result = (
  callId: string,
  tool: string,
  output = 'done',
  outcome: 'ok' | 'rejected' = 'ok',
  more: Partial<PayloadOf<'tool_result'>> = {},
) =>
  record({
    tool_result: {
      call_id: callId,
      tool,
      output,
      exit_code: 0,
      outcome,
      duration_ms: 1,
      bytes: output.length,
      truncated: false,
      sha256: null,
      ...more,
    },
  })

export const check = (achieved: boolean, reason = achieved ? 'All passed' : '3 failing') =>
  record({ goal_check: { achieved, reason, details: '', duration_ms: 1 } })

/** The agent looks at its project. */
export const look = record({
  project_context: { documents: [], files: 'a.py', git: null, programs: null },
})

export const proceed = by('p1', { type: 'proceed' })
export const say = (text: string): PersonCommand => ({ type: 'send_message', text })
export const abort = { type: 'abort', reason: null } as const
export const configure = (changes: ConfigChanges, reason: string | null = null): CommandOnRun => ({
  type: 'configure',
  changes,
  reason,
})
export const respond = (
  decision: 'approve' | 'abort',
  answers: number | null = null,
): CommandOnRun => ({ type: 'respond', decision, reason: null, answers })

export const outOfStep = (phase: string, command = 'record') =>
  ({ type: 'out_of_step', command, phase }) as const

/** The steps of a run whose iterations have turns, up to its first claim. */
export const begun = (changes: Partial<RunConfig> = {}): Step[] => [
  create({ max_turns_per_iteration: 3, ...changes }),
  claim(),
]
/** The same, up to the first request to its model. */
export const working = (changes: Partial<RunConfig> = {}): Step[] => [
  ...begun(changes),
  check(false),
  look,
]
/** A turn that changes something. */
export const change = [reply(['bash_exec']), result('c0', 'bash_exec')]

/** A step of a scenario: a command, sent one second after the previous one, unless it has a time of its own. */
export type Step =
  | RunCommand
  | { readonly command: RunCommand; readonly at?: number; readonly fromLog?: Partial<FromLog> }

const NOTHING: FromLog = { hashes: new Map(), isStarter: false, subagents: [] }

function apply(steps: readonly Step[]): RunRecord[] {
  const records: RunRecord[] = []
  steps.forEach((step, second) => {
    const { command, at = second, fromLog } = 'command' in step ? step : { command: step }
    const decided = decide(command, fold(records), at, { ...NOTHING, ...fromLog })
    if (decided.isErr()) throw new Error(`given ${command.type}: ${JSON.stringify(decided.error)}`)
    records.push(...decided.value)
  })
  return records
}

/** Verifies that a run can have these records. @throws what a verifier reports */
export function verified(records: readonly RunRecord[]): void {
  let run: VerifiedRun | null = null
  const runId = records[0]?.run_id ?? RUN_ID
  for (const { event } of chained(runId, records)) {
    const next: ReturnType<typeof verifyRecord> = verifyRecord(runId, run, storedRecord(event))
    if (next.isErr()) throw new Error(next.error.message)
    run = next.value.run
  }
}

/** Verifies records of which the first of this kind has other values. */
export function altered(records: readonly RunRecord[], kind: string, changes: object) {
  const at = records.findIndex((record) => record.kind === kind)
  const record = records[at]
  if (record === undefined) throw new Error(`there is no ${kind}`)
  const payload = { ...record.payload, ...changes }
  verified(records.with(at, { ...record, payload } as RunRecord))
}

/** The essence of a record, short enough to read in a list. */
export function brief(record: RunRecord): string {
  switch (record.kind) {
    case 'step_start':
      return `${record.iteration} ${record.kind} ${record.payload.node}`
    case 'tool_call':
      return `${record.iteration} ${record.kind} ${record.payload.call_id}`
    case 'tool_result':
      return `${record.iteration} ${record.kind} ${record.payload.call_id} ${record.payload.outcome}`
    case 'run_end':
      return `${record.iteration} ${record.kind} ${record.payload.status}`
    default:
      return `${record.iteration} ${record.kind}`
  }
}

/** Records in brief, such as '1 goal_check, iteration_complete, 2 step_start plan', one by one, each with its iteration. */
const briefs = (list: string): string[] => {
  let iteration = ''
  return list.split(', ').map((one) => {
    const [, own, rest = one] = /^(\d+) (.*)/.exec(one) ?? []
    iteration = own ?? iteration
    return `${iteration} ${rest}`
  })
}

/**
 * A step, and what comes of it: why it is refused; or its records in brief, and what the payload of the last one of each
 * list matches, if that matters.
 */
export type Row = readonly [
  step: Step,
  ...outcome: readonly (RunError | string | { readonly [name: string]: unknown })[],
]

/** Sends the steps of these rows, each to the run as `before` and the rows before it have left it. */
export function story(before: readonly Step[], ...rows: readonly Row[]): void {
  rows.forEach((row, sent) => {
    const done = rows.slice(0, sent).filter(([, first]) => typeof first !== 'object')
    given(...before, ...done.map(([step]) => step)).each(row)
  })
}

/** A run after these steps. `each` sends the step of each row to it as it is then. */
export function given(...steps: Step[]) {
  const records = apply(steps)
  const state = fold(records)
  const each = (...rows: readonly Row[]): void => {
    for (const [step, ...outcome] of rows) {
      const { command, at = steps.length, fromLog } = 'command' in step ? step : { command: step }
      const decided = decide(command, state, at, { ...NOTHING, ...fromLog })
      const lists = outcome.filter((one) => typeof one === 'string')
      const [refusal] = outcome
      const expected = typeof refusal === 'object' ? refusal : lists.flatMap(briefs)
      const made = decided.unwrapOr([])
      expect(decided.isOk() ? made.map(brief) : decided.error).toEqual(expected)
      let count = 0
      for (const one of outcome) {
        if (typeof one === 'string') count += briefs(one).length
        else if (one !== refusal) expect(made[count - 1]?.payload).toMatchObject(one)
      }
    }
  }
  return { records, state, each }
}

/** A record of a run that says only this. */
export const bare = <K extends Kind>(kind: K, payload: PayloadOf<K>) =>
  ({ kind, run_id: 'r', iteration: 1, ts: 1, payload }) as RunRecord

/** The conversation of a run with these records. @param before that of the run that it begins from */
export function conversationOf(
  records: readonly RunRecord[],
  before: Conversation | null = null,
): Conversation {
  const conversation = records.reduce<Conversation | null>(converse, before)
  if (conversation === null) throw new Error('a run has records')
  return conversation
}

/** The messages of the next request, as far as they fit. */
export const textsIn = (conversation: Conversation, budget = Number.MAX_SAFE_INTEGER): string[] =>
  toMessages(conversation, budget).messages.map(({ role, content }) => `${role}: ${content}`)
