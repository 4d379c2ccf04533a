import { waitedOnce } from './budget.ts'
import { BrokenInvariant } from './errors.ts'
import { planOf } from './plan.ts'
import { present } from './present.ts'
import type { RecordOf } from './records.ts'
import type { Subagent, SubagentEnd } from './related-runs.ts'
import { ASKED_ANEW, type Phase, type RunState, type Usage } from './state.ts'
import { UNSUSPICIOUS, watchReply, watchResult } from './stuck.ts'

/** Adds to what a run has used. */
function use(usage: Usage, tokens: number, costUsd: number | null): Usage {
  return {
    tokens: usage.tokens + tokens,
    costUsd: sumUsd(usage.costUsd, costUsd),
  }
}

/** A sum of US dollars, null if one is not known. Rounded for people: binary fractions add up to 0.010409999999999999. */
export const sumUsd = (a: number | null, b: number | null): number | null =>
  a === null || b === null ? null : Math.round((a + b) * 1e12) / 1e12

/** The model has replied. */
export function reply(
  state: RunState,
  { payload }: RecordOf<'assistant_message'>,
): Partial<RunState> {
  const { user_messages, tool_calls: calls, notice } = payload
  return {
    turns: state.turns + 1,
    messages: { ...state.messages, read: user_messages ?? state.messages.read },
    watch: watchReply(state.watch, payload),
    phase: { type: 'replied', calls, ...(notice === undefined ? {} : { isBroken: true }) },
  }
}

/** An attempt to get a reply has failed. */
export function retry(
  { phase }: RunState,
  { ts, payload }: RecordOf<'llm_retry'>,
): Partial<RunState> {
  const { failure, fallback, reason: what, delay_ms } = payload
  if (fallback !== undefined) return { phase: ASKED_ANEW, fallback: fallback.to }
  const { failures, wait, invalidReplies = 0 } = phase.type === 'planning' ? phase : ASKED_ANEW
  const invalid = invalidReplies + (failure === 'invalid_reply' ? 1 : 0)
  return {
    phase: {
      type: 'planning',
      failures: failures + 1,
      ...(invalid > 0 ? { invalidReplies: invalid } : {}),
      wait: { what, since: wait?.since ?? ts, nextTry: ts + delay_ms / 1_000 },
    },
  }
}

/** A request had a price. */
export function spend(
  state: RunState,
  { payload: { input_tokens, output_tokens, cost_usd } }: RecordOf<'llm_usage'>,
): Partial<RunState> {
  const tokens = input_tokens + output_tokens
  return {
    total: use(state.total, tokens, cost_usd),
    thisIteration: use(state.thisIteration, tokens, cost_usd),
  }
}

/** The next call of the reply begins. */
export function openCall(
  state: RunState,
  { payload }: RecordOf<'tool_call'>,
): Pick<RunState, 'changed' | 'phase'> {
  const { phase } = state
  if (phase.type !== 'acting' || phase.open !== null || phase.pending.length === 0) {
    throw new BrokenInvariant(`tool_call ${payload.call_id} is not the next call of its turn`)
  }
  const { answer, pending } = phase
  return {
    changed: state.changed || !payload.read_only,
    phase: { type: 'acting', pending: pending.slice(1), open: payload, ...present({ answer }) },
  }
}

/** The open call has its result. */
export function closeCall(
  state: RunState,
  { ts, payload }: RecordOf<'tool_result'>,
): Partial<RunState> {
  const { phase } = state
  if (phase.type !== 'acting' || phase.open?.call_id !== payload.call_id) {
    throw new BrokenInvariant(`tool_result ${payload.call_id} belongs to no open call`)
  }
  const { open, pending } = phase
  return {
    phase: { type: 'acting', pending, open: null },
    watch: watchResult(state.watch, open, payload, pending.length === 0),
    ...present({ shellFolder: payload.folder }),
    ...(payload.outcome === 'ok' ? present({ plan: planOf(open) }) : {}),
    ...(payload.subagent === undefined ? {} : withSubagent(state, payload.subagent, ts)),
  }
}

/** What a sub-agent used is a part of what its parent used, and its time with people does not count as work of its parent. */
function withSubagent(state: RunState, end: SubagentEnd, now: number): Partial<RunState> {
  const { tokens, cost_usd } = end
  const subagents = state.subagents?.map((each) =>
    each.run_id === end.run_id ? ended(each, end) : each,
  )
  return {
    ...present({ subagents }),
    total: use(state.total, tokens, cost_usd),
    thisIteration: use(state.thisIteration, tokens, cost_usd),
    ...waitWith(state, end, now),
  }
}

/** Sub-agents that work side by side also wait for people side by side: no second counts twice. */
function waitWith(
  state: RunState,
  { run_id, waited_seconds: waited }: SubagentEnd,
  now: number,
): Pick<RunState, 'waitedSeconds' | 'waitedTwice'> {
  const before = waitedOnce(state)
  const { ts, waitedBefore } = state.subagents?.find((one) => one.run_id === run_id)?.began ?? {
    ts: state.createdAt,
    waitedBefore: before,
  }
  const once = Math.max(before, waitedBefore + Math.min(waited, Math.max(0, now - ts)))
  const waitedSeconds = state.waitedSeconds + waited
  return once === waitedSeconds
    ? { waitedSeconds }
    : { waitedSeconds, waitedTwice: waitedSeconds - once }
}

