import { type RunState, statusOf } from '../domain/state.ts'
import type { RunDetails, RunSummary } from '../api/runs.ts'

/** ISO 8601 in UTC with milliseconds. @param ts seconds since the epoch */
function timestamp(ts: number): string {
  return new Date(Math.round(ts * 1000)).toISOString()
}

/** What lists show of a run. */
export function runSummary(state: RunState): RunSummary {
  return {
    run_id: state.runId,
    goal: state.config.goal,
    status: statusOf(state),
    created_at: timestamp(state.createdAt),
  }
}

/** What a client sees of a run, read from its folded state alone. */
export function runDetails(state: RunState): RunDetails {
  const { config } = state
  return {
    ...runSummary(state),
    model_name: config.model_name,
    max_iterations: config.max_iterations,
    hitl_enabled: config.hitl_enabled,
    cwd: config.cwd,
    error: state.error,
    final_state: finalState(state),
    ended_at: state.endedAt === null ? null : timestamp(state.endedAt),
    end_reason: state.phase.type === 'ended' ? state.phase.reason : null,
    max_cost_usd: config.max_cost_usd,
    max_tokens: config.max_tokens,
    max_seconds: config.max_seconds,
    progress: {
      iteration: state.iteration,
      total_tokens: state.total.tokens,
      estimated_cost_usd: state.total.costUsd,
      seq: state.seq,
      waiting_for: waitingFor(state),
    },
  }
}

function finalState({ phase, iteration, goal, total }: RunState): RunDetails['final_state'] {
  if (phase.type !== 'ended') return null
  return {
    iteration,
    goal_achieved: phase.status === 'achieved',
    // A run that ended before its first check has only the reason for its end.
    goal_reason: goal?.reason ?? phase.reason,
    total_tokens: total.tokens,
    estimated_cost_usd: total.costUsd,
  }
}

function waitingFor({ phase }: RunState): RunDetails['progress']['waiting_for'] {
  if (phase.type !== 'awaiting_human') return null
  return { kind: 'human_check_required', seq: phase.seq, summary: phase.summary }
}
