import { describe, expect, test } from 'vitest'
import { contextBudget, costUsd } from '../../../src/agent/model/prices.ts'
import { route } from '../../../src/agent/model/routing.ts'

const own = {}
const custom = { llmBaseUrl: 'http://127.0.0.1:9/v1' }
const usage = { inputTokens: 100_000, cachedInputTokens: 0, outputTokens: 10_000 }

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
    costUsd(route(model, settings), { ...usage, ...tokens }) ?? Number.NaN

  test('is known, and grows with the tokens', () => {
    expect(cost({})).toBeGreaterThan(0)
    expect(cost({})).toBeLessThan(100)
    expect(cost({ inputTokens: 200_000 })).toBeGreaterThan(cost({}))
    expect(cost({ outputTokens: 20_000 })).toBeGreaterThan(cost({}))
    expect(cost({ inputTokens: 0, outputTokens: 0 })).toBe(0)
  })

  test('is lower for tokens read from the cache', () => {
    expect(cost({ cachedInputTokens: 50_000 })).toBeLessThan(cost({}))
  })

  test('is known even if an endpoint reports more cached tokens than tokens', () => {
    expect(cost({ cachedInputTokens: 900_000 })).toBe(cost({ cachedInputTokens: 100_000 }))
  })

  test('is found by name for a custom endpoint', () => {
    expect(cost({}, custom)).toBe(cost({}))
  })
})

test('a model outside of the catalogue has no known price', () => {
  expect(costUsd(route('scripted-model', own), usage)).toBeNull()
  expect(costUsd(route('scripted-model', custom), usage)).toBeNull()
})

test('local models are free', () => {
  expect(costUsd(route('ollama/gpt-5', own), usage)).toBe(0)
})

describe('the budget of a conversation', () => {
  test('leaves room for the reply', () => {
    const budget = contextBudget(route('claude-sonnet-4-6', own))
    expect(budget).toBeGreaterThanOrEqual(100_000)
    // gpt-5 has a window of 400,000 tokens, of which a request may take 272,000.
    expect(contextBudget(route('gpt-5', own))).toBeLessThan(272_000)
  })

  test('is modest for models with an unknown window', () => {
    expect(contextBudget(route('scripted-model', custom))).toBe(96_000)
    expect(contextBudget(route('ollama/llama3', own))).toBe(96_000)
  })
})
