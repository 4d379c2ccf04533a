import { calcPrice, type PriceCalculation, type Usage } from '@pydantic/genai-prices'
import { err, ok, type Result } from 'neverthrow'
import { outputLimit } from './adapters/thinking.ts'
import { factsFor, maxOutputTokens, ollamaWindow } from './known-models.ts'
import type { ModelRequest, TokenUsage } from './model.ts'
import type { TokenPrices } from './operator-files.ts'
import { PROVIDERS } from './providers.ts'
import type { Route } from './routing.ts'

/** The tokens of one call. Those that are not known count as none. */
type PricedTokens = Pick<TokenUsage, 'inputTokens' | 'outputTokens'> &
  Partial<Pick<TokenUsage, 'cachedTokens' | 'cacheWriteTokens'>>

/** The budget for a model whose context window is not known. */
const DEFAULT_BUDGET_TOKENS = 96_000
/** The part of a context window that a conversation may fill. The rest is for the reply and the error of the estimate. */
const BUDGET_SHARE = 0.85
/** The part of what is left if a provider keeps room in the window for the longest reply, as OpenAI does. */
const BESIDE_REPLY_SHARE = 0.95
/** More tokens make each request expensive, and models less attentive. */
const MAX_BUDGET_TOKENS = 400_000
const MILLION = 1_000_000
/** The longest reply of a model whose limit is not known, if it is sent none. */
const ASSUMED_OUTPUT_TOKENS = 32_768
/** A reply that may be only shorter is not worth the price of its request. */
const USEFUL_OUTPUT_TOKENS = 4_096

/** A price, and where it is from: RETRAI_PRICES, our own table, the price list; local models are free. */
type Price = {
  readonly usd: number
  readonly source: 'file' | 'table' | 'catalogue' | 'local'
}

/** The price of one call; null if it is not known. */
export function priceOf(route: Route, tokens: PricedTokens): Price | null {
  const usage = consistent(tokens)
  const own = route.own?.prices
  if (own !== undefined) return { usd: costAt(own, usage), source: 'file' }
  const { prices } = factsFor(route)
  if (prices !== undefined) return { usd: costAt(prices, usage), source: 'table' }
  if (route.api === 'ollama') return { usd: 0, source: 'local' }
  const found = lookUp(route, usage)
  return found === null ? null : { usd: found.total_price, source: 'catalogue' }
}

/** Parts of the request are never more than all of it: an endpoint that counts wrong must not lose a reply. */
function consistent({ inputTokens, outputTokens, ...parts }: PricedTokens) {
  const cached = Math.min(parts.cachedTokens ?? 0, inputTokens)
  const written = Math.min(parts.cacheWriteTokens ?? 0, inputTokens - cached)
  return {
    input_tokens: inputTokens,
    cache_read_tokens: cached,
    cache_write_tokens: written,
    output_tokens: outputTokens,
  }
}

function costAt(prices: TokenPrices, usage: ReturnType<typeof consistent>): number {
  const { input_tokens, cache_read_tokens, cache_write_tokens, output_tokens } = usage
  const fresh = input_tokens - cache_read_tokens - cache_write_tokens
  const total =
    fresh * prices.input_usd_per_mtok +
    cache_read_tokens * prices.cached_input_usd_per_mtok +
    cache_write_tokens * prices.cache_write_usd_per_mtok +
    output_tokens * prices.output_usd_per_mtok
  return total / MILLION
}

/**
 * The limit for a reply with which a request costs at most `leftUsd`, even if its provider caches nothing. The error is the
 * highest price in US dollars of the request with a reply of a useful length.
 * @param inputTokens of the request
 */
export function replyWithin(
  route: Route,
  wanted: ModelRequest['maxOutputTokens'],
  inputTokens: number,
  leftUsd: number,
): Result<number | undefined, number> {
  const known = wanted ?? maxOutputTokens(route) ?? ASSUMED_OUTPUT_TOKENS
  const most = route.api === 'messages' ? outputLimit(route.model, wanted) : known
  const whole = highestPrice(route, inputTokens, most)
  const none = highestPrice(route, inputTokens, 0)
  if (whole === null || none === null || whole <= leftUsd) return ok(wanted)
  const fitting = Math.floor((most * (leftUsd - none)) / (whole - none))
  const useful = Math.min(most, USEFUL_OUTPUT_TOKENS)
  return fitting >= useful ? ok(fitting) : err(none + ((whole - none) * useful) / most)
}

/** What is not read from a cache may have to be written to it. */
function highestPrice(route: Route, inputTokens: number, outputTokens: number): number | null {
  const tokens = { inputTokens, outputTokens }
  const plain = priceOf(route, tokens)
  const written = priceOf(route, { ...tokens, cacheWriteTokens: inputTokens })
  return plain === null ? null : Math.max(plain.usd, written?.usd ?? 0)
}

/** The prices of a short request; null if they are not known. Long ones may cost more for each token. */
export function tokenPrices(route: Route): TokenPrices | null {
  // Few enough that no surcharge for long requests applies. Binary fractions would show as 0.30000000000000004.
  const perMillion = (tokens: Partial<PricedTokens>): number | undefined => {
    const price = priceOf(route, { inputTokens: 0, outputTokens: 0, ...tokens })
    return price === null ? undefined : Math.round(price.usd * 1_000 * MILLION) / MILLION
  }
  const input = perMillion({ inputTokens: 1_000 })
  const output = perMillion({ outputTokens: 1_000 })
  if (input === undefined || output === undefined) return null
  return {
    input_usd_per_mtok: input,
    output_usd_per_mtok: output,
    cached_input_usd_per_mtok: perMillion({ inputTokens: 1_000, cachedTokens: 1_000 }) ?? input,
    cache_write_usd_per_mtok: perMillion({ inputTokens: 1_000, cacheWriteTokens: 1_000 }) ?? input,
  }
}

/** The context window of a model, in tokens; null if it is not known. */
export function contextWindow(route: Route): number | null {
  const known = route.own?.windowTokens ?? factsFor(route).windowTokens
  if (known !== undefined) return known
  if (route.api === 'ollama') return ollamaWindow(route)
  return lookUp(route, {})?.model.context_window ?? null
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
function lookUp({ endpoint, model }: Route, usage: Usage): PriceCalculation | null {
  const { vendor, baseUrl: providerApiUrl } = endpoint
  const calc = (at?: Parameters<typeof calcPrice>[2]) => calcPrice(usage, model, at)
  // Another provider has other prices for the same model.
  const providerId = vendor === null ? null : PROVIDERS[vendor].priceList
  try {
    const listed = providerId === null ? null : calc({ providerId })
    const found = vendor === null ? (calc({ providerApiUrl }) ?? calc()) : listed
    return found === null || isOther(found.model.id, model) ? null : found
  } catch {
    return null
  }
}

/** Whether a found model is another version: the list finds claude-sonnet-5 for claude-sonnet-5-5, by its beginning. */
function isOther(found: string, wanted: string): boolean {
  const id = found.toLowerCase()
  const name = wanted.toLowerCase()
  return name.startsWith(id) && /^[-.]\d{1,2}(?!\d)/.test(name.slice(id.length))
}
