import { calcPrice, type PriceCalculation } from '@pydantic/genai-prices'
import { LruCache } from '../../lib/lru-cache.ts'
import { factsFor, maxOutputTokens, ollamaWindow } from './known-models.ts'
import type { TokenPrices } from './price-file.ts'
import { PROVIDERS } from './providers.ts'
import { type Endpoint, isOwnEndpoint, type Route } from './routing.ts'

/** The tokens of one call. Those that are not known count as none. */
export type PricedTokens = {
  /** All tokens of the request, including those read from the provider's cache and those written to it. */
  readonly inputTokens: number
  readonly cachedInputTokens: number
  readonly cacheWriteTokens?: number | null
  /** The part of `cacheWriteTokens` that is kept for an hour or longer. */
  readonly longCacheWriteTokens?: number | null
  readonly outputTokens: number
}

/** The budget for a model whose context window is not known. */
const DEFAULT_BUDGET_TOKENS = 96_000
/** The part of a context window that a conversation may fill. The rest is for the reply and the error of the estimate. */
const BUDGET_SHARE = 0.85
/** The part of what is left if a provider keeps room in the window for the longest reply, as OpenAI does. */
const BESIDE_REPLY_SHARE = 0.95
/** More tokens make each request expensive, and models less attentive. */
const MAX_BUDGET_TOKENS = 400_000
const MILLION = 1_000_000

/** A price, and where it is from: RETRAI_PRICES, our own table, the price list; local models are free. */
type Price = {
  readonly usd: number
  readonly source: 'file' | 'table' | 'catalogue' | 'local'
}

/** The price of one call; null if it is not known. */
export function priceOf(route: Route, tokens: PricedTokens): Price | null {
  const parts = consistent(tokens)
  const { own } = route
  if (own?.prices !== undefined) return { usd: costAt(own.prices, parts), source: 'file' }
  const { prices } = factsFor(route)
  if (prices !== undefined) return { usd: costAt(prices, parts), source: 'table' }
  if (route.api === 'ollama') return { usd: 0, source: 'local' }
  if (!listingOf(route).isListed) return null
  const { inputTokens, cachedInputTokens, cacheWriteTokens, outputTokens } = parts
  const found = lookUp(route, {
    input_tokens: inputTokens,
    cache_read_tokens: cachedInputTokens,
    ...(cacheWriteTokens === 0 ? {} : { cache_write_tokens: cacheWriteTokens }),
    ...longWrites(tokens, cacheWriteTokens),
    output_tokens: outputTokens,
  })
  return found === null ? null : { usd: found.total_price, source: 'catalogue' }
}

/** Parts of the request are never more than all of it: an endpoint that counts wrong must not lose a reply. */
function consistent({
  inputTokens,
  cachedInputTokens,
  cacheWriteTokens,
  outputTokens,
}: PricedTokens) {
  const cached = Math.min(cachedInputTokens, inputTokens)
  const written = Math.min(cacheWriteTokens ?? 0, inputTokens - cached)
  return { inputTokens, cachedInputTokens: cached, cacheWriteTokens: written, outputTokens }
}

function longWrites({ longCacheWriteTokens }: PricedTokens, written: number) {
  const long = Math.min(longCacheWriteTokens ?? 0, written)
  return long === 0 ? {} : { cache_write_1h_tokens: long }
}

function costAt(prices: TokenPrices, tokens: ReturnType<typeof consistent>): number {
  const { inputTokens, cachedInputTokens, cacheWriteTokens, outputTokens } = tokens
  const fresh = inputTokens - cachedInputTokens - cacheWriteTokens
  const total =
    fresh * prices.input_usd_per_mtok +
    cachedInputTokens * prices.cached_input_usd_per_mtok +
    cacheWriteTokens * prices.cache_write_usd_per_mtok +
    outputTokens * prices.output_usd_per_mtok
  return total / MILLION
}

