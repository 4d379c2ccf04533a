import { err, ok, type Result } from 'neverthrow'
import { advance, atLimit } from './advance.ts'
import { nameOfRule } from './approvals/rules.ts'
import { closeOpenCall, deniedCall } from './close-call.ts'
import type { AgentCommand } from './commands.ts'
import type { RunError } from './errors.ts'
import { evolve, fold } from './evolve.ts'
import { compareListing, onlyReads } from './mcp-tools.ts'
import { modelInUse } from './model-choice.ts'
import { isIntroductionDue } from './next-step.ts'
import { present } from './present.ts'
import type { Kind, PayloadOf, RunRecord } from './records.ts'
import {
  areHashesDue,
  isCopyDue,
  isReviewDue,
  isWaiting,
  type RunState,
  recordOf,
} from './state.ts'
import { isRepeatable, mayStart } from './subagent-state.ts'

type Decided = Result<RunRecord[], RunError>
type Command<T extends AgentCommand['type']> = Extract<AgentCommand, { type: T }>

/** Decides for the process that works on a run, and only for that. */
export function decideForAgent(command: AgentCommand, state: RunState, now: number): Decided {
  if (command.type === 'claim') return claim(command, state, now)
  if (state.claimant !== command.claimant) {
    return err({ type: 'claim_lost', claimant: state.claimant })
  }
  const outcome = recordOutcome(command, state, now)
  return outcome.map((records) => withAdvance(records, command, state, now))
}

/** The records of an agent's command, and all that follows from them without an effect. */
function withAdvance(records: RunRecord[], command: AgentCommand, state: RunState, now: number) {
  const after = fold(records, state) ?? state
  return [...records, ...advance(after, command.readOnlyTools, now)]
}

/** Claims a run for a process: at its start, after a restart, or from a process that seems dead. */
function claim(command: Command<'claim'>, state: RunState, now: number): Decided {
  const { claimant, expected, pid, host, after } = command
  if (state.claimant !== expected) return err({ type: 'claim_lost', claimant: state.claimant })
  const open = state.phase.type === 'acting' ? state.phase.open : null
  const why = after === 'crash' ? { after_crash: true as const } : present({ after })
  const claimed = recordOf(state, now, 'run_claimed', { claimant, pid, host, ...why })
  const { crashes } = evolve(state, claimed)
  if (crashes >= MAX_CRASHES) {
    const again = open === null ? 'check it again' : 'continue without that call'
    const summary = `${crashReason(state, crashes)}, so that may be the cause. Approve to ${again}, or abort.`
    const { iteration, config } = state
    return ok([
      claimed,
      ...closeOpenCall(state, now, 'crashed'),
      config.on_limit === 'pause'
        ? recordOf(state, now, 'run_paused', { by: 'crashes', reason: summary })
        : recordOf(state, now, 'human_check_required', { iteration, summary }),
    ])
  }
  const records = [
    claimed,
    // Nobody can know whether a call that changes something took effect, so it is never run twice.
    ...(open !== null && !isRepeatable(open) ? closeOpenCall(state, now, 'in_doubt') : []),
  ]
  return ok(withAdvance(records, command, state, now))
}

function recordOutcome(
  command: Exclude<AgentCommand, { type: 'claim' }>,
  state: RunState,
  now: number,
): Decided {
  const { phase } = state
  const outOfStep = (): Decided => refuse(command, state)
  switch (command.type) {
    case 'proceed':
      return ok([])
    case 'record':
      return recordMade(command, state, now)
    case 'record_mcp_tools':
      return recordTools(command, state, now)
    case 'record_retry':
      return recordRetry(command, state, now)
    case 'stop_at_limit':
      if (phase.type !== 'planning') return outOfStep()
      return ok([atLimit(state, now, { by: 'max_cost_usd', reason: command.reason })])
    case 'pause': {
      if (phase.type !== 'planning' && phase.type !== 'evaluating') return outOfStep()
      const { by, reason } = command
      return ok([
        ...usageOf(command, state, now),
        recordOf(state, now, 'run_paused', { by, reason }),
      ])
    }
    case 'record_review':
      return recordReview(command, state, now)
    case 'record_notices':
      return ok(noticesOf(command, state, now))
    case 'fail':
      return ok([
        ...closeOpenCall(state, now, 'failed'),
        ...usageOf(command, state, now),
        recordOf(state, now, 'error', { message: command.message, traceback: command.traceback }),
      ])
  }
}

const usageOf = (
  { usage = null }: { readonly usage?: PayloadOf<'llm_usage'> | null },
  state: RunState,
  now: number,
): RunRecord[] => (usage === null ? [] : [recordOf(state, now, 'llm_usage', usage)])

const refuse = ({ type: command }: AgentCommand, { phase }: RunState): Decided =>
  err({ type: 'out_of_step', command, phase: phase.type })

