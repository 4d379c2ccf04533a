import { describe, expect, it } from 'vitest'
import { route } from '../../../src/agent/model/routing.ts'
import { ModelSettings } from '../../../src/agent/model/settings.ts'

const settings = (values: Record<string, string> = {}) => ModelSettings.parse(values)

describe('routing by model name', () => {
  const keys = settings({
    anthropicApiKey: 'key-of-anthropic',
    geminiApiKey: 'key-of-google',
    openaiApiKey: 'key-of-openai',
  })

  it.each([
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

  it.each([
    ['claude-sonnet-4-6', 'ANTHROPIC_API_KEY'],
    ['gemini-2.5-pro', 'GEMINI_API_KEY'],
    ['gpt-5', 'OPENAI_API_KEY'],
    ['ollama/qwen3:8b', null],
  ])('says which key %s lacks', (name, variable) => {
    expect(route(name, settings()).missingKey).toBe(variable)
  })

  it('sends the other models to OPENAI_BASE_URL where it is set', () => {
    const target = route('gpt-5', settings({ openaiBaseUrl: 'http://127.0.0.1:9/v1' }))
    expect(target.endpoint.baseUrl).toBe('http://127.0.0.1:9/v1')
    expect(target.missingKey).toBe('OPENAI_API_KEY')
  })

  it.each(['claude-sonnet-4-6', 'gemini-2.5-pro', 'ollama/qwen3:8b', 'gpt-5'])(
    'sends %s under its own name to the one endpoint that takes all',
    (model) => {
      const one = { llmBaseUrl: 'http://127.0.0.1:9/v1', anthropicApiKey: 'a', openaiApiKey: 'b' }
      const endpoint = { provider: 'custom', baseUrl: one.llmBaseUrl, apiKey: null }
      expect(route(model, settings(one))).toEqual({ endpoint, model, missingKey: null })
      const keyed = route(model, settings({ ...one, llmApiKey: 'c' }))
      expect(keyed.endpoint.apiKey).toBe('c')
    },
  )
})

it.each([
  ['127.0.0.1', 'http://127.0.0.1:11434/v1'],
  ['box:1234', 'http://box:1234/v1'],
  [':1234', 'http://127.0.0.1:1234/v1'],
  ['0.0.0.0', 'http://127.0.0.1:11434/v1'],
  ['0.0.0.0:1234', 'http://127.0.0.1:1234/v1'],
  ['[::]:1234', 'http://127.0.0.1:1234/v1'],
  ['[::1]:1234', 'http://[::1]:1234/v1'],
  ['http://box:1234/', 'http://box:1234/v1'],
  ['https://ollama.example.com', 'https://ollama.example.com/v1'],
  ['https://example.com/ollama/', 'https://example.com/ollama/v1'],
])('reads the Ollama host %s', (ollamaHost, baseUrl) => {
  expect(route('ollama/x', settings({ ollamaHost })).endpoint.baseUrl).toBe(baseUrl)
})

describe('settings', () => {
  it('takes an empty variable for an unset one', () => {
    expect(settings({ openaiApiKey: ' ', llmBaseUrl: '' })).toEqual({})
  })

  it.each(['localhost:8000', 'ftp://host/v1', 'http://user:secret@host/v1'])(
    'refuses %s as a base URL',
    (llmBaseUrl) => {
      expect(ModelSettings.safeParse({ llmBaseUrl }).success).toBe(false)
    },
  )
})
