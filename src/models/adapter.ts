import type { Result } from 'neverthrow'
import type * as z from 'zod'
import type { RequestedCall } from '../domain/records.ts'
import type { FinishReason, ModelPart, ModelRequest, TokenUsage } from './model.ts'
import type { Route } from './routing.ts'

export type Json = z.core.util.JSONType

export const isObject = (value: unknown): value is { [name: string]: Json } =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** What one wire API needs. The transport does everything else: time limits, aborts, framing, errors, sizes, prices. */
export interface Adapter {
  /** How a response is divided into messages. */
  readonly framing: 'events' | 'lines'
  /**
   * The body of a request. Pure: the same conversation always gives the same body, and a longer one begins with the same
   * text, because providers cache and sign what comes first.
   */
  body(request: ModelRequest, route: Route): object
  /**
   * Sends a body. Resolves when the headers of the response are here, or all of it if its status is not a success.
   * Rejects if no response came.
   */
  send(body: object, route: Route, signal: AbortSignal): Promise<Response | RefusedRequest>
  /** Begins to read the reply to a request. */
  reader(): ReplyReader
}

/** Reads the messages of a reply. */
export interface ReplyReader {
  /** Takes the next message. Unknown messages are ignored. */
  read(message: unknown): Result<readonly ModelPart[], Complaint>
  /** Called if the endpoint says `[DONE]`. Left out: that means nothing. */
  done?(): void
  /** `open`: the reply is not whole. `may_end`: it is if the stream ends here. `ended`: its last message is read. */
  readonly state: 'open' | 'may_end' | 'ended'
  /** What the provider has reported so far. */
  readonly used: Reported
  /** The reply, if `state` is not `open`. */
  reply(): Result<RawReply, Complaint>
}

export type Complaint =
  /** The message is not what the API describes. */
  | { readonly type: 'invalid'; readonly what: string }
  /** The provider reports an error. @see readProblem for `body` */
  | { readonly type: 'reported'; readonly body: unknown }

/** A reply in the words of one API, before it is checked and priced. */
export type RawReply = Reported & {
  readonly text: string | null
  readonly toolCalls: readonly RequestedCall[]
  readonly finishReason: FinishReason
  /** What goes back to the same provider if the reply is whole; null if nothing must. */
  readonly items: readonly Json[] | null
}

/** What a provider reports of the price of a reply. */
type Reported = {
  /** Null if it reports none. */
  readonly usage: TokenUsage | null
  /** Its own figure, in US dollars; null if it gives none. */
  readonly costUsd: number | null
}

/** A response whose status is not a success. */
export type RefusedRequest = {
  readonly status: number
  /** Parsed from JSON if it is JSON, or its text. */
  readonly body: unknown
  readonly headers: Headers
}