type May = { readonly [K in Kind]?: (state: RunState, payload: PayloadOf<K>) => boolean }

const isPlanning = ({ phase }: RunState): boolean => phase.type === 'planning'
const isEvaluating = ({ phase }: RunState): boolean => phase.type === 'evaluating'

/** The records that the agent may report of a step, and when. */
const MAY: May = {
  project_copied: isCopyDue,
  project_context: isIntroductionDue,
  llm_usage: ({ phase }) => phase.type === 'planning' || phase.type === 'ending',
  assistant_message: isPlanning,
  context_compacted: isPlanning,
  run_summary: ({ phase }) => phase.type === 'ending' && !phase.isSummarized,
  subagent_started: (state, { call_id }) => mayStart(state, call_id),
  tool_result: ({ phase }, { call_id }) =>
    phase.type === 'acting' && phase.open?.call_id === call_id,
  goal_check: isEvaluating,
  // What a person is asked about must not change after the question.
  snapshot: (state) => !isWaiting(state),
  final_check: isEvaluating,
  left_out_hashed: (state) => !isWaiting(state) && areHashesDue(state),
}

function recordMade(command: Command<'record'>, state: RunState, now: number): Decided {
  const made = Object.entries(present(command.made)) as [Kind, never][]
  return made.every(([kind, payload]) => MAY[kind]?.(state, payload))
    ? ok(made.map(([kind, payload]) => recordOf(state, now, kind, payload)))
    : refuse(command, state)
}

function noticesOf(
  { notices }: Command<'record_notices'>,
  state: RunState,
  now: number,
): RunRecord[] {
  const { phase } = state
  const call_id = phase.type === 'acting' ? (phase.open?.call_id ?? null) : null
  return notices.map(({ kind, payload }) => recordOf(state, now, kind, { call_id, ...payload }))
}

function recordTools(command: Command<'record_mcp_tools'>, state: RunState, now: number): Decided {
  const { phase, mcp, config } = state
  const isCall = phase.type === 'acting' && (phase.open !== null || isReviewDue(state))
  if (phase.type !== 'planning' && !isCall) return refuse(command, state)
  const listed = command.listings.map((one) => compareListing(one, mcp, config.mcp_servers ?? []))
  const isOver = listed.some(({ stops }) => stops !== undefined)
  return ok([
    ...listed.map((payload) => recordOf(state, now, 'mcp_tools_listed', payload)),
    ...(isOver ? closeOpenCall(state, now, 'not_run') : []),
  ])
}

function recordRetry(command: Command<'record_retry'>, state: RunState, now: number): Decided {
  if (state.phase.type !== 'planning') return refuse(command, state)
  const { reason, delayMs: delay_ms, failure, contextTokens } = command
  // If a person has chosen another model meanwhile, the run asks that one.
  const fallback = command.fallback?.from === modelInUse(state) ? command.fallback : undefined
  const retry = {
    attempt: state.phase.failures + 1,
    reason,
    delay_ms,
    ...present({ failure, context_tokens: contextTokens, fallback }),
  }
  return ok([...usageOf(command, state, now), recordOf(state, now, 'llm_retry', retry)])
}

/** What the rules say of the next call: it begins, is denied, or waits for a person. */
function recordReview(command: Command<'record_review'>, state: RunState, now: number): Decided {
  const { callId, callSha256, verdict, network, readOnlyTools } = command
  const { phase } = state
  const call = phase.type === 'acting' ? phase.pending[0] : undefined
  if (call === undefined || call.call_id !== callId || !isReviewDue(state)) {
    return refuse(command, state)
  }
  const { action, rule, doubt } = verdict
  const begun = recordOf(state, now, 'tool_call', {
    ...call,
    read_only: onlyReads(call.tool, readOnlyTools, state.mcp),
  })
  if (action === 'allow' || rule === null) return ok([begun])
  const { content, ...name } = rule
  if (action === 'deny') {
    const why = [
      content.reason,
      doubt === null ? undefined : `It cannot be judged with certainty: ${doubt}.`,
    ]
    const reason = why.filter((part) => part !== undefined).join(' ') || null
    return ok([begun, deniedCall(state, now, call, { by: nameOfRule(name), reason })])
  }
  const question = {
    call_id: call.call_id,
    tool: call.tool,
    call_sha256: callSha256,
    rule: name,
    content,
    ...present({ doubt, network }),
  }
  return ok([recordOf(state, now, 'approval_required', question)])
}

/** After this many crashes during one call or check, a person decides whether it is tried again: it may be the cause. */
const MAX_CRASHES = 5

/** What was under way in each of these crashes, for people. */
export function crashReason({ phase }: RunState, crashes: number): string {
  const open = phase.type === 'acting' ? phase.open : null
  const what = open === null ? 'goal was checked' : `call of ${open.tool} ran`
  return `The server crashed ${crashes} times while the ${what}`
}
