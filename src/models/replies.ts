import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import type { RequestedCall } from '../domain/records.ts'
import { wellFormed } from '../lib/json.ts'
import { issuesText } from '../lib/message-of.ts'
import type { Complaint, RawReply, ReplyReader } from './adapter.ts'
import { type CallInfo, unusableReply } from './failures.ts'
import type { ModelFailure, ModelReply, TokenUsage, Used } from './model.ts'
import { priceOf } from './prices.ts'
import type { Route } from './routing.ts'

/** Deeper JSON could not be recorded, or not read again by every program that verifies a log. */
const MAX_DEPTH = 200

const isDeeper = (value: unknown, levels: number): boolean =>
  typeof value === 'object' &&
  value !== null &&
  (levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1)))

/** JSON that is nested too deeply counts as none. */
export function parseJson(text: string): Result<unknown, 'not_json'> {
  try {
    const value: unknown = JSON.parse(text)
    return isDeeper(value, MAX_DEPTH) ? err('not_json') : ok(value)
  } catch {
    return err('not_json')
  }
}

export const FIRST_NUMBER = 2

/**
 * `wanted`, or `wanted_2`, `wanted_3`, … if it is taken. Adds the returned name to `taken`.
 * @param taken the names, each with the number that the search for another one begins with: thousands may be equal
 */
export function distinct(wanted: string, taken: Map<string, number>): string {
  let candidate = wanted
  let next = taken.get(wanted) ?? FIRST_NUMBER
  for (; taken.has(candidate); next += 1) candidate = `${wanted}_${next}`
  taken.set(wanted, next)
  if (candidate !== wanted) taken.set(candidate, FIRST_NUMBER)
  return candidate
}

export const JsonObject = z.record(z.string(), z.json())
export type JsonObject = z.infer<typeof JsonObject>

/** A call as a provider reports it: the id may be missing, the arguments a JSON text or an object. */
export type ReportedCall = {
  readonly id: string | null
  readonly name: string
  readonly args: string | Readonly<Record<string, unknown>>
}

/** Gives every call an id that is unique in its reply. The same reply always gets the same ids. */
export function toRequestedCalls(calls: readonly ReportedCall[]): RequestedCall[] {
  const taken = new Map<string, number>()
  return calls.map(({ id, name, args }, index) => ({
    call_id: distinct(id?.trim() || `call_${index}`, taken),
    tool: name,
    ...readArguments(args),
  }))
}

function readArguments(written: ReportedCall['args']): Pick<RequestedCall, 'args' | 'raw_args'> {
  if (typeof written === 'string' && written.trim() === '') return { args: {} }
  const json = typeof written === 'string' ? parseJson(written).unwrapOr(null) : written
  const parsed = JsonObject.safeParse(json)
  // A tool must get what the log will hold.
  if (parsed.success) return { args: wellFormed(parsed.data, JSON.stringify(parsed.data)) }
  return { args: {}, raw_args: typeof written === 'string' ? written : JSON.stringify(written) }
}

/** The complaint about a message that is not what its API describes. */
export const invalid = (error: z.ZodError): Result<never, Complaint> =>
  err({ type: 'invalid', what: issuesText(error) })

/** A call that its provider could not read is the model's mistake, so it is a reply. */
export const asReply = (
  failure: ModelFailure,
  { used }: ReplyReader,
): Result<RawReply, ModelFailure> =>
  failure.type === 'transient' && failure.isUnreadableCall === true
    ? ok({ text: null, toolCalls: [], finishReason: 'malformed', items: null, ...used })
    : err(failure)

/**
 * The largest reply that is accepted. One append records it twice (the reply, and the call that follows from it), and
 * an append must stay below the limit of the store.
 */
const MAX_REPLY_BYTES = 400_000
/** The most bytes of one append for a reply, its call and the items of its provider. */
const MAX_APPEND_BYTES = 850_000

type Asked = {
  readonly body: object
  readonly route: Route
  readonly call: CallInfo
}

