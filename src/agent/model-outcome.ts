import type { AgentCommand } from '../domain/commands.ts'
import { nextFallback } from '../domain/model-choice.ts'
import { present } from '../domain/present.ts'
import type { FailureKind, Fallback, PayloadOf } from '../domain/records.ts'
import { unended } from '../domain/sentences.ts'
import { modelWait, type RunState } from '../domain/state.ts'
import { type PauseBoundsMs, pauseMs } from '../lib/backoff.ts'
import type { ModelFailure, ModelReply, Used } from './model/model.ts'

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
  /** Messages of people that it held; none if left out. */
  readonly userMessages?: number
  readonly images?: number
  /** What was asked for, if it is not the next reply. */
  readonly purpose?: NonNullable<PayloadOf<'llm_usage'>['purpose']>
}

/** The payloads of the two records of a reply. */
export function replyRecords(
  reply: ModelReply,
  sent: SentRequest,
): { readonly usage: PayloadOf<'llm_usage'>; readonly message: PayloadOf<'assistant_message'> } {
  const { providerItems, finishReason } = reply
  const notice = noticeOf(reply)
  return {
    usage: usageRecord(reply, sent),
    message: {
      text: reply.text,
      tool_calls: [...reply.toolCalls],
      finish_reason: finishReason,
      ...present({ notice }),
      ...(providerItems === null
        ? {}
        : { provider_items: { ...providerItems, items: [...providerItems.items] } }),
      ...(finishReason === 'overflow' ? { context_tokens: smaller(sent) } : {}),
      ...(sent.userMessages ? { user_messages: sent.userMessages } : {}),
    },
  }
}

/** @param used what a reply has used; only one that can be used has a time of its first part */
function usageRecord(
  { usage, costUsd, provider, priceSource, ...used }: Used & Partial<ModelReply>,
  sent: SentRequest,
): PayloadOf<'llm_usage'> {
  const { firstTokenMs } = used
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
    ...(firstTokenMs === undefined ? {} : { first_token_ms: firstTokenMs }),
    provider,
    price_source: priceSource,
    ...(usage.estimated ? { estimated: true } : {}),
    ...(sent.images ? { images: sent.images } : {}),
    ...(sent.omittedTurns > 0 ? { kept_words: true } : {}),
    ...present({ purpose: sent.purpose }),
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
      return `Your last reply contained a tool call that could not be read.${calls} Repeat it with arguments that are valid JSON for the tool's schema.`
  }
}

export type AfterFailure = {
  /** How many attempts with this model have failed before in this step. */
  readonly failures: number
  /** How many of them were replies that are not valid. */
  readonly invalidReplies: number
  /** How many attempts a step has with each model. */
  readonly attempts: number
  readonly retryMs: PauseBoundsMs
  /** How long the run may still work. It waits no longer. */
  readonly leftMs: number
  readonly sent: SentRequest
  /** The model that comes next; null if the run has no other. */
  readonly fallback?: Fallback | null
  /** How long a model that is away is waited for, after these attempts; not at all if it is left out. */
  readonly patienceMs?: number
}

type NextStep =
  | Pick<
      Extract<AgentCommand, { type: 'record_retry' }>,
      'type' | 'usage' | 'reason' | 'delayMs' | 'failure' | 'contextTokens' | 'fallback'
    >
  | Pick<Extract<AgentCommand, { type: 'fail' }>, 'type' | 'usage' | 'message' | 'traceback'>

/** The longest wait that a model endpoint may request. */
const MAX_RETRY_AFTER_MS = 120_000

/** How long a run without a limit of time waits for a model that is away. */
const PATIENCE_MS = 24 * 3_600_000

/** How long the model in use is waited for. A limit of time ends the run by itself. @param now seconds since the epoch */
export function patienceMs(state: RunState, now: number): number {
  if (nextFallback(state) !== null) return 0
  const waitedMs = (now - (modelWait(state)?.since ?? now)) * 1_000
  return state.config.max_seconds === null ? PATIENCE_MS - waitedMs : Number.POSITIVE_INFINITY
}

/** What follows from a failed attempt: another one after a pause, one with the next model, or the end of the run. */
export function afterFailure(
  failure: Exclude<ModelFailure, { type: 'cancelled' }>,
  { failures, invalidReplies, attempts, retryMs, leftMs, sent, ...then }: AfterFailure,
): NextStep {
  const { fallback = null, patienceMs = 0 } = then
  const requestedMs = failure.type === 'transient' ? (failure.retryAfterMs ?? 0) : 0
  const longestMs = (attempts - failures - 1) * MAX_RETRY_AFTER_MS
  const isSpent = failure.type === 'transient' && failure.isSpent === true
  const isHopeless =
    failure.type === 'refused' ||
    (failure.type === 'context_overflow' && sent.keptTurns <= 1) ||
    (fallback !== null && (isSpent || requestedMs > longestMs))
  const isPaidAgain = failure.type === 'transient' && failure.isReply === true
  const isAgain = isPaidAgain && invalidReplies > 0
  const usage = usageOf(failure, sent)
  const isAway = failure.type === 'transient' && failure.kind !== 'invalid_reply'
  const isOver = failures + 1 >= attempts && !(isAway && patienceMs > 0)
  if (isHopeless || isAgain || isOver) {
    if (fallback !== null) {
      const reason = failure.message
      const kind = kindOf(failure)
      return { type: 'record_retry', ...usage, reason, delayMs: 0, failure: kind, fallback }
    }
    const asked = isAgain ? '; the model was asked again once' : ''
    const most = failures < attempts ? ` of ${attempts}` : ''
    const tries = `(attempt ${failures + 1}${most}${asked})`
    const message = failures > 0 ? `${unended(failure.message)} ${tries}` : failure.message
    return { type: 'fail', ...usage, message, traceback: '' }
  }
  const pause = Math.max(requestedMs, pauseMs(retryMs, failures))
  return {
    ...{ type: 'record_retry', ...usage },
    reason: failure.message,
    delayMs: Math.ceil(Math.min(MAX_RETRY_AFTER_MS, leftMs, pause)),
    failure: kindOf(failure),
    ...(failure.type === 'context_overflow' ? { contextTokens: smaller(sent) } : {}),
  }
}

/** What follows from a failed attempt if the run asks another model by now, because a person chose it. */
export function afterChange(
  failure: Exclude<ModelFailure, { type: 'cancelled' }>,
  sent: SentRequest,
): NextStep {
  const { message: reason } = failure
  const usage = usageOf(failure, sent)
  return { type: 'record_retry', ...usage, reason, delayMs: 0, failure: kindOf(failure) }
}

/** What a failed attempt has used, as far as that is known. */
export function usageOf(
  failure: ModelFailure | Unaffordable,
  sent: SentRequest,
): { readonly usage?: PayloadOf<'llm_usage'> } {
  const used = failure.type === 'transient' ? failure.used : undefined
  return used === undefined ? {} : { usage: usageRecord(used, sent) }
}

function kindOf(failure: Exclude<ModelFailure, { type: 'cancelled' }>): FailureKind {
  return failure.type === 'transient' ? failure.kind : failure.type
}

/** What is tried after a request that was too large. */
const SMALLER = 0.8

/** If the window of a model is not known, it must be found by trying. */
const smaller = ({ tokens }: SentRequest): number => Math.floor(tokens * SMALLER)
