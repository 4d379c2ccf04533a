import { exhaustedBudget, exhaustedIterations, type Reached } from './budget.ts'
import { deniedCall } from './close-call.ts'
import { evolve } from './evolve.ts'
import { onlyReads } from './mcp-tools.ts'
import { hasUnread, isDone, isIntroductionDue } from './next-step.ts'
import { present } from './present.ts'
import type { EndStatus, RunRecord, Seen } from './records.ts'
import { INSTRUCTIONS_GOAL } from './related-runs.ts'
import { isReached, verdictOf } from './run-verdict.ts'
import { isCopyDue, isReviewDue, modelWait, type RunState, recordOf, startedBy } from './state.ts'
import { openSubagents } from './subagent-state.ts'
import { unended } from './texts.ts'

/** The last record of a run, with its totals. @param seen what the person who aborted the run had seen */
export function runEnd(
  state: RunState,
  now: number,
  status: EndStatus,
  reason: string,
  seen: Seen | null = null,
): RunRecord {
  const subagents = openSubagents(state)
  return recordOf(state, now, 'run_end', {
    achieved: status === 'achieved',
    iterations: state.iteration,
    total_tokens: state.total.tokens,
    estimated_cost_usd: state.total.costUsd,
    status,
    reason,
    ...present({ seen, verdict: verdictOf(state) }),
    ...(subagents.length === 0 ? {} : { subagents }),
  })
}

/** A run that has worked ends with a summary of its work. Runs of earlier versions have none. */
function endWithSummary(state: RunState, now: number, reason: string): RunRecord {
  return hasTurns(state) && state.iteration > 0
    ? recordOf(state, now, 'run_ending', { reason })
    : runEnd(state, now, 'failed', reason)
}

/** How often in sequence a check may be impossible before the run ends. The agent gets one iteration to repair it. */
const MAX_UNCHECKABLE = 2

function uncheckable({ goal }: RunState): string {
  return `The goal cannot be checked: ${goal?.reason ?? 'no reason is known'}`
}

/** Whether a run works in iterations of several turns, and checks its goal before the first. Earlier versions did not. */
const hasTurns = ({ config }: RunState): boolean => config.max_turns_per_iteration !== undefined

/** The goal may be reached already, or there may be nothing to check it with: neither may cost a token. */
function begin(state: RunState, now: number): RunRecord {
  if (hasTurns(state) && state.goal === null) {
    return recordOf(state, now, 'step_start', { node: 'evaluate' })
  }
  return beginIteration(state, now)
}

/** Null while the context of the project is still to be read. */
function afterFirstCheck(state: RunState, now: number): RunRecord | null {
  const { goal } = state
  if (isDone(state)) return runEnd(state, now, 'achieved', goal?.reason ?? '')
  if (state.uncheckable > 0) return runEnd(state, now, 'failed', uncheckable(state))
  return isIntroductionDue(state) ? null : beginIteration(state, now)
}

/** At a limit, the run waits for a person, or ends: `end` says how. */
export function atLimit(
  state: RunState,
  now: number,
  { by, reason }: Reached,
  end: (state: RunState, now: number, reason: string) => RunRecord = endOfBudget,
): RunRecord {
  if (state.config.on_limit !== 'pause') return end(state, now, reason)
  const away = modelWait(state)
  const why = away === null ? reason : `${reason}. Its model is away: ${away.what}`
  return recordOf(state, now, 'run_paused', { by, reason: why })
}

/** A goal that was reached counts, even if a person said more than the limit leaves room for. */
function endAtLimit(state: RunState, now: number, reason: string): RunRecord {
  const { goal, iteration } = state
  return isReached(state) && iteration > 0
    ? runEnd(state, now, 'achieved', goal?.reason ?? '')
    : endWithSummary(state, now, reason)
}

function beginIteration(state: RunState, now: number): RunRecord {
  const reached = exhaustedIterations(state) ?? exhaustedBudget(state, now)
  if (reached !== null) return atLimit(state, now, reached, endAtLimit)
  const next = { ...state, iteration: state.iteration + 1 }
  return recordOf(next, now, 'step_start', { node: 'plan' })
}

function afterIteration(state: RunState, now: number): RunRecord {
  if (isDone(state)) return runEnd(state, now, 'achieved', state.goal?.reason ?? '')
  if (state.uncheckable >= MAX_UNCHECKABLE) {
    return endWithSummary(state, now, uncheckable(state))
  }
  const over =
    state.mcp?.stop ?? state.watch.over ?? (state.final?.isOver ? state.final.reason : null)
  if (over != null) return endWithSummary(state, now, over)
  const last = state.iteration >= state.config.max_iterations
  const asks = state.config.hitl_enabled && !last && !isReached(state)
  if (asks && exhaustedBudget(state, now) === null) {
    return recordOf(state, now, 'step_start', { node: 'human_check' })
  }
  return beginIteration(state, now)
}

/** After a reply and all its calls: what must be said about it, then the next turn or the end of the iteration. */
function afterTurn(state: RunState, now: number, isDone = false): RunRecord {
  const { due, over } = state.watch
  if (hasTurns(state) && due !== null) return recordOf(state, now, 'agent_stuck', due)
  return isDone || over !== null ? afterWork(state, now) : nextTurn(state, now)
}

