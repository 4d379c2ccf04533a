import type { Result, ResultAsync } from 'neverthrow'
import type { ChatMessage } from '../domain/conversation.ts'
import type { OfferedTool } from '../domain/mcp-tools.ts'
import type { FailureKind, ImageType, ProviderItems, RequestedCall } from '../domain/records.ts'
import type { Effort } from '../domain/run-config.ts'

export type { Effort }

/** The description of a tool for the model. */
export type ToolSpec = Omit<OfferedTool, 'server'>

export type ModelRequest = {
  readonly modelName: string
  /** The conversation. An assistant's message may hold the items of its provider; only that provider gets them. */
  readonly messages: readonly ChatMessage[]
  readonly tools: readonly ToolSpec[]
  /** The same for all requests of a run, so that a provider finds its cache again. */
  readonly cacheKey?: string
  /** The model's own default if it is left out. */
  readonly effort?: Effort
  /** The effort, if it is left out and the model would not think without one. */
  readonly defaultEffort?: Effort
  /** The most tokens of a reply, reasoning included; the model's or our own default if it is left out. */
  readonly maxOutputTokens?: number
}

/**
 * Why a reply ended. `stop` and `tool_calls` are whole replies. `length`: cut off by the limit on output tokens.
 * `overflow`: cut off because the conversation fills the context window. `refusal`: the model or a filter declined.
 * `pause`: the provider interrupted a long turn. `empty`: neither text nor a call. `malformed`: the model wrote a
 * call that its provider could not read.
 */
export type FinishReason =
  | 'stop'
  | 'tool_calls'
  | 'length'
  | 'refusal'
  | 'pause'
  | 'overflow'
  | 'empty'
  | 'malformed'

/** What a reply used, as its provider reports it. Null is not reported. */
export type TokenUsage = {
  /** All tokens of the request, including those read from the provider's cache or written to it. */
  readonly inputTokens: number
  readonly cachedTokens: number | null
  readonly cacheWriteTokens: number | null
  /** All tokens of the reply, including reasoning. */
  readonly outputTokens: number
  readonly reasoningTokens: number | null
  /** Set if the provider reported nothing, so these numbers were estimated from the lengths of the texts. */
  readonly estimated?: true
}

/** What a reply has used and cost. */
export type Used = {
  readonly usage: TokenUsage
  readonly provider: string
  /** US dollars for this call; null if the price of the model is not known. */
  readonly costUsd: number | null
  /** How `costUsd` was made; null if it is null. */
  readonly priceSource: string | null
}

export type ModelReply = Used & {
  readonly text: string | null
  /** The calls to run. Calls of a reply that was cut off, refused or malformed are not among them. */
  readonly toolCalls: readonly RequestedCall[]
  /** Names of tools whose calls are not run, because the reply that asked for them is not whole. */
  readonly droppedCalls?: readonly string[]
  readonly finishReason: FinishReason
  /** The reply as the provider sent it, to be sent back unchanged; null if there is nothing to keep. */
  readonly providerItems: ProviderItems | null
  /** Milliseconds from the request to the first part of the reply; null if it did not come in parts. */
  readonly firstTokenMs: number | null
}

/** A part of a reply under way, for observers. Nothing is ever run from it. */
export type ModelPart =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'reasoning'; readonly text: string }
  /** A call begins; `index` counts the calls of the reply from 0. */
  | { readonly type: 'call'; readonly index: number; readonly tool: string }
  /** A piece of the JSON text of a call's arguments. */
  | { readonly type: 'arguments'; readonly index: number; readonly text: string }

export type TransientKind = Exclude<
  FailureKind,
  'context_overflow' | 'reasoning_refused' | 'refused'
>

export type ModelFailure =
  /** Another attempt may succeed. `retryAfterMs` is the wait that the provider asks for; null if it asks for none. */
  | {
      readonly type: 'transient'
      readonly kind: TransientKind
      readonly message: string
      readonly retryAfterMs: number | null
      /** A quota of money or of a day is used up: it lasts for longer than the pauses between attempts. */
      readonly isSpent?: true
      /** The model has replied, so the attempt was paid. Only one more is worth its price. */
      readonly isReply?: true
      /** The provider could not read a call of the reply, and sent nothing of it: the reply is malformed. */
      readonly isUnreadableCall?: true
      /** What the reply has used; left out if nothing of it came. */
      readonly used?: Used
    }
  /** The conversation is longer than the model's context window: a shorter one may succeed. */
  | { readonly type: 'context_overflow'; readonly message: string }
  /** The provider does not accept the reasoning that it gets back: the same conversation without it may succeed. */
  | { readonly type: 'reasoning_refused'; readonly message: string }
  /** Another attempt would fail in the same way: bad key, unknown model, a bad request. */
  | { readonly type: 'refused'; readonly message: string }
  | { readonly type: 'cancelled' }

/** The models that runs may name. One attempt per call: the run loop records it and retries. */
export interface Models {
  /** @param onPart called with each part of the reply as it arrives; it must not throw */
  complete(
    request: ModelRequest,
    signal: AbortSignal,
    onPart?: (part: ModelPart) => void,
  ): ResultAsync<ModelReply, ModelFailure>
  /** The most tokens of conversation to send: the model's context window without room for its reply. */
  contextBudget(modelName: string): Promise<number>
  /**
   * The most tokens of a reply to this request that cost no more than this with all of the request, even if nothing is
   * cached; as the request has it if that fits, or the price is not known. The error is the price of a reply of a useful
   * length. Left out: nothing has a price.
   */
  replyWithin?(
    request: Pick<ModelRequest, 'modelName' | 'maxOutputTokens'>,
    inputTokens: number,
    leftUsd: number,
  ): Promise<Result<number | undefined, number>>
  /** The images that the model is shown; empty if it can be shown none, or that is not known. Left out: no model is shown any. */
  imageTypes?(modelName: string): Promise<readonly ImageType[]>
}
