import * as z from 'zod'
import type { TokenUsage } from '../model.ts'
import type { Api } from '../routing.ts'

/** What an API reports about the tokens of a reply. */
export const ReportedUsage = z.record(z.string(), z.json()).nullish().catch(null)
export type ReportedUsage = z.infer<typeof ReportedUsage>

/** Where an API reports what we record: paths of numbers of tokens. */
type Row = {
  /** All tokens of the request, and all of the reply: the sums of what is there. */
  readonly input: readonly string[]
  readonly output: readonly string[]
  /** The first that is there: endpoints have different names for it. */
  readonly cached: readonly string[]
  readonly written?: string
  readonly reasoning?: string
  /** Request and reply. Some endpoints count reasoning only here. */
  readonly total?: string
}

/** More than any reply has. A larger number is a mistake of the endpoint, and sums of such numbers could not be recorded. */
const MAX_TOKENS = 1e9
/** The same in US dollars. */
const MAX_COST = 1e6

const tokens = z.number().nonnegative().max(MAX_TOKENS).transform(Math.round).nullable().catch(null)

const dollars = z.number().nonnegative().max(MAX_COST).nullable().catch(null)

/** What an endpoint says that a reply cost, in US dollars; null if it does not say all of that. */
export function reportedCost({ cost, is_byok }: NonNullable<ReportedUsage>): number | null {
  // OpenRouter charges only its fee if the vendor charges the key of the user.
  return is_byok === true ? null : dollars.parse(cost)
}

const countAt = (usage: object, path: string): number | null =>
  tokens.parse(path.split('.').reduce<unknown>((part, name) => Object(part)[name], usage))

/** The names of an API are its own; those of chat completions differ by endpoint. */
const TABLE: Readonly<Record<Api, Row>> = {
  responses: {
    input: ['input_tokens'],
    cached: ['input_tokens_details.cached_tokens'],
    written: 'input_tokens_details.cache_write_tokens',
    output: ['output_tokens'],
    reasoning: 'output_tokens_details.reasoning_tokens',
    total: 'total_tokens',
  },
  // Anthropic counts cached tokens apart from the others.
  messages: {
    input: ['input_tokens', 'cache_creation_input_tokens', 'cache_read_input_tokens'],
    cached: ['cache_read_input_tokens'],
    written: 'cache_creation_input_tokens',
    output: ['output_tokens'],
    reasoning: 'output_tokens_details.thinking_tokens',
  },
  // Google counts thoughts apart from the reply.
  gemini: {
    input: ['promptTokenCount', 'toolUsePromptTokenCount'],
    cached: ['cachedContentTokenCount'],
    output: ['candidatesTokenCount', 'thoughtsTokenCount'],
    reasoning: 'thoughtsTokenCount',
    total: 'totalTokenCount',
  },
  ollama: {
    input: ['prompt_eval_count'],
    cached: ['prompt_eval_cached_count'],
    output: ['eval_count'],
  },
  chat: {
    input: ['prompt_tokens'],
    // The second is DeepSeek's, the third is Kimi's.
    cached: ['prompt_tokens_details.cached_tokens', 'prompt_cache_hit_tokens', 'cached_tokens'],
    written: 'prompt_tokens_details.cache_write_tokens',
    output: ['completion_tokens'],
    reasoning: 'completion_tokens_details.reasoning_tokens',
    total: 'total_tokens',
  },
}

const sum = (counts: readonly number[]): number => counts.reduce((all, count) => all + count, 0)

/** The usage of a reply; null if the API does not report what was sent and received. */
export function usageOf(api: Api, reported: ReportedUsage): TokenUsage | null {
  if (!reported) return null
  const { input, output, cached, ...row } = TABLE[api]
  const at = (path?: string) => (path === undefined ? null : countAt(reported, path))
  const counts = (paths: readonly string[]) => paths.flatMap((path) => at(path) ?? [])
  const inputTokens = sum(counts(input))
  const said = counts(output)
  const total = at(row.total)
  // No request has none: some gateways report zeros instead of nothing.
  if (inputTokens === 0 || (said.length === 0 && total === null)) return null
  return {
    inputTokens,
    cachedTokens: counts(cached)[0] ?? null,
    cacheWriteTokens: at(row.written),
    outputTokens: Math.max(sum(said), (total ?? 0) - inputTokens),
    reasoningTokens: at(row.reasoning),
  }
}
