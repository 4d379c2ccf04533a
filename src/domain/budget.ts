import { modelInUse } from './model-choice.ts'
import type { RunConfig } from './run-config.ts'
import { isWaiting, type RunState } from './state.ts'

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
  return Math.max(0, now - state.createdAt - waitedOnce(state) - idleUntil(state, now))
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

/**
 * Why a budget forbids the next model or tool call, as a sentence for people; null if none does. A run exceeds a budget
 * of tokens or seconds by one request or call at most: the one that was under way.
 */
export function exhaustedBudget(state: RunState, now: number): string | null {
  const { max_tokens, max_cost_usd, max_seconds } = state.config
  const { tokens, costUsd } = state.total
  if (max_tokens !== null && tokens >= max_tokens) {
    return `Stopped by max_tokens: ${tokens} of ${max_tokens} tokens are used`
  }
  if (max_cost_usd !== null && costUsd === null) {
    return `Stopped by max_cost_usd: the price of ${modelInUse(state)} is not known, so the limit of $${max_cost_usd} cannot be kept`
  }
  if (max_cost_usd !== null && costUsd !== null && costUsd >= max_cost_usd) {
    return `Stopped by max_cost_usd: $${costUsd.toFixed(4)} of $${max_cost_usd} are spent`
  }
  const worked = workedSeconds(state, now)
  if (max_seconds !== null && worked >= max_seconds) {
    return `Stopped by max_seconds: ${worked.toFixed(1)} of ${max_seconds} seconds are used`
  }
  return null
}
