import * as z from 'zod'
import type { TokenUsage } from '../model.ts'
import type { Api } from '../routing.ts'

/** What an API reports about the tokens of a reply. */
export const ReportedUsage = z.record(z.string(), z.json()).nullish().catch(null)
export type ReportedUsage = z.infer<typeof ReportedUsage>

/** Reads a number of tokens from a report; null if it is not there. */
type Cell = (usage: object) => number | null

type Row = {
  /** All tokens of the request. */
  readonly input: Cell
  readonly cached: Cell
  readonly written?: Cell
  /** All tokens of the reply. */
  readonly output: Cell
  readonly reasoning?: Cell
  /** Request and reply. Some endpoints count reasoning only here. */
  readonly total?: Cell
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

const at =
  (path: string): Cell =>
  (usage) =>
    tokens.parse(path.split('.').reduce<unknown>((part, name) => Object(part)[name], usage))

/** The first name that an endpoint has for the number. */
const first =
  (...paths: readonly string[]): Cell =>
  (usage) =>
    paths.map((path) => at(path)(usage)).find((count) => count !== null) ?? null

/** Null if none of them is there. */
const sum =
  (...paths: readonly string[]): Cell =>
  (usage) => {
    const counts = paths.flatMap((path) => at(path)(usage) ?? [])
    return counts.length === 0 ? null : counts.reduce((all, count) => all + count)
  }

/** How each API names what we record. The names of an API are its own; those of chat completions differ by endpoint. */
const TABLE: Readonly<Record<Api, Row>> = {
  responses: {
    input: at('input_tokens'),
    cached: at('input_tokens_details.cached_tokens'),
    written: at('input_tokens_details.cache_write_tokens'),
    output: at('output_tokens'),
    reasoning: at('output_tokens_details.reasoning_tokens'),
    total: at('total_tokens'),
  },
  // Anthropic counts cached tokens apart from the others.
  messages: {
    input: sum('input_tokens', 'cache_creation_input_tokens', 'cache_read_input_tokens'),
    cached: at('cache_read_input_tokens'),
    written: at('cache_creation_input_tokens'),
    output: at('output_tokens'),
    reasoning: at('output_tokens_details.thinking_tokens'),
  },
  // Google counts thoughts apart from the reply.
  gemini: {
    input: sum('promptTokenCount', 'toolUsePromptTokenCount'),
    cached: at('cachedContentTokenCount'),
    output: sum('candidatesTokenCount', 'thoughtsTokenCount'),
    reasoning: at('thoughtsTokenCount'),
    total: at('totalTokenCount'),
  },
  ollama: {
    input: at('prompt_eval_count'),
    cached: at('prompt_eval_cached_count'),
    output: at('eval_count'),
  },
  chat: {
    input: at('prompt_tokens'),
    // The second is DeepSeek's, the third is Kimi's.
    cached: first(
      'prompt_tokens_details.cached_tokens',
      'prompt_cache_hit_tokens',
      'cached_tokens',
    ),
    written: at('prompt_tokens_details.cache_write_tokens'),
    output: at('completion_tokens'),
    reasoning: at('completion_tokens_details.reasoning_tokens'),
    total: at('total_tokens'),
  },
}

/** The usage of a reply; null if the API does not report what was sent and received. */
export function usageOf(api: Api, reported: ReportedUsage): TokenUsage | null {
  if (!reported) return null
  const row = TABLE[api]
  const [input, said, total] = [row.input, row.output, row.total].map((cell) => cell?.(reported))
  // No request has none: some gateways report zeros instead of nothing.
  if (!input) return null
  const output = total == null ? said : Math.max(said ?? 0, total - input)
  if (output == null) return null
  return {
    inputTokens: input,
    cachedTokens: row.cached(reported),
    cacheWriteTokens: row.written?.(reported) ?? null,
    outputTokens: output,
    reasoningTokens: row.reasoning?.(reported) ?? null,
  }
}
