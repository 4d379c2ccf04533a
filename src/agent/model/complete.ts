import { err, ok, type Result } from 'neverthrow'
import type { Adapter, RawReply } from './adapter.ts'
import type { Deadlines } from './deadline.ts'
import { type CallInfo, quoter, unusableReply } from './failures.ts'
import type { ModelFailure, ModelPart, ModelReply, ModelRequest, TokenUsage } from './model.ts'
import { priceOf } from './prices.ts'
import { keyVariable, type Route } from './routing.ts'
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
    const adapter = await adapterOf(api)
    const keyName = keyVariable(endpoint.provider)
    const host = URL.parse(endpoint.baseUrl)?.host ?? endpoint.baseUrl
    const call: CallInfo = { host, model, keyName, quote }
    const body = adapter.body(request, target)
    const sent = {
      adapter,
      body,
      route: target,
      reader: adapter.reader(request),
      call,
      deadlines,
      onPart,
    }
    const received = await attempt(sent, signal)
    return received.andThen((whole) => finish(whole, body, target, call))
  }
}

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
  const usage = raw.usage ?? estimated(body, raw)
  const own = raw.costUsd
  const price = own === null ? priceFor(target, usage) : { usd: own, source: 'provider' }
  return ok({
    text: raw.text,
    ...ended,
    providerItems: keptItems(raw, ended, bytes, target),
    usage,
    provider: target.endpoint.provider,
    costUsd: price?.usd ?? null,
    priceSource: price?.source ?? null,
    firstTokenMs,
  })
}

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

/** The items of a whole reply. The items of others are not sent back: a provider would want results of their calls. */
function keptItems(
  { items }: RawReply,
  { finishReason }: Ended,
  replyBytes: number,
  { endpoint, api, model }: Route,
): ModelReply['providerItems'] {
  const isWhole = ['stop', 'tool_calls', 'pause'].includes(finishReason)
  if (!isWhole || items === null || items.length === 0) return null
  const itemBytes = Buffer.byteLength(JSON.stringify(items))
  if (2 * replyBytes + itemBytes > MAX_APPEND_BYTES) return null
  return { provider: endpoint.provider, api, model, items: [...items] }
}

function priceFor(target: Route, { cachedTokens, ...usage }: TokenUsage) {
  return priceOf(target, { ...usage, cachedInputTokens: cachedTokens ?? 0 })
}

/** Estimates the usage if the endpoint reports none, about four characters per token, so that limits still apply. */
function estimated(body: object, { text, toolCalls }: RawReply): TokenUsage {
  const estimate = (value: unknown) => Math.ceil(JSON.stringify(value).length / 4)
  return {
    inputTokens: estimate(body),
    cachedTokens: null,
    cacheWriteTokens: null,
    longCacheWriteTokens: null,
    outputTokens: estimate({ text, toolCalls }),
    reasoningTokens: null,
    estimated: true,
  }
}
