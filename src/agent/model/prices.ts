import { calcPrice, type PriceCalculation } from '@pydantic/genai-prices'
import type { Route } from './routing.ts'

export type TokenUsage = {
  /** All tokens of the request, including those read from the provider's cache. */
  readonly inputTokens: number
  readonly cachedInputTokens: number
  readonly outputTokens: number
}

/** The budget for a model whose context window is not known. */
const DEFAULT_BUDGET_TOKENS = 96_000
/**
 * The part of a context window that a conversation may fill. The rest is for the reply (gpt-5 reserves a third of its
 * window for it), and for the error of the token estimate, which for code can be a fifth.
 */
const BUDGET_SHARE = 0.5

/** US dollars for one call; null if the catalogue does not have the model. */
export function costUsd(route: Route, usage: TokenUsage): number | null {
  if (route.endpoint.provider === 'ollama') return 0
  const found = lookUp(route, {
    input_tokens: usage.inputTokens,
    cache_read_tokens: Math.min(usage.cachedInputTokens, usage.inputTokens),
    output_tokens: usage.outputTokens,
  })
  return found?.total_price ?? null
}

/** The most tokens of conversation to send to a model. */
export function contextBudget(route: Route): number {
  if (route.endpoint.provider === 'ollama') return DEFAULT_BUDGET_TOKENS
  const window = lookUp(route, { input_tokens: 0, output_tokens: 0 })?.model.context_window
  return window === undefined ? DEFAULT_BUDGET_TOKENS : Math.floor(window * BUDGET_SHARE)
}

/**
 * Finds the model in the catalogue that is bundled with the library: under its endpoint or, if that is not a known
 * provider, by its name alone. A gap in the catalogue must not lose a reply.
 */
function lookUp(
  { endpoint, model }: Route,
  usage: Record<string, number>,
): PriceCalculation | null {
  try {
    return (
      calcPrice(usage, model, { providerApiUrl: endpoint.baseUrl }) ??
      calcPrice(usage, model) ??
      null
    )
  } catch {
    return null
  }
}
