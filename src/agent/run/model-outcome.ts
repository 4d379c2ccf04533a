import type { Result } from 'neverthrow'
import { budgetLeft } from '../../domain/budget.ts'
import type { AgentCommand } from '../../domain/commands.ts'
import { failedRequests, nextFallback } from '../../domain/model-choice.ts'
import { present } from '../../domain/present.ts'
import type { FailureKind, Fallback, PayloadOf } from '../../domain/records.ts'
import { modelWait, type RunState } from '../../domain/state.ts'
import { unended } from '../../domain/texts.ts'
import { pauseMs } from '../../lib/backoff.ts'
import type { ModelFailure, ModelReply, Used } from '../../models/model.ts'
import type { Work } from './effects.ts'

/** A request that is not sent, because it could cost more than what is left. */
export type Unaffordable = { readonly type: 'unaffordable'; readonly message: string }

export type SentRequest = {
  readonly modelName: string
  readonly durationMs: number
  /** Turns of the conversation that it left out, and those that it held. */
  readonly omittedTurns: number
  readonly keptTurns: number
  /** Of the request, with its tools: as the provider counts them as far as that is known, or estimated. */
  readonly tokens: number
  readonly images?: number
  /** What was asked for, if it is not the next reply. */
  readonly purpose?: NonNullable<PayloadOf<'llm_usage'>['purpose']>
  /** What it has used, as far as that is known. */
  readonly usage: PayloadOf<'llm_usage'> | null
}

/** @param userMessages of people that the request held */
export function messageOf(
  reply: ModelReply,
  sent: SentRequest,
  userMessages: number,
): PayloadOf<'assistant_message'> {
  const { providerItems, finishReason } = reply
  return {
    text: reply.text,
    tool_calls: [...reply.toolCalls],
    finish_reason: finishReason,
    ...present({
      notice: noticeOf(reply),
      provider_items: providerItems && { ...providerItems, items: [...providerItems.items] },
      context_tokens: finishReason === 'overflow' ? smaller(sent) : null,
      user_messages: userMessages || null,
    }),
  }
}

/** What a request has used; null if that is not known. Only a reply that can be used has a time of its first part. */
export function usageOf(
  reply: Result<ModelReply, ModelFailure | Unaffordable>,
  sent: Omit<SentRequest, 'usage'>,
): SentRequest['usage'] {
  const ofFailure = reply.isErr() && reply.error.type === 'transient' ? reply.error.used : undefined
  const known: (Used & Partial<ModelReply>) | undefined = reply.isOk() ? reply.value : ofFailure
  if (known === undefined) return null
  const { usage, costUsd, provider, priceSource, ...used } = known
  return {
    input_tokens: usage.inputTokens,
    output_tokens: usage.outputTokens,
    cost_usd: costUsd,
    model_name: sent.modelName,
    duration_ms: sent.durationMs,
    omitted_turns: sent.omittedTurns,
    cached_tokens: usage.cachedTokens,
    cache_write_tokens: usage.cacheWriteTokens,
    reasoning_tokens: usage.reasoningTokens,
    provider,
    price_source: priceSource,
    ...present({ estimated: usage.estimated || null, images: sent.images || null }),
    ...present({ kept_words: sent.omittedTurns > 0 || null, purpose: sent.purpose }),
    ...(used.firstTokenMs === undefined ? {} : { first_token_ms: used.firstTokenMs }),
  }
}

/** What the model must know about a reply that is not whole; null if it is. */
function noticeOf({ finishReason, droppedCalls = [], usage }: ModelReply): string | null {
  const calls =
    droppedCalls.length === 0
      ? ''
      : ` None of the calls in it was run: ${[...new Set(droppedCalls)].join(', ')}.`
  switch (finishReason) {
    case 'stop':
    case 'tool_calls':
      return null
    case 'length':
      return `Your last reply was cut off after ${usage.outputTokens} tokens, the limit for one reply.${calls} Continue in smaller steps: write large files in several parts.`
    case 'overflow':
      return `Your last reply was cut off because the conversation filled your context window.${calls} Earlier turns are left out from now on.`
    case 'refusal':
      return `Your last reply was a refusal, so it is not shown.${calls} Do the parts of the task that you can do. If you can do none, say why.`
    case 'pause':
      return 'Your last turn was interrupted by the provider. Continue where you stopped.'
    case 'empty':
      return 'Your last reply was empty: it had neither text nor a tool call. Call a tool to continue, or say what you have done.'
    case 'malformed':
      return `Your last reply contained a tool call that could not be read.${calls} Repeat it as a call, not as text, with arguments that are valid JSON for the tool's schema.`
  }
}

