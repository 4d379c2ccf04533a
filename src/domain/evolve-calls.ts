import { BrokenInvariant } from './errors.ts'
import { mayBeSame } from './free-text.ts'
import { planOf } from './plan.ts'
import { present } from './present.ts'
import type { PayloadOf, RecordOf } from './records.ts'
import { type RunState, type Usage, waitedOnce } from './state.ts'
import { watchResult } from './stuck.ts'
import { mayStart, subagentOf } from './subagent-state.ts'
import type { Subagent, SubagentEnd } from './subagents.ts'

/** Adds to what a run has used. */
export function use(usage: Usage, tokens: number, costUsd: number | null): Usage {
  return {
    tokens: usage.tokens + tokens,
    costUsd: sumUsd(usage.costUsd, costUsd),
  }
}

/** A sum of US dollars, null if one is not known. Rounded for people: binary fractions add up to 0.010409999999999999. */
export const sumUsd = (a: number | null, b: number | null): number | null =>
  a === null || b === null ? null : Math.round((a + b) * 1e12) / 1e12

/** The next call of the reply begins, as the model requested it. */
export function openCall(
  state: RunState,
  { payload }: RecordOf<'tool_call'>,
): Pick<RunState, 'changed' | 'phase'> {
  const { phase } = state
  const next = phase.type === 'acting' ? phase.pending[0] : undefined
  if (phase.type !== 'acting' || phase.open !== null || next?.call_id !== payload.call_id) {
    throw new BrokenInvariant(`tool_call ${payload.call_id} is not the next call of its turn`)
  }
  const { read_only, ...call } = payload
  if (payload.tool !== next.tool || (isStrict(state) && !mayBeSame(call, next))) {
    throw new BrokenInvariant(
      `tool_call ${payload.call_id} is not the call that the model requested`,
    )
  }
  const { answer } = phase
  const pending = phase.pending.slice(1)
  return {
    changed: state.changed || !read_only,
    phase: { type: 'acting', pending, open: payload, ...(answer && { answer }) },
  }
}

/** Exports of earlier versions are known in which a call has fewer arguments than the model requested. */
const isStrict = ({ config, approvals }: RunState): boolean =>
  config.max_turns_per_iteration !== undefined || approvals !== undefined

/** The open call has its result. */
export function closeCall(
  state: RunState,
  { ts, payload }: RecordOf<'tool_result'>,
): Partial<RunState> {
  const { phase } = state
  if (phase.type !== 'acting' || phase.open?.call_id !== payload.call_id) {
    throw new BrokenInvariant(`tool_result ${payload.call_id} belongs to no open call`)
  }
  const { open, pending, answer } = phase
  if (payload.tool !== open.tool) {
    throw new BrokenInvariant(
      `tool_result ${payload.call_id} is of ${payload.tool}, not ${open.tool}`,
    )
  }
  const isDenied = answer?.decision === 'deny'
  if (isDenied || payload.outcome === 'denied') checkDenied(state, isDenied, payload)
  if (payload.subagent !== undefined) checkSubagent(state, payload.subagent, payload)
  const isLast = pending.length === 0
  return {
    phase: { type: 'acting', pending, open: null },
    watch: watchResult(state.watch, open, payload, isLast),
    ...(payload.folder === undefined ? {} : { shellFolder: payload.folder }),
    ...(payload.outcome === 'ok' ? present({ plan: planOf(open) }) : {}),
    ...(payload.subagent === undefined ? {} : withSubagent(state, payload.subagent, ts)),
  }
}

/** A call that a person or a rule denied has a result, and did nothing. */
function checkDenied(state: RunState, isDenied: boolean, result: PayloadOf<'tool_result'>): void {
  const { call_id, outcome, exit_code, duration_ms, folder, subagent } = result
  if (outcome !== 'denied') {
    throw new BrokenInvariant(`tool_result ${call_id} is ${outcome}, and a person denied the call`)
  }
  if (!isDenied && (state.approvals === undefined || isAllowed(state))) {
    throw new BrokenInvariant(
      `tool_result ${call_id} is denied, and no rule or person denied the call`,
    )
  }
  const ran = exit_code !== null || duration_ms !== 0
  if (ran || folder !== undefined || subagent !== undefined) {
    throw new BrokenInvariant(`tool_result ${call_id} is denied, and says that the call ran`)
  }
}

const isAllowed = ({ phase }: RunState): boolean =>
  phase.type === 'acting' && phase.answer?.decision === 'allow'

/** A result holds the end of the sub-agent that its call has started, and its outcome follows from that. */
function checkSubagent(
  state: RunState,
  { run_id, status }: SubagentEnd,
  { call_id, outcome }: PayloadOf<'tool_result'>,
): void {
  if (subagentOf(state)?.run_id !== run_id) {
    throw new BrokenInvariant(`tool_result ${call_id} is about a run that the call has not started`)
  }
  const outcomes: readonly string[] = ['aborted', status === 'achieved' ? 'ok' : 'error']
  if (!outcomes.includes(outcome) || (status === 'running' && outcome !== 'aborted')) {
    throw new BrokenInvariant(
      `tool_result ${call_id} is ${outcome}, and its sub-agent is ${status}`,
    )
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
    ...{ ts: state.createdAt, waitedBefore: before },
  }
  const once = Math.max(before, waitedBefore + Math.min(waited, Math.max(0, now - ts)))
  const waitedSeconds = state.waitedSeconds + waited
  return once === waitedSeconds
    ? { waitedSeconds }
    : { waitedSeconds, waitedTwice: waitedSeconds - once }
}

/** What has ended holds nothing back. */
const ended = ({ run_id, call_id, seq }: Subagent, end: SubagentEnd): Subagent => ({
  ...{ run_id, call_id, seq, end },
})

/** A call that is open, or works beside the open one, starts one run, which must not be a run that this one knows already. */
export function startSubagent(
  state: RunState,
  { ts, payload: { run_id, call_id, config } }: RecordOf<'subagent_started'>,
): Pick<RunState, 'subagents'> {
  const { runId, parent, subagents = [] } = state
  if (!mayStart(state, call_id)) {
    throw new BrokenInvariant(`subagent_started ${run_id} belongs to no call that may start a run`)
  }
  const known = [runId, parent?.run_id, ...subagents.map((each) => each.run_id)]
  if (known.includes(run_id)) {
    throw new BrokenInvariant(`subagent_started ${run_id} names a run that exists already`)
  }
  const { max_tokens, max_cost_usd } = config
  const limits = { max_tokens, max_cost_usd }
  const began = { ts, waitedBefore: waitedOnce(state) }
  const started = { run_id, call_id, seq: state.seq + 1, end: null, limits, began }
  return { subagents: [...subagents, started] }
}
