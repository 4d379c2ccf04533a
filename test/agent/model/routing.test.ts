import { describe, expect, test } from 'vitest'
import { type ModelSettings, route } from '../../../src/agent/model/routing.ts'

describe('routing by model name', () => {
  const keys: ModelSettings = {
    anthropicApiKey: 'key-of-anthropic',
    geminiApiKey: 'key-of-google',
    openaiApiKey: 'key-of-openai',
  }

  test.each([
    ['claude-sonnet-4-6', 'https://api.anthropic.com/v1/', 'key-of-anthropic', 'claude-sonnet-4-6'],
    [
      'gemini-2.5-pro',
      'https://generativelanguage.googleapis.com/v1beta/openai/',
      'key-of-google',
      'gemini-2.5-pro',
    ],
    ['ollama/qwen3:8b', 'http://127.0.0.1:11434/v1', null, 'qwen3:8b'],
    ['gpt-5', 'https://api.openai.com/v1', 'key-of-openai', 'gpt-5'],
    ['my-claude-like', 'https://api.openai.com/v1', 'key-of-openai', 'my-claude-like'],
  ])('sends %s to %s', (name, baseUrl, apiKey, model) => {
    const target = route(name, keys)
    expect(target).toMatchObject({ endpoint: { baseUrl, apiKey }, model, missingKey: null })
  })

  test.each([
    ['claude-sonnet-4-6', 'ANTHROPIC_API_KEY'],
    ['gemini-2.5-pro', 'GEMINI_API_KEY'],
    ['gpt-5', 'OPENAI_API_KEY'],
    ['ollama/qwen3:8b', null],
  ])('says which key %s lacks', (name, variable) => {
    expect(route(name, {}).missingKey).toBe(variable)
  })

  test('sends the other models to OPENAI_BASE_URL if it is set', () => {
    const target = route('gpt-5', { openaiBaseUrl: 'http://127.0.0.1:9/v1' })
    expect(target.endpoint.baseUrl).toBe('http://127.0.0.1:9/v1')
    expect(target.missingKey).toBe('OPENAI_API_KEY')
  })

  test.each(['claude-sonnet-4-6', 'gemini-2.5-pro', 'ollama/qwen3:8b', 'gpt-5'])(
    'sends %s under its own name to the one endpoint that takes all',
    (model) => {
      const one = { llmBaseUrl: 'http://127.0.0.1:9/v1', anthropicApiKey: 'a', openaiApiKey: 'b' }
      const endpoint = { provider: 'custom', baseUrl: one.llmBaseUrl, apiKey: null }
      expect(route(model, one)).toEqual({ endpoint, model, missingKey: null })
      const keyed = route(model, { ...one, llmApiKey: 'c' })
      expect(keyed.endpoint.apiKey).toBe('c')
    },
  )

  test('sends ollama/… to the configured address', () => {
    const { endpoint } = route('ollama/x', { ollamaUrl: 'http://box:1234/v1' })
    expect(endpoint.baseUrl).toBe('http://box:1234/v1')
  })
})