/** What the decision about another attempt depends on. For a reply that the run works with. */
export function retryPolicy({ session, effects }: Work, sent: SentRequest) {
  const { state, now } = session
  const { max_seconds } = budgetLeft(state, now)
  const leftMs = max_seconds === null ? Number.POSITIVE_INFINITY : Math.max(0, max_seconds * 1_000)
  const fallback = nextFallback(state)
  return {
    ...failedRequests(state),
    attempts: effects.modelAttempts,
    retryMs: effects.modelRetryMs,
    /** How long the run may still work. It waits no longer. */
    leftMs,
    /** How long a model that is away is waited for, after these attempts. */
    patienceMs: fallback === null ? patienceMs(state, now) : 0,
    /** Whether the run then waits for a person, and not for its next model. */
    pauses: fallback === null && state.config.on_limit === 'pause',
    fallback,
    sent,
  }
}

type RetryPolicy = Omit<ReturnType<typeof retryPolicy>, 'fallback' | 'pauses'> & {
  readonly pauses?: boolean
  /** The model that comes next; null if the run has no other. */
  readonly fallback: Fallback | null
}

/** Another attempt, perhaps with another model, or the end of the run, or a pause. */
export type NextAttempt =
  | Pick<
      Extract<AgentCommand, { type: 'record_retry' }>,
      'type' | 'usage' | 'reason' | 'delayMs' | 'failure' | 'contextTokens' | 'fallback'
    >
  | Pick<Extract<AgentCommand, { type: 'fail' }>, 'type' | 'usage' | 'message' | 'traceback'>
  | Pick<Extract<AgentCommand, { type: 'pause' }>, 'type' | 'usage' | 'by' | 'reason'>

/** The longest wait that a model endpoint may request. */
const MAX_RETRY_AFTER_MS = 120_000

/** How long a run without a limit of time waits for a model that is away, before it fails, or waits for a person. */
const PATIENCE_MS = { end: 24 * 3_600_000, pause: 3_600_000 } as const

/** A limit of time ends or pauses the run by itself. @param now seconds since the epoch */
function patienceMs(state: RunState, now: number): number {
  if (state.config.max_seconds !== null) return Number.POSITIVE_INFINITY
  const waitedMs = (now - (modelWait(state)?.since ?? now)) * 1_000
  return PATIENCE_MS[state.config.on_limit ?? 'end'] - waitedMs
}

/** What follows from a failed attempt: another one after a pause, one with the next model, or the end of the run. */
export function afterFailure(
  failure: Exclude<ModelFailure, { type: 'cancelled' }>,
  policy: RetryPolicy,
): NextAttempt {
  const { failures, invalidReplies, attempts, retryMs, leftMs, patienceMs, fallback, sent } = policy
  const transient = failure.type === 'transient' ? failure : null
  const requestedMs = transient?.retryAfterMs ?? 0
  const longestMs = (attempts - failures - 1) * MAX_RETRY_AFTER_MS
  const isHopeless =
    failure.type === 'refused' ||
    (failure.type === 'context_overflow' && sent.keptTurns <= 1) ||
    (fallback !== null && (transient?.isSpent === true || requestedMs > longestMs))
  const isAgain = transient?.isReply === true && invalidReplies > 0
  const usage = present({ usage: sent.usage })
  const isAway = transient !== null && transient.kind !== 'invalid_reply'
  const isOver = failures + 1 >= attempts && !(isAway && patienceMs > 0)
  const retry = {
    type: 'record_retry',
    ...usage,
    reason: failure.message,
    failure: kindOf(failure),
  } as const
  if (isHopeless || isAgain || isOver) {
    if (fallback !== null) return { ...retry, delayMs: 0, fallback }
    const asked = isAgain ? '; the model was asked again once' : ''
    const most = failures < attempts ? ` of ${attempts}` : ''
    const tries = `(attempt ${failures + 1}${most}${asked})`
    const message = failures > 0 ? `${unended(failure.message)} ${tries}` : failure.message
    return isAway && policy.pauses
      ? { type: 'pause', ...usage, by: 'provider', reason: message }
      : { type: 'fail', ...usage, message, traceback: '' }
  }
  const pause = Math.max(requestedMs, pauseMs(retryMs, failures))
  return {
    ...retry,
    delayMs: Math.ceil(Math.min(MAX_RETRY_AFTER_MS, leftMs, pause)),
    ...(failure.type === 'context_overflow' && { contextTokens: smaller(sent) }),
  }
}

export const kindOf = (failure: Exclude<ModelFailure, { type: 'cancelled' }>): FailureKind =>
  failure.type === 'transient' ? failure.kind : failure.type

/** What is tried after a request that was too large. */
const SMALLER = 0.8

/** If the window of a model is not known, it must be found by trying. */
const smaller = ({ tokens }: SentRequest): number => Math.floor(tokens * SMALLER)
