import * as z from 'zod'
import type { TokenUsage } from '../model.ts'
import { tokenCount } from '../reply-parts.ts'

const details = <T extends z.ZodRawShape>(shape: T) => z.object(shape).nullish().catch(null)

/** The usage of a chat completion, with the names that the different endpoints have for the same number. */
export const ChatUsage = z.object({
  prompt_tokens: z.number().nonnegative().transform(Math.round),
  completion_tokens: tokenCount,
  total_tokens: tokenCount,
  prompt_tokens_details: details({
    cached_tokens: tokenCount,
    cache_write_tokens: tokenCount,
    cache_creation_input_tokens: tokenCount,
  }),
  completion_tokens_details: details({ reasoning_tokens: tokenCount }),
  /** DeepSeek. */
  prompt_cache_hit_tokens: tokenCount,
  /** Kimi. */
  cached_tokens: tokenCount,
  /** OpenRouter, in US dollars. */
  cost: z.number().nonnegative().nullish().catch(null),
})

export function toUsage(usage: z.infer<typeof ChatUsage>): TokenUsage {
  const { prompt_tokens, completion_tokens, total_tokens } = usage
  const input = usage.prompt_tokens_details
  return {
    inputTokens: prompt_tokens,
    cachedTokens:
      input?.cached_tokens ?? usage.prompt_cache_hit_tokens ?? usage.cached_tokens ?? null,
    cacheWriteTokens: input?.cache_write_tokens ?? input?.cache_creation_input_tokens ?? null,
    longCacheWriteTokens: null,
    // Some providers bill thinking in the total only.
    outputTokens: Math.max(completion_tokens ?? 0, (total_tokens ?? 0) - prompt_tokens),
    reasoningTokens: usage.completion_tokens_details?.reasoning_tokens ?? null,
  }
}
