import type { ResultAsync } from 'neverthrow'
import type { ChatMessage } from '../../domain/conversation.ts'
import type { RequestedCall } from '../../domain/records.ts'

/** A tool as the model is told of it. `parameters` is a JSON Schema (draft 2020-12) of an object. */
export type ToolSpec = {
  readonly name: string
  readonly description: string
  readonly parameters: Readonly<Record<string, unknown>>
}

export type ModelRequest = {
  readonly modelName: string
  readonly messages: readonly ChatMessage[]
  readonly tools: readonly ToolSpec[]
}

export type ModelReply = {
  readonly text: string | null
  readonly toolCalls: readonly RequestedCall[]
  /** The provider's word for why the reply ended: `stop`, `tool_calls`, `length`, … */
  readonly finishReason: string
  readonly inputTokens: number
  readonly outputTokens: number
  /** US dollars for this call; null where the price of the model is not known. */
  readonly costUsd: number | null
}

export type ModelFailure =
  /** Worth another try: unreachable, 429, 5xx, time-out, a reply that makes no sense. */
  | { readonly type: 'transient'; readonly message: string; readonly retryAfterMs: number | null }
  /** Another try would fail in the same way: bad key, unknown model, a request it cannot take. */
  | { readonly type: 'refused'; readonly message: string }
  | { readonly type: 'cancelled' }

/** The models that runs may name. Makes one attempt per call; the run loop records and repeats. */
export interface Models {
  complete(request: ModelRequest, signal: AbortSignal): ResultAsync<ModelReply, ModelFailure>
  /** Environment variable that this model needs and that is not set; null if it can be called. */
  missingKey(modelName: string): string | null
  /** Tokens of conversation to send at most: the model's context window less room for its reply. */
  contextBudget(modelName: string): Promise<number>
}
