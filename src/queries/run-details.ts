import { isDeepStrictEqual } from 'node:util'
import type { RunDetails } from '../api/runs.ts'
import { nameOfRule } from '../domain/approvals/rules.ts'
import { modelInUse } from '../domain/model-choice.ts'
import { present } from '../domain/present.ts'
import type { Subagent } from '../domain/related-runs.ts'
import type { GoalPart } from '../domain/run-config.ts'
import { verdictOf } from '../domain/run-verdict.ts'
import { type RunState, statusOf } from '../domain/state.ts'
import type { RunVerdict } from '../domain/verdict.ts'
import { timestamp } from '../lib/text.ts'
import { runRow } from '../projections/read-model.ts'

/**
 * What a client sees of a run, read from its folded state alone.
 * @param waited the run of the sub-agent that it waits for, the run that this one waits for, and so on
 */
export function runDetails(state: RunState, waited: readonly RunState[] = []): RunDetails {
  const { config } = state
  return {
    ...runRow(state),
    ...goalDetails(config),
    ...present({
      all_of: config.all_of?.map((part) => ({ goal: part.goal, ...goalDetails(part) })),
    }),
    model_name: config.model_name,
    max_iterations: config.max_iterations,
    max_turns_per_iteration: config.max_turns_per_iteration ?? 1,
    hitl_enabled: config.hitl_enabled,
    cwd: config.cwd,
    workspace: workspaceOf(state),
    error: state.error,
    final_state: finalState(state),
    ended_at: state.endedAt === null ? null : timestamp(state.endedAt),
    end_reason: state.phase.type === 'ended' ? state.phase.reason : null,
    tags: config.tags ?? [],
    ...present({ summary: state.summary, ...judged(state) }),
    max_cost_usd: config.max_cost_usd,
    max_tokens: config.max_tokens,
    max_seconds: config.max_seconds,
    ...present({
      on_limit: config.on_limit,
      isolation: state.isolation,
      approvals: rulesOf(state),
      queued_reason: state.queued,
      parent: state.parent,
      subagents: state.subagents?.map(subagentRow),
      pool: state.pool,
    }),
    reasoning_effort: config.reasoning_effort ?? null,
    max_output_tokens: config.max_output_tokens ?? null,
    fallback_models: config.fallback_models ?? [],
    ...present({ tools: config.tools }),
    progress: {
      model_name: modelInUse(state),
      iteration: state.iteration,
      total_tokens: state.total.tokens,
      estimated_cost_usd: state.total.costUsd,
      seq: state.seq,
      ...present({ stuck: state.watch.found, plan: state.plan }),
      ...subagentNow(waited),
      waiting_for: waitingFor(state),
    },
  }
}

const workspaceOf = ({ config, project, copy }: RunState): RunDetails['workspace'] & {} => ({
  mode: copy === undefined ? (config.shared === true ? 'shared' : 'in_place') : 'copy',
  folder: project?.path ?? config.cwd,
  ...present({ copy_of: copy?.of.path, copy: copy?.is }),
})

function goalDetails({ shell_goal, goal_options }: Omit<GoalPart, 'goal'>) {
  const check = shell_goal && {
    command: shell_goal.check_command,
    conditions: shell_goal.success_condition,
  }
  return present({ check, goal_options })
}

function rulesOf({ approvals }: RunState): RunDetails['approvals'] {
  if (approvals === undefined) return undefined
  const { run, server, lifted } = approvals
  return { run, server, lifted }
}

const subagentRow = ({ run_id, call_id, end }: Subagent) => ({
  run_id,
  call_id,
  status: end?.status ?? 'running',
  total_tokens: end?.tokens ?? null,
  estimated_cost_usd: end?.cost_usd ?? null,
})

function subagentNow(waited: readonly RunState[]): Pick<RunDetails['progress'], 'subagent'> {
  const [state] = waited
  if (state === undefined) return {}
  const asking = waited.at(-1) ?? state
  const check = waitingFor(asking)
  const { runId: run_id, total } = state
  return {
    subagent: {
      run_id,
      status: statusOf(state),
      total_tokens: total.tokens,
      estimated_cost_usd: total.costUsd,
      waiting_for:
        check === null ? null : { run_id: asking.runId, seq: check.seq, summary: check.summary },
    },
  }
}

/** What the end of a run says of it. */
function judged(state: RunState): { verdict?: RunVerdict | null; doubt?: string | undefined } {
  const { phase } = state
  return phase.type === 'ended' ? { verdict: verdictOf(state), doubt: phase.against } : {}
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
  if (!('seq' in phase)) return null
  const { seq } = phase
  if (phase.type === 'paused') return { kind: 'run_paused', seq, summary: phase.reason }
  if (phase.type === 'awaiting_human') {
    return { kind: 'human_check_required', seq, summary: phase.summary }
  }
  const { pending, callSha256: call_sha256, rule, content, doubt } = phase
  const [call] = pending
  if (call === undefined) return null
  const asking = nameOfRule(rule).replace(/^./, (first) => first.toLowerCase())
  const summary = `The agent wants to call ${call.tool}, and ${asking} asks first.`
  const approval = { call, call_sha256, rule, content, doubt }
  return { kind: 'approval_required', seq, summary, approval }
}

/** A field of a run's details that changed. `field` is its path, such as `progress.iteration`. */
type FieldChange = { readonly field: string; readonly old: unknown; readonly new: unknown }

type Fields = { readonly [name: string]: unknown }

const isFields = (value: unknown): value is Fields => typeof value === 'object' && value !== null

/** The differences between two objects, in the order of their fields. A field that one of them lacks is null there. */
export function fieldChanges(before: Fields, after: Fields, path = ''): FieldChange[] {
  const names = new Set([...Object.keys(after), ...Object.keys(before)])
  return [...names].flatMap((name) => {
    const [old, now] = [before[name] ?? null, after[name] ?? null]
    const field = `${path}${name}`
    if (Array.isArray(now)) {
      return isDeepStrictEqual(old, now) ? [] : [{ field, old, new: now }]
    }
    if (isFields(old) && isFields(now)) return fieldChanges(old, now, `${field}.`)
    return old === now ? [] : [{ field, old, new: now }]
  })
}