/** The prices of a short request; null if they are not known. Long ones may cost more for each token. */
export function tokenPrices(route: Route): TokenPrices | null {
  const prices = route.own?.prices ?? factsFor(route).prices
  if (prices !== undefined) return prices
  const perMillion = (tokens: Partial<PricedTokens>): number | null => {
    // Few enough that no surcharge for long requests applies.
    const usd = priceOf(route, {
      inputTokens: 0,
      cachedInputTokens: 0,
      outputTokens: 0,
      ...tokens,
    })?.usd
    return usd === undefined ? null : rounded(usd * 1_000)
  }
  const input = perMillion({ inputTokens: 1_000 })
  const output = perMillion({ outputTokens: 1_000 })
  if (input === null || output === null) return null
  return {
    input_usd_per_mtok: input,
    output_usd_per_mtok: output,
    cached_input_usd_per_mtok:
      perMillion({ inputTokens: 1_000, cachedInputTokens: 1_000 }) ?? input,
    cache_write_usd_per_mtok: perMillion({ inputTokens: 1_000, cacheWriteTokens: 1_000 }) ?? input,
  }
}

/** Binary fractions would show as 0.30000000000000004. */
const rounded = (usd: number): number => Math.round(usd * MILLION) / MILLION

/** The context window of a model, in tokens; null if it is not known. */
export function contextWindow(route: Route): number | null {
  const known = route.own?.windowTokens ?? factsFor(route).windowTokens
  if (known !== undefined) return known
  if (route.api === 'ollama') return ollamaWindow(route)
  return listingOf(route).windowTokens
}

/** The most tokens of conversation to send to a model. */
export function contextBudget(route: Route): number {
  const window = contextWindow(route)
  if (window === null) return DEFAULT_BUDGET_TOKENS
  const besideReply = (window - (maxOutputTokens(route) ?? 0)) * BESIDE_REPLY_SHARE
  return Math.floor(Math.min(window * BUDGET_SHARE, besideReply, MAX_BUDGET_TOKENS))
}

/**
 * Finds the model in the price list that is bundled with the library: under its provider or, at an operator's endpoint, by its
 * name alone. A gap in the list must not lose a reply.
 */
function lookUp(
  { endpoint, model }: Route,
  usage: Record<string, number>,
): PriceCalculation | null {
  try {
    const found = isOwnEndpoint(endpoint)
      ? (calcPrice(usage, model, { providerApiUrl: endpoint.baseUrl }) ?? calcPrice(usage, model))
      : priceAt(endpoint.provider, model, usage)
    return found === null || isOther(found.model.id, model) ? null : found
  } catch {
    return null
  }
}

/** Whether that list holds a model, and its context window there. */
type Listing = { readonly isListed: boolean; readonly windowTokens: number | null }

/** The list never changes, and a search of all of it costs more than most other work of a turn. */
const listings = new LruCache<Listing>(256)

function listingOf(route: Route): Listing {
  const { endpoint, model } = route
  const key = JSON.stringify([endpoint.provider, endpoint.baseUrl, model])
  const known = listings.get(key)
  if (known !== undefined) return known
  const found = lookUp(route, { input_tokens: 0, output_tokens: 0 })
  const windowTokens = found?.model.context_window ?? null
  const listing = { isListed: found !== null, windowTokens }
  listings.set(key, listing)
  return listing
}

/** The price of a provider's own list: another provider has other prices for the same model. */
function priceAt(provider: Endpoint['provider'], model: string, usage: Record<string, number>) {
  const list = provider === 'custom' ? null : PROVIDERS[provider].priceList
  return list === null ? null : calcPrice(usage, model, { providerId: list })
}

/** Whether a found model is another version: the list finds claude-sonnet-5 for claude-sonnet-5-5, by its beginning. */
function isOther(found: string, wanted: string): boolean {
  const [id, name] = [found.toLowerCase(), wanted.toLowerCase()]
  return name.startsWith(id) && /^[-.]\d{1,2}(?!\d)/.test(name.slice(id.length))
}
