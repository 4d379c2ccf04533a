import { modelInUse } from './model-choice.ts'
import { LIMITS, type Limit } from './pause.ts'
import type { ConfigChanges, RunConfig } from './run-config.ts'
import { isReached } from './run-verdict.ts'
import { isWaiting, type Phase, type RunState } from './state.ts'

/** How many seconds no server worked on the run until `now`. */
export function idleUntil(state: RunState, now: number): number {
  const { claimant, queued, awaitsTurn, lastAt, idleSeconds } = state
  const isUnattended = claimant === null || queued !== null || awaitsTurn
  return isUnattended && !isWaiting(state) ? idleSeconds + Math.max(0, now - lastAt) : idleSeconds
}

/** How long a run and its sub-agents waited for people. */
export const waitedOnce = ({ waitedSeconds, waitedTwice = 0 }: RunState): number =>
  waitedSeconds - waitedTwice

/** Seconds the run has worked until `now` (seconds since the epoch), without waiting for people or for a server. */
function workedSeconds(state: RunState, now: number): number {
  const { createdAt, waitingSince } = state
  const until = waitingSince === null ? now : Math.min(now, waitingSince)
  return Math.max(0, until - createdAt - waitedOnce(state) - idleUntil(state, now))
}

type Limits = Pick<RunConfig, 'max_tokens' | 'max_cost_usd' | 'max_seconds'>

/**
 * What is left of each limit, without what sub-agents at work may still use; null if there is no limit. Sub-agents work
 * at the same time, so they do not use up each other's seconds. Call it only if no budget is exhausted.
 */
export function budgetLeft(state: RunState, now: number): Limits {
  const { config, total, subagents = [] } = state
  const { max_tokens, max_cost_usd, max_seconds } = config
  const reserved = (limit: 'max_tokens' | 'max_cost_usd'): number =>
    subagents.reduce((sum, { end, limits }) => sum + (end === null ? (limits?.[limit] ?? 0) : 0), 0)
  const costUsd = total.costUsd ?? max_cost_usd ?? 0
  return {
    max_tokens: max_tokens === null ? null : max_tokens - total.tokens - reserved('max_tokens'),
    max_cost_usd: max_cost_usd === null ? null : max_cost_usd - costUsd - reserved('max_cost_usd'),
    max_seconds: max_seconds === null ? null : max_seconds - workedSeconds(state, now),
  }
}

/** A part of what is left, for each of `count` sub-agents. A limit is not less than can be kept. */
export function shareOf({ max_tokens, max_cost_usd, max_seconds }: Limits, count: number): Limits {
  return {
    max_tokens: max_tokens === null ? null : Math.max(1, Math.floor(max_tokens / count)),
    max_cost_usd: max_cost_usd === null ? null : max_cost_usd / count,
    max_seconds,
  }
}

/** Whether something is left of each limit for `count` more sub-agents. */
export const isLeftFor = ({ max_tokens, max_cost_usd }: Limits, count: number): boolean =>
  (max_tokens === null || max_tokens >= count) && (max_cost_usd === null || max_cost_usd > 0)

/** Why the next request is not sent, as a sentence for people. @param highestUsd what it may cost */
export function unaffordable({ config, total }: RunState, highestUsd: number): string {
  const spent = `$${(total.costUsd ?? 0).toFixed(4)} of $${config.max_cost_usd} are spent`
  return `Stopped by max_cost_usd: ${spent}, and the next request may cost $${highestUsd.toFixed(4)}`
}

/** A limit that the run has reached, and what of it, as a sentence for people. */
export type Reached = { readonly by: Limit; readonly reason: string }

/**
 * The budget that forbids the next model or tool call; null if none does. A run exceeds a budget of tokens or seconds by one
 * request or call at most: the one that was under way.
 */
export function exhaustedBudget(state: RunState, now: number): Reached | null {
  const { max_tokens, max_cost_usd, max_seconds } = state.config
  const { tokens, costUsd } = state.total
  const at = (by: Limit, what: string): Reached => ({ by, reason: `Stopped by ${by}: ${what}` })
  if (max_tokens !== null && tokens >= max_tokens) {
    return at('max_tokens', `${tokens} of ${max_tokens} tokens are used`)
  }
  if (max_cost_usd !== null && costUsd === null) {
    const unknown = `the price of ${modelInUse(state)} is not known`
    return at('max_cost_usd', `${unknown}, so the limit of $${max_cost_usd} cannot be kept`)
  }
  if (max_cost_usd !== null && costUsd !== null && costUsd >= max_cost_usd) {
    return at('max_cost_usd', `$${costUsd.toFixed(4)} of $${max_cost_usd} are spent`)
  }
  const worked = workedSeconds(state, now)
  if (max_seconds !== null && worked >= max_seconds) {
    return at('max_seconds', `${worked.toFixed(1)} of ${max_seconds} seconds are used`)
  }
  return null
}

/** Whether the limit forbids the next iteration. */
export function exhaustedIterations(state: RunState): Reached | null {
  const { iteration, config } = state
  const { max_iterations } = config
  if (iteration < max_iterations) return null
  // A person may have lowered the limit below the present iteration.
  const lowered = iteration > max_iterations ? `, and the limit is ${max_iterations} now` : ''
  const what = isReached(state) ? 'all are used:' : 'the goal was not reached in'
  return {
    by: 'max_iterations',
    reason: `Stopped by max_iterations: ${what} ${iteration}${lowered}`,
  }
}

/** Whether no iteration is under way. */
function isBetween({ type, ...phase }: Phase): boolean {
  if ('interrupted' in phase) return phase.interrupted !== undefined && isBetween(phase.interrupted)
  return ['ready', 'iterated', 'consulting', 'awaiting_human'].includes(type)
}

/** The limit that keeps a paused run from continuing; null if none does. */
export const heldBy = (state: RunState, now: number): Reached | null =>
  (isBetween(state.phase) ? exhaustedIterations(state) : null) ?? exhaustedBudget(state, now)

/** What is wrong with new limits, because the run has used as much or more. Each message is a sentence for people. */
export function usedUp(changes: ConfigChanges, state: RunState, now: number) {
  const { total, iteration, phase } = state
  const { tokens, costUsd } = total
  const worked = workedSeconds(state, now)
  const completed = isBetween(phase) ? iteration : iteration - 1
  const used: { readonly [L in Limit]: readonly [number, string] } = {
    // The iteration under way may become the last one.
    max_iterations: [
      phase.type === 'paused' ? completed : completed - 1,
      completed === 1 ? 'one iteration' : `${completed} iterations`,
    ],
    max_tokens: [tokens, `${tokens} tokens`],
    max_cost_usd: [
      costUsd ?? Number.POSITIVE_INFINITY,
      costUsd === null ? 'calls without a known price' : `$${costUsd.toFixed(4)}`,
    ],
    max_seconds: [worked, `${worked.toFixed(1)} seconds`],
  }
  return LIMITS.flatMap((field): { readonly field: Limit; readonly message: string }[] => {
    const [least, what] = used[field]
    const wanted = changes[field] ?? null
    if (wanted === null || wanted > least) return []
    return [{ field, message: `${field} is too low: the run has used ${what}.` }]
  })
}
