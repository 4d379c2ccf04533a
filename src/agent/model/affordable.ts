import { err, ok, type Result } from 'neverthrow'
import { outputLimit } from './adapters/claude-models.ts'
import { maxOutputTokens } from './known-models.ts'
import type { ModelRequest } from './model.ts'
import { priceOf } from './prices.ts'
import type { Route } from './routing.ts'

/** The longest reply of a model whose limit is not known, if it is sent none. */
const ASSUMED_OUTPUT_TOKENS = 32_768
/** A reply that may be only shorter is not worth the price of its request. */
const USEFUL_OUTPUT_TOKENS = 4_096

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
  const tokens = { inputTokens, cachedInputTokens: 0, outputTokens }
  const plain = priceOf(route, tokens)
  const written = priceOf(route, { ...tokens, cacheWriteTokens: inputTokens })
  return plain === null ? null : Math.max(plain.usd, written?.usd ?? 0)
}
