import { err, ok, type Result, ResultAsync } from 'neverthrow'
import { present } from '../../domain/present.ts'
import type { Adapter, RawReply, ReplyReader } from './adapter.ts'
import { withoutNulls } from './adapters/strict-schema.ts'
import type { Deadlines } from './deadline.ts'
import { type CallInfo, notLoaded, quoter, unusableReply } from './failures.ts'
import { thinksOnlyIfAsked } from './known-models.ts'
import type {
  ModelFailure,
  ModelPart,
  ModelReply,
  ModelRequest,
  TokenUsage,
  Used,
} from './model.ts'
import { priceOf } from './prices.ts'
import { keyVariable, providerName, type Route } from './routing.ts'
import { attempt, type Received } from './transport.ts'

/** Makes one attempt to get the reply to a request. */
export type Complete = (
  request: ModelRequest,
  signal: AbortSignal,
  onPart: (part: ModelPart) => void,
) => Promise<Result<ModelReply, ModelFailure>>

export type CompleteDeps = {
  readonly routeOf: (modelName: string) => Promise<Route>
  /** The keys of all endpoints, which no message may show. */
  readonly keys: readonly string[]
  readonly deadlines: Deadlines
  /** Loads the adapter of an API, once. */
  readonly adapterOf: (api: Route['api']) => Promise<Adapter>
}

export function createComplete({ routeOf, keys, deadlines, adapterOf }: CompleteDeps): Complete {
  const quote = quoter(keys)

  return async (request, signal, onPart) => {
    const target = await routeOf(request.modelName)
    const { endpoint, model, api, problem } = target
    if (problem !== null) {
      return err({ type: 'refused', message: `The model "${request.modelName}" ${problem}` })
    }
    const loaded = await ResultAsync.fromPromise(adapterOf(api), notLoaded)
    if (loaded.isErr()) return err(loaded.error)
    const adapter = loaded.value
    const keyName = keyVariable(endpoint)
    const host = URL.parse(endpoint.baseUrl)?.host ?? endpoint.baseUrl
    const call: CallInfo = { host, model, keyName, quote }
    const body = adapter.body({ ...request, ...effortOf(request, target) }, target)
    const reader = adapter.reader(request)
    let written = 0
    const count = (part: ModelPart) => {
      written += 'text' in part ? part.text.length : part.tool.length
      onPart(part)
    }
    const sent = { adapter, body, route: target, reader, call, deadlines, onPart: count }
    const received = await attempt(sent, signal)
    return received
      .orElse((failure) => asReply(failure, reader))
      .andThen((whole) => finish(whole, body, target, call))
      .mapErr((failure) => withUsed(failure, { reader, written, body, target }))
      .map((reply) => ({ ...reply, toolCalls: withoutNullsIn(reply.toolCalls, request.tools) }))
  }
}

/** Some models send null for an argument that they leave out, and the strict form of a schema asks for it. */
const withoutNullsIn = (
  calls: ModelReply['toolCalls'],
  tools: ModelRequest['tools'],
): ModelReply['toolCalls'] =>
  calls.map((call) => {
    const tool = tools.find(({ name }) => name === call.tool)
    if (tool === undefined || call.raw_args !== undefined) return call
    return { ...call, args: withoutNulls(call.args, tool.parameters) as typeof call.args }
  })

/** A call that its provider could not read is the model's mistake, so it is a reply. */
const asReply = (failure: ModelFailure, { used }: ReplyReader): Result<Received, ModelFailure> =>
  failure.type === 'transient' && failure.isUnreadableCall === true
    ? ok({
        reply: { text: null, toolCalls: [], finishReason: 'malformed', items: null, ...used },
        firstTokenMs: null,
      })
    : err(failure)

/** The same in all requests of a run to this model, because a change voids the cache. */
const effortOf = ({ effort, defaultEffort }: ModelRequest, target: Route) =>
  present({ effort: effort ?? (thinksOnlyIfAsked(target) ? defaultEffort : undefined) })

/**
 * The largest reply that is accepted. One append records it twice (the reply, and the call that follows from it), and
 * an append must stay below the limit of the store.
 */
const MAX_REPLY_BYTES = 400_000
/** The most bytes of one append for a reply, its call and the items of its provider. */
const MAX_APPEND_BYTES = 850_000

/** Checks a whole reply, and computes its price. */
function finish(
  { reply: raw, firstTokenMs }: Received,
  body: object,
  target: Route,
  call: CallInfo,
): Result<ModelReply, ModelFailure> {
  const ended = withEnd(raw)
  const bytes = Buffer.byteLength(JSON.stringify([raw.text, raw.toolCalls]))
  if (bytes > MAX_REPLY_BYTES) return err(unusableReply(`it is too large, ${bytes} bytes`, call))
  const usage = raw.usage ?? estimated(body, tokensIn({ text: raw.text, toolCalls: raw.toolCalls }))
  return ok({
    text: raw.text,
    ...ended,
    providerItems: keptItems(raw, ended, bytes, target),
    ...priced(target, usage, raw.costUsd),
    firstTokenMs,
  })
}

type Unusable = {
  readonly reader: ReplyReader
  /** How many characters of the reply have come. */
  readonly written: number
  readonly body: object
  readonly target: Route
}

/** A reply that cannot be used has a price, too. What its provider had not reported before it ended is estimated. */
function withUsed(
  failure: ModelFailure,
  { reader, written, body, target }: Unusable,
): ModelFailure {
  const { usage, costUsd } = reader.used
  const isPaid = failure.type === 'transient' && failure.isReply === true
  if (!isPaid || (usage === null && written === 0)) return failure
  const reported = usage !== null && reader.state === 'open' ? withAtLeast(usage, written) : usage
  const used = priced(target, reported ?? estimated(body, tokensOf(written)), costUsd)
  return { ...failure, used }
}

/** The usage of a reply that did not come to its end, so its provider has not reported all of it. */
const withAtLeast = (usage: TokenUsage, written: number): TokenUsage => ({
  ...{ ...usage, outputTokens: Math.max(usage.outputTokens, tokensOf(written)) },
  estimated: true,
})

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
      return { finishReason: text === null ? 'empty' : 'stop', toolCalls }
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
  const items = (isWhole ? raw.items : raw.remains) ?? []
  if (items.length === 0) return null
  const itemBytes = Buffer.byteLength(JSON.stringify(items))
  if (2 * replyBytes + itemBytes > MAX_APPEND_BYTES) return null
  return { provider: providerName(endpoint), api, model, items: [...items] }
}

/** @param own the provider's own figure, in US dollars */
function priced(target: Route, usage: TokenUsage, own: number | null): Used {
  const { cachedTokens, ...others } = usage
  const price =
    own === null
      ? priceOf(target, { ...others, cachedInputTokens: cachedTokens ?? 0 })
      : { usd: own, source: 'provider' }
  const provider = providerName(target.endpoint)
  return { usage, provider, costUsd: price?.usd ?? null, priceSource: price?.source ?? null }
}

const tokensIn = (value: unknown): number => tokensOf(JSON.stringify(value).length)
/** Without a tokenizer, about four characters are a token. */
const tokensOf = (characters: number): number => Math.ceil(characters / 4)

/** Estimates the usage if the endpoint reports none, so that limits still apply. */
function estimated(body: object, outputTokens: number): TokenUsage {
  return {
    inputTokens: tokensIn(body),
    cachedTokens: null,
    cacheWriteTokens: null,
    longCacheWriteTokens: null,
    outputTokens,
    reasoningTokens: null,
    estimated: true,
  }
}
