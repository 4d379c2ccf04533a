import type { OpenCall, RunState } from './state.ts'
import { SUBAGENT_TOOL, type Subagent, type SubagentEnd } from './subagents.ts'

/** The run that the open call waits for; null if it has started none. */
export function subagentOf({ phase, subagents = [] }: RunState): Subagent | null {
  const open = phase.type === 'acting' ? phase.open : null
  const last = subagents.at(-1)
  if (open === null || last === undefined || last.end !== null) return null
  return last.call_id === open.call_id ? last : null
}

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
 * Whether a call may run again after a crash: it only reads, or it finds in the log how far it came, as a call does that
 * starts a sub-agent.
 */
export const isRepeatable = ({ read_only, tool }: OpenCall): boolean =>
  read_only || tool === SUBAGENT_TOOL
