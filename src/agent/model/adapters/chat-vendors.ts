import type { Route } from '../routing.ts'

/** What an endpoint for chat completions wants that the others do not, or refuse. */
export type Vendor = {
  /**
   * What an assistant's message needs if its own reasoning is not known: `each` message or each with `calls`, and the
   * text to put there.
   */
  readonly filler?: { readonly where: 'each' | 'calls'; readonly text: string }
  /** How the endpoint is asked for its effort of reasoning. */
  readonly effort: 'reasoning_effort' | 'reasoning' | 'none'
  /** Refuses properties that it does not know, such as `stream_options`. */
  readonly isStrict?: true
  /** Wants ids of calls with exactly nine letters and digits. */
  readonly shortIds?: true
  /** Caches only what a mark ends. */
  readonly cacheMarks?: true
  readonly limitName: 'max_tokens' | 'max_completion_tokens'
}

const ANY: Vendor = { effort: 'reasoning_effort', limitName: 'max_tokens' }

const VENDORS: readonly (readonly [host: RegExp, vendor: Vendor])[] = [
  [/(^|\.)deepseek\.com$/, { ...ANY, filler: { where: 'each', text: '' } }],
  [/(^|\.)moonshot\.(ai|cn)$/, { ...ANY, filler: { where: 'calls', text: '.' } }],
  [/(^|\.)mistral\.ai$/, { ...ANY, effort: 'none', isStrict: true, shortIds: true }],
  [/(^|\.)openai\.com$/, { ...ANY, limitName: 'max_completion_tokens' }],
  [/(^|\.)openrouter\.ai$/, { ...ANY, effort: 'reasoning' }],
  [/(^|\.)aliyuncs\.com$/, { ...ANY, effort: 'none', cacheMarks: true }],
]

/** OpenRouter passes marks to the vendors that need them. */
const MARKED_AT_OPENROUTER = /^(anthropic|qwen|alibaba)\//

export function vendorOf({ endpoint, model }: Route): Vendor {
  const host = URL.parse(endpoint.baseUrl)?.hostname ?? ''
  const vendor = VENDORS.find(([pattern]) => pattern.test(host))?.[1] ?? ANY
  const isMarked = vendor.effort === 'reasoning' && MARKED_AT_OPENROUTER.test(model)
  return isMarked ? { ...vendor, cacheMarks: true } : vendor
}
