import { describe, expect, test } from 'vitest'
import { reportedCost, usageOf } from '../../../src/models/adapters/usage.ts'
import type { TokenUsage } from '../../../src/models/model.ts'
import { APIS } from './support.ts'

const usage = (changes: Partial<TokenUsage>) => ({
  inputTokens: 9_000,
  cachedTokens: null,
  cacheWriteTokens: null,
  outputTokens: 900,
  reasoningTokens: null,
  ...changes,
})
const chat = { prompt_tokens: 9_000, completion_tokens: 900, total_tokens: 9_900 }

describe('what a provider reports', () => {
  test.each([
    [
      'OpenAI',
      'responses',
      {
        input_tokens: 9_000,
        input_tokens_details: {
          cached_tokens: 8_192,
          cache_write_tokens: 700,
          cache_write_tokens_details: { ttl_30m_tokens: 500, ttl_12h_tokens: 200 },
        },
        output_tokens: 900,
        output_tokens_details: { reasoning_tokens: 640 },
        total_tokens: 9_900,
      },
      { cachedTokens: 8_192, cacheWriteTokens: 700, reasoningTokens: 640 },
    ],
    [
      'Anthropic, which counts cached tokens apart',
      'messages',
      {
        input_tokens: 108,
        cache_creation_input_tokens: 700,
        cache_read_input_tokens: 8_192,
        cache_creation: { ephemeral_5m_input_tokens: 500, ephemeral_1h_input_tokens: 200 },
        output_tokens: 900,
        output_tokens_details: { thinking_tokens: 640 },
      },
      { cachedTokens: 8_192, cacheWriteTokens: 700, reasoningTokens: 640 },
    ],
    [
      'Google, which counts thoughts apart',
      'gemini',
      {
        promptTokenCount: 8_900,
        toolUsePromptTokenCount: 100,
        cachedContentTokenCount: 8_192,
        candidatesTokenCount: 260,
        thoughtsTokenCount: 640,
        totalTokenCount: 9_900,
      },
      { cachedTokens: 8_192, reasoningTokens: 640 },
    ],
    [
      'Google, cut off while it thinks',
      'gemini',
      { promptTokenCount: 9_000, thoughtsTokenCount: 900, totalTokenCount: 9_900 },
      { reasoningTokens: 900 },
    ],
    ['Ollama', 'ollama', { prompt_eval_count: 9_000, eval_count: 900 }, {}],
    [
      'a newer Ollama',
      'ollama',
      { prompt_eval_count: 9_000, prompt_eval_cached_count: 8_000, eval_count: 900 },
      { cachedTokens: 8_000 },
    ],
    [
      'OpenAI over chat completions',
      'chat',
      {
        ...chat,
        prompt_tokens_details: { cached_tokens: 8_192, cache_write_tokens: 700 },
        completion_tokens_details: { reasoning_tokens: 640 },
      },
      { cachedTokens: 8_192, cacheWriteTokens: 700, reasoningTokens: 640 },
    ],
    [
      'DeepSeek',
      'chat',
      { ...chat, prompt_cache_hit_tokens: 8_192, prompt_cache_miss_tokens: 808 },
      { cachedTokens: 8_192 },
    ],
    ['Kimi', 'chat', { ...chat, cached_tokens: 8_192 }, { cachedTokens: 8_192 }],
    [
      'one that counts reasoning only in the total',
      'chat',
      { ...chat, completion_tokens: 260 },
      {},
    ],
  ] as const)('%s', (_, api, reported, expected) => {
    expect(usageOf(api, reported)).toEqual(usage(expected))
  })
})

test.each(APIS)(
  'if the input or the output of a reply over %s is not known, there is no usage, not 0',
  (api) => {
    const zeros = { input_tokens: 0, output_tokens: 0, promptTokenCount: 0, prompt_tokens: 0 }
    const odd = [{ input_tokens: 'x' }, { output_tokens: 5, eval_count: 5 }, zeros]
    for (const reported of [null, {}, ...odd]) {
      expect(usageOf(api, reported)).toBeNull()
    }
    const half = { input_tokens: 5, promptTokenCount: 5, prompt_eval_count: 5, prompt_tokens: 5 }
    expect(usageOf(api, half)).toBeNull()
  },
)

test('a cost is not known if OpenRouter uses a key of the user', () => {
  expect(reportedCost({ cost: 0.03, is_byok: false })).toBe(0.03)
  expect(reportedCost({ cost: 0.001, is_byok: true })).toBeNull()
  expect(reportedCost({})).toBeNull()
})

test('a count that no reply can have is not known', () => {
  for (const prompt_tokens of [-1, 1e20, 'many']) {
    expect(usageOf('chat', { ...chat, prompt_tokens })).toBeNull()
  }
})