function nextTurn(state: RunState, now: number): RunRecord {
  const turns = state.config.max_turns_per_iteration ?? 1
  if (state.turns >= turns) return afterWork(state, now)
  const exhausted = exhaustedBudget(state, now)
  return exhausted === null
    ? recordOf(state, now, 'step_start', { node: 'plan' })
    : atLimit(state, now, exhausted, afterWork)
}

/**
 * The goal is checked unless only reading calls ran since the last check: then its verdict would be the same, except if
 * it is the word of the agent.
 */
function afterWork(state: RunState, now: number): RunRecord {
  const isSame = !state.changed && state.config.goal !== INSTRUCTIONS_GOAL
  if (hasTurns(state) && isSame) return completeIteration(state, now)
  return recordOf(state, now, 'step_start', { node: 'evaluate' })
}

/** No call of the reply runs any more. A check costs no tokens, and earlier turns may have reached the goal. */
function endOfBudget(state: RunState, now: number, reason: string): RunRecord {
  return hasTurns(state) && state.changed
    ? recordOf(state, now, 'step_start', { node: 'evaluate' })
    : endWithSummary(state, now, reason)
}

/** The run cannot continue with its MCP servers. A run that has done nothing yet has nothing to summarize. */
function withoutServers(state: RunState, now: number, reason: string): RunRecord {
  return state.total.tokens === 0
    ? runEnd(state, now, 'failed', reason)
    : endOfBudget(state, now, reason)
}

/** Attempts that failed and a shorter conversation have a price, so they may have used up what the reply needs. */
function beforeRequest(state: RunState, now: number): RunRecord | null {
  const exhausted = exhaustedBudget(state, now)
  return exhausted === null ? null : atLimit(state, now, exhausted)
}

function completeIteration(state: RunState, now: number): RunRecord {
  return recordOf(state, now, 'iteration_complete', {
    iteration: state.iteration,
    tokens: state.thisIteration.tokens,
    cost_usd: state.thisIteration.costUsd,
  })
}

function askHuman(state: RunState, now: number): RunRecord {
  const { iteration, config, goal, total } = state
  const cost = total.costUsd === null ? 'at an unknown price' : `for $${total.costUsd.toFixed(4)}`
  const summary =
    `Iteration ${iteration} of at most ${config.max_iterations} did not reach the goal ` +
    `${config.goal}: ${unended(goal?.reason ?? 'not checked')}. ` +
    `${total.tokens} tokens used so far, ${cost}. Approve another iteration, or abort the run.`
  return recordOf(state, now, 'human_check_required', { iteration, summary })
}

/** The next record that needs no effect; null while the run waits for an outcome. */
function bookkeeping(state: RunState, readOnly: ReadOnlyTools, now: number): RunRecord | null {
  const { phase } = state
  const stop = state.mcp?.stop ?? null
  switch (phase.type) {
    case 'ready':
      return isCopyDue(state) ? null : begin(state, now)
    case 'replied':
      return phase.calls.length > 0
        ? recordOf(state, now, 'step_start', { node: 'act' })
        : afterTurn(state, now, !hasUnread(state) && phase.isBroken !== true)
    case 'acting': {
      if (phase.open !== null) {
        const { answer } = phase
        return answer?.decision === 'deny' ? deniedCall(state, now, phase.open, answer) : null
      }
      const [call] = phase.pending
      if (call === undefined) return afterTurn(state, now)
      // The sub-agent of a call that has begun beside another one has its own part of the budget.
      const isAtWork = startedBy(state, call.call_id) !== null
      if (!isAtWork) {
        if (stop !== null) return endOfBudget(state, now, stop)
        const exhausted = exhaustedBudget(state, now)
        if (exhausted !== null) return atLimit(state, now, exhausted)
      }
      if (isReviewDue(state)) return null
      const read_only = onlyReads(call.tool, readOnly, state.mcp)
      return recordOf(state, now, 'tool_call', { ...call, read_only })
    }
    case 'checked':
      return state.iteration === 0 ? afterFirstCheck(state, now) : completeIteration(state, now)
    case 'iterated':
      return afterIteration(state, now)
    case 'consulting':
      return askHuman(state, now)
    case 'aborting':
      return runEnd(state, now, 'aborted', phase.reason)
    case 'erred':
      return runEnd(state, now, 'failed', phase.message)
    case 'ending':
      return phase.isSummarized ? runEnd(state, now, 'failed', phase.reason) : null
    case 'planning':
      return stop === null ? beforeRequest(state, now) : withoutServers(state, now, stop)
    case 'evaluating':
    case 'awaiting_human':
    case 'awaiting_approval':
    case 'paused':
    case 'ended':
      return null
  }
}

/** Names of the tools that change nothing. */
export type ReadOnlyTools = ReadonlySet<string>

/**
 * All records that follow from the state without an effect, up to the intent of the next effect or the end of the run.
 * Limits are checked here, before the step that would exceed them.
 */
export function advance(state: RunState, readOnly: ReadOnlyTools, now: number): RunRecord[] {
  const records: RunRecord[] = []
  let current = state
  for (;;) {
    const record = bookkeeping(current, readOnly, now)
    if (record === null) return records
    records.push(record)
    current = evolve(current, record)
  }
}