/** What has ended holds nothing back. */
const ended = ({ run_id, call_id, seq }: Subagent, end: SubagentEnd): Subagent => ({
  run_id,
  call_id,
  seq,
  end,
})

/** A call that is open, or works beside the open one, starts a run. */
export function startSubagent(
  state: RunState,
  { ts, payload: { run_id, call_id, config } }: RecordOf<'subagent_started'>,
): Pick<RunState, 'subagents'> {
  const { max_tokens, max_cost_usd } = config
  const limits = { max_tokens, max_cost_usd }
  const began = { ts, waitedBefore: waitedOnce(state) }
  const started = { run_id, call_id, seq: state.seq + 1, end: null, limits, began }
  return { subagents: [...(state.subagents ?? []), started] }
}

/** The run waits until a person has approved another iteration, or another try of what crashes interrupted. */
export function askHuman(
  { seq, phase }: RunState,
  { ts, payload: { summary } }: RecordOf<'human_check_required'>,
): Partial<RunState> {
  const interrupted = phase.type === 'consulting' ? undefined : phase
  const asking = { type: 'awaiting_human', seq: seq + 1, summary } as const
  return { waitingSince: ts, phase: { ...asking, ...present({ interrupted }) } }
}

/** After the answer to a human check. */
export function answer(
  state: RunState,
  { ts, payload }: RecordOf<'human_check_response'>,
): Partial<RunState> {
  const { decision, reason } = payload
  const { interrupted } = state.phase.type === 'awaiting_human' ? state.phase : {}
  return {
    ...afterWaiting(state, ts),
    phase:
      decision === 'approve'
        ? (interrupted ?? { type: 'ready' })
        : { type: 'aborting', reason: reason ?? 'Aborted at a human check' },
  }
}

/** The run waits. If another limit stops it while it waits, it continues with what the first one interrupted. */
export function pause(
  { phase, seq, waitingSince }: RunState,
  { ts, payload: { by, reason } }: RecordOf<'run_paused'>,
): Partial<RunState> {
  const interrupted = phase.type === 'paused' ? phase.interrupted : phase
  return {
    waitingSince: waitingSince ?? ts,
    phase: { type: 'paused', seq: seq + 1, by, reason, interrupted },
  }
}

/**
 * The run continues. What it waited for gets all of its attempts again, and whoever lets it continue after an iteration is not
 * asked about the next one.
 */
export function resume(
  state: RunState,
  { ts, payload: { answers } }: RecordOf<'run_resumed'>,
): Partial<RunState> {
  const { phase } = state
  if (phase.type !== 'paused') {
    throw new BrokenInvariant(`run_resumed ends no pause, but names ${answers}`)
  }
  const { interrupted } = phase
  return { ...afterWaiting(state, ts), phase: RESUMED[interrupted.type] ?? interrupted }
}

const RESUMED: { readonly [T in Phase['type']]?: Phase } = {
  planning: ASKED_ANEW,
  iterated: { type: 'ready' },
}

function afterWaiting(state: RunState, ts: number): Partial<RunState> {
  const waited = state.waitingSince === null ? 0 : ts - state.waitingSince
  return {
    waitingSince: null,
    awaitsTurn: true,
    waitedSeconds: state.waitedSeconds + Math.max(0, waited),
    // A person may have changed the project meanwhile.
    changed: true,
    watch: UNSUSPICIOUS,
  }
}

/** The run waits until a person has answered for the next call. */
export function askAboutCall(
  { phase, seq }: RunState,
  { ts, payload }: RecordOf<'approval_required'>,
): Partial<RunState> {
  if (phase.type !== 'acting') {
    throw new BrokenInvariant(`approval_required ${payload.call_id} is not about the next call`)
  }
  const { call_sha256: callSha256, rule, content, doubt = null, network } = payload
  return {
    waitingSince: ts,
    phase: {
      type: 'awaiting_approval',
      seq: seq + 1,
      pending: phase.pending,
      callSha256,
      rule,
      content,
      doubt,
      ...present({ network }),
    },
  }
}

/** After the answer for a call, which begins next or gets a result that says why it does not. */
export function answerCall(
  state: RunState,
  { ts, payload: { call_id, decision, reason, lifts_rule } }: RecordOf<'approval_response'>,
): Partial<RunState> {
  const { phase, approvals, total, config } = state
  if (phase.type !== 'awaiting_approval') {
    throw new BrokenInvariant(`approval_response ${call_id} answers no open question`)
  }
  const { network, pending, rule } = phase
  const isAllowed = decision === 'allow'
  return {
    ...afterWaiting(state, ts),
    ...(isAllowed && network !== undefined ? { config: { ...config, network } } : {}),
    ...(approvals !== undefined && {
      approvals: {
        ...approvals,
        lifted: lifts_rule === true ? [...approvals.lifted, rule] : approvals.lifted,
        approvedCostUsd: isAllowed ? total.costUsd : approvals.approvedCostUsd,
      },
    }),
    phase: { type: 'acting', pending, open: null, answer: { decision, reason } },
  }
}
