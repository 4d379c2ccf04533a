import { describe, expect, test } from 'vitest'
import { contextBudget, priceOf, tokenPrices } from '../../src/models/prices.ts'
import { route } from '../../src/models/routing.ts'

const own = {}
const usdOf = (...args: Parameters<typeof priceOf>) => priceOf(...args)?.usd ?? null
const custom = { RETRAI_LLM_BASE_URL: 'http://127.0.0.1:9/v1' }
const usage = { inputTokens: 100_000, cachedTokens: 0, outputTokens: 10_000 }

const KNOWN = [
  'claude-sonnet-4-6',
  'claude-opus-4-6',
  'claude-haiku-4-5',
  'gpt-5',
  'gpt-5-mini',
  'gpt-5.2',
  'gemini-2.5-pro',
  'gemini-2.5-flash',
  'gemini-3-pro-preview',
]

describe.each(KNOWN)('the price of %s', (model) => {
  const cost = (tokens: Partial<typeof usage>, settings = own) =>
    usdOf(route(model, settings), { ...usage, ...tokens }) ?? Number.NaN

  test('is known, grows with the tokens, and is lower for tokens read from the cache', () => {
    expect(cost({})).toBeGreaterThan(0)
    expect(cost({})).toBeLessThan(100)
    expect(cost({ inputTokens: 200_000 })).toBeGreaterThan(cost({}))
    expect(cost({ outputTokens: 20_000 })).toBeGreaterThan(cost({}))
    expect(cost({ inputTokens: 0, outputTokens: 0 })).toBe(0)
    expect(cost({ cachedTokens: 50_000 })).toBeLessThan(cost({}))
    // An endpoint may report more cached tokens than tokens.
    expect(cost({ cachedTokens: 900_000 })).toBe(cost({ cachedTokens: 100_000 }))
  })

  test('is found by name for a custom endpoint', () => {
    expect(cost({}, custom)).toBe(cost({}))
  })
})

test('tokens written to the cache have a price of their own', () => {
  const claude = route('claude-opus-5', own)
  const cost = (more: Partial<Parameters<typeof priceOf>[1]>) =>
    usdOf(claude, { inputTokens: 1_000_000, cachedTokens: 0, outputTokens: 0, ...more })
  expect(cost({})).toBeCloseTo(5, 9)
  expect(cost({ cacheWriteTokens: 1_000_000 })).toBeCloseTo(6.25, 9)
  expect(cost({ cachedTokens: 600_000, cacheWriteTokens: 400_000 })).toBeCloseTo(2.8, 9)
  // More parts than tokens: the cached ones count first.
  expect(cost({ cachedTokens: 900_000, cacheWriteTokens: 900_000 })).toBeCloseTo(1.075, 9)
})

describe('a model does not get the price of another one', () => {
  test.each([
    ['a version that the list knows only by its beginning', 'claude-sonnet-5-7'],
    ['a model that only another provider has', 'groq/claude-sonnet-5'],
    ['a provider without a list', 'dashscope/qwen3-32b'],
    ['a model without a known price', 'claude-haiku-5-5'],
    ['a model of nobody', 'scripted-model'],
  ])('%s', (_, model) => {
    expect(usdOf(route(model, own), usage)).toBeNull()
    expect(tokenPrices(route(model, own))).toBeNull()
  })

  test('a date after the name is the same model', () => {
    expect(usdOf(route('gpt-5-2025-08-07', own), usage)).toBe(usdOf(route('gpt-5', own), usage))
  })
})

test('the budget of a conversation leaves room for the reply, and is limited', () => {
  const budgetOf = (model: string, settings = own) => contextBudget(route(model, settings))
  expect(budgetOf('claude-sonnet-4-6')).toBeGreaterThanOrEqual(100_000)
  // gpt-5 has a window of 400,000 tokens, of which a request may take 272,000.
  expect(budgetOf('gpt-5')).toBeLessThan(272_000)
  expect(budgetOf('gemini/gemini-2.5-pro')).toBe(400_000)
  // A window that is not known, and the one that Ollama is asked for.
  expect(budgetOf('scripted-model', custom)).toBe(96_000)
  expect(budgetOf('ollama/llama3')).toBe(55_705)
})
