import type { ResultAsync } from 'neverthrow'
import type { ChatMessage } from '../../domain/conversation.ts'
import type { RequestedCall } from '../../domain/records.ts'

/** The description of a tool for the model. `parameters` is a JSON Schema (draft 2020-12) of an object. */
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
  /** The provider's reason for the end of the reply: `stop`, `tool_calls`, `length`, … */
  readonly finishReason: string
  readonly inputTokens: number
  readonly outputTokens: number
  /** US dollars for this call; null if the price of the model is not known. */
  readonly costUsd: number | null
}

export type ModelFailure =
  /** Another attempt may succeed: unreachable, 429, 5xx, time-out, a reply that is not valid. */
  | { readonly type: 'transient'; readonly message: string; readonly retryAfterMs: number | null }
  /** Another attempt would fail in the same way: bad key, unknown model, a request that it cannot accept. */
  | { readonly type: 'refused'; readonly message: string }
  | { readonly type: 'cancelled' }

/** The models that runs may name. One attempt per call: the run loop records it and retries. */
export interface Models {
  complete(request: ModelRequest, signal: AbortSignal): ResultAsync<ModelReply, ModelFailure>
  /** The most tokens of conversation to send: the model's context window without room for its reply. */
  contextBudget(modelName: string): Promise<number>
}
