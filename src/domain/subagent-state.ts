import type { RequestedCall } from './records.ts'
import {
  SUBAGENT_TOOL,
  SUBAGENTS_AT_ONCE,
  type Subagent,
  type SubagentEnd,
} from './related-runs.ts'
import { type OpenCall, type RunState, startedBy } from './state.ts'

/** The run that the open call waits for; null if it has started none. */
export function subagentOf(state: RunState): Subagent | null {
  const open = state.phase.type === 'acting' ? state.phase.open : null
  return open === null ? null : startedBy(state, open.call_id)
}

/**
 * The open call, if it is one of a sub-agent, and those right after it whose sub-agents work beside it. Their results are
 * recorded in the order of the calls. Calls with the same id cannot be told apart, so then it is the open one alone.
 */
export function subagentCalls({ phase }: Pick<RunState, 'phase'>): readonly RequestedCall[] {
  const open = phase.type === 'acting' ? phase.open : null
  if (phase.type !== 'acting' || open?.tool !== SUBAGENT_TOOL) return []
  const next = phase.pending.slice(0, SUBAGENTS_AT_ONCE - 1)
  const end = next.findIndex(({ tool }) => tool !== SUBAGENT_TOOL)
  const calls = [open, ...(end === -1 ? next : next.slice(0, end))]
  return new Set(calls.map(({ call_id }) => call_id)).size === calls.length ? calls : [open]
}

/** Whether a call may start a sub-agent: it is at work, and has not started one. */
export const mayStart = (state: RunState, callId: string): boolean =>
  subagentCalls(state).some(({ call_id }) => call_id === callId) &&
  startedBy(state, callId) === null

/** The runs of sub-agents that have not ended, as far as their parent has recorded. */
export const openSubagents = ({ subagents = [] }: RunState): readonly string[] =>
  subagents
    .filter(({ end }) => end === null || end.status === 'running')
    .map(({ run_id }) => run_id)

/** What the run of a sub-agent has come to, with its last record. */
export function reportOf(state: RunState, hash: string): SubagentEnd {
  const { runId: run_id, phase, total, waitedSeconds: waited_seconds, seq } = state
  const status = phase.type === 'ended' ? phase.status : 'running'
  const { tokens, costUsd: cost_usd } = total
  return { run_id, status, tokens, cost_usd, waited_seconds, seq, hash }
}

/**
 * Whether a call may run again after a crash: because it only reads, or because it starts a sub-agent and finds in the
 * log how far it came.
 */
export const isRepeatable = ({ read_only, tool }: OpenCall): boolean =>
  read_only || tool === SUBAGENT_TOOL

/**
 * How many crashes count against the check or call under way, if the process that held the run has crashed or not. None
 * counts against the wait for a model or sub-agent.
 */
export function crashesAfter(state: RunState, hasCrashed: boolean): number {
  const { phase, crashes } = state
  const isCalling = phase.type === 'acting' && phase.open !== null && subagentOf(state) === null
  const underWay = phase.type === 'evaluating' || isCalling
  return underWay && hasCrashed ? crashes + 1 : crashes
}