/** Checks a whole reply, and computes its price. */
export function finish(
  raw: RawReply,
  { body, route, call }: Asked,
): Result<Omit<ModelReply, 'firstTokenMs'>, ModelFailure> {
  const { text, toolCalls, usage, costUsd } = raw
  const bytes = Buffer.byteLength(JSON.stringify([text, toolCalls]))
  if (bytes > MAX_REPLY_BYTES) return err(unusableReply(`it is too large, ${bytes} bytes`, call))
  const ended = withEnd(raw)
  return ok({
    text,
    ...ended,
    providerItems: keptItems(raw, ended, bytes, route),
    ...priced(route, usage ?? estimated(body, tokensIn({ text, toolCalls })), costUsd),
  })
}

/** A line that begins a call as some models write it, or as a server without a parser for their calls passes it on. */
const CALL_AS_TEXT =
  /^\s*(?:<\|?tool_calls?\b|<\|tool_calls?_|<｜tool▁call|\[TOOL_CALLS\]|<function=|<function_calls>|<invoke name=)/m

type Ended = Pick<ModelReply, 'finishReason' | 'toolCalls' | 'droppedCalls'>

/** A reply that was cut off may ask for less than it seems to, so none of its calls is run. */
function withEnd({ text, toolCalls, finishReason }: RawReply): Ended {
  switch (finishReason) {
    case 'length':
    case 'overflow':
    case 'refusal':
    case 'malformed': {
      const droppedCalls = toolCalls.map(({ tool }) => tool)
      return { finishReason, toolCalls: [], ...(droppedCalls.length > 0 ? { droppedCalls } : {}) }
    }
    case 'pause':
      return { finishReason, toolCalls }
    case 'stop':
    case 'tool_calls':
    case 'empty':
      if (toolCalls.length > 0) return { finishReason: 'tool_calls', toolCalls }
      if (text === null) return { finishReason: 'empty', toolCalls }
      return { finishReason: CALL_AS_TEXT.test(text) ? 'malformed' : 'stop', toolCalls }
  }
}

/** The items of a whole reply. Those of others are not sent back: a provider would want results of their calls. */
function keptItems(
  raw: RawReply,
  { finishReason }: Ended,
  replyBytes: number,
  { endpoint, api, model }: Route,
): ModelReply['providerItems'] {
  const isWhole = ['stop', 'tool_calls', 'pause'].includes(finishReason)
  const items = raw.items ?? []
  if (!isWhole || items.length === 0) return null
  const itemBytes = Buffer.byteLength(JSON.stringify(items))
  if (2 * replyBytes + itemBytes > MAX_APPEND_BYTES) return null
  return { provider: endpoint.name, api, model, items: [...items] }
}

type Unusable = Pick<Asked, 'body' | 'route'> & {
  readonly reader: ReplyReader
  /** How many characters of the reply have come. */
  readonly written: number
}

/** A reply that cannot be used has a price, too. What its provider had not reported before it ended is estimated. */
export function withUsed(
  failure: ModelFailure,
  { reader, written, body, route }: Unusable,
): ModelFailure {
  const { usage, costUsd } = reader.used
  const isPaid = failure.type === 'transient' && failure.isReply === true
  if (!isPaid || (usage === null && written === 0)) return failure
  const least = tokensOf(written)
  if (usage === null) return { ...failure, used: priced(route, estimated(body, least), costUsd) }
  const outputTokens = Math.max(usage.outputTokens, least)
  const reported: TokenUsage =
    reader.state === 'open' ? { ...usage, outputTokens, estimated: true } : usage
  return { ...failure, used: priced(route, reported, costUsd) }
}

/** @param own the provider's own figure, in US dollars */
function priced(route: Route, usage: TokenUsage, own: number | null): Used {
  const price = own === null ? priceOf(route, usage) : { usd: own, source: 'provider' }
  const provider = route.endpoint.name
  return { usage, provider, costUsd: price?.usd ?? null, priceSource: price?.source ?? null }
}

const tokensIn = (value: unknown): number => tokensOf(JSON.stringify(value).length)
/** Without a tokenizer, about four characters are a token. */
const tokensOf = (characters: number): number => Math.ceil(characters / 4)

/** Estimates the usage if the endpoint reports none, so that limits still apply. */
const estimated = (body: object, outputTokens: number): TokenUsage => ({
  inputTokens: tokensIn(body),
  cachedTokens: null,
  cacheWriteTokens: null,
  outputTokens,
  reasoningTokens: null,
  estimated: true,
})
