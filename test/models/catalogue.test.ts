import { text } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import { createCatalogue, type ModelInfo } from '../../src/models/catalogue.ts'
import { createModels } from '../../src/models/models.ts'
import type { ModelSettings } from '../../src/models/routing.ts'
import { serve } from '../support/serve.ts'

/** Nothing listens there. */
const NOWHERE = 'http://127.0.0.1:9'

async function listed(settings: ModelSettings): Promise<ReadonlyMap<string, ModelInfo>> {
  const models = await createCatalogue({ OLLAMA_HOST: NOWHERE, ...settings }).list()
  return new Map(models.map((model) => [model.name, model]))
}

/** An endpoint that has these models; `requests` are the headers of what it was asked. */
async function endpoint(ids: readonly string[]) {
  const requests: (string | undefined)[] = []
  const url = await serve((request, response) => {
    requests.push(request.headers.authorization)
    response.end(JSON.stringify({ data: ids.map((id) => ({ id })) }))
  })
  return { url: `${url}/v1`, requests }
}

describe('the list of models', () => {
  test('has what is known of each, and begins with the default', async () => {
    const models = await listed({ OPENAI_API_KEY: 'o' })
    const [first] = models.values()
    expect(first).toMatchObject({ name: 'openai/gpt-5.2', isDefault: true, problem: null })
    const { prices, ...terra } = models.get('openai/gpt-5.6-terra') ?? {}
    expect(prices).toMatchObject({ input_usd_per_mtok: 2, output_usd_per_mtok: 12 })
    expect(terra).toEqual({
      name: 'openai/gpt-5.6-terra',
      provider: 'openai',
      isDefault: false,
      problem: null,
      contextWindow: 1_050_000,
      maxOutputTokens: 128_000,
      efforts: ['none', 'low', 'medium', 'high', 'xhigh', 'max'],
      keyVariable: 'OPENAI_API_KEY',
      keySet: true,
    })
    const claude = models.get('anthropic/claude-opus-5-5')
    expect(claude).toMatchObject({ keyVariable: 'ANTHROPIC_API_KEY', keySet: false })
    expect(claude?.problem).toContain('needs ANTHROPIC')
  })

  test('lists each model once, whichever name the default has', async () => {
    const models = await listed({ RETRAI_MODEL: 'claude-opus-5', ANTHROPIC_API_KEY: 'a' })
    expect(models.has('claude-opus-5')).toBe(false)
    expect([...models.values()].filter(({ isDefault }) => isDefault)).toHaveLength(1)
    expect(models.get('anthropic/claude-opus-5')?.isDefault).toBe(true)
  })

  test('has the models of the price file', async () => {
    const prices = {
      input_usd_per_mtok: 1,
      output_usd_per_mtok: 2,
      cached_input_usd_per_mtok: 1,
      cache_write_usd_per_mtok: 1,
    }
    const own = { prices, windowTokens: 9_000, maxOutputTokens: undefined }
    const models = await listed({ ownModels: new Map([['xai/grok-9', own]]) })
    expect(models.get('xai/grok-9')).toMatchObject({ prices, contextWindow: 9_000 })
  })

  test('is that of OPENAI_BASE_URL if that endpoint takes every model', async () => {
    const { url, requests } = await endpoint(['qwen3', 'org/llama'])
    const catalogue = createCatalogue({
      RETRAI_LLM_BASE_URL: url,
      RETRAI_LLM_API_KEY: 'k',
      RETRAI_MODEL: 'qwen3',
    })
    const models = await catalogue.list()
    expect(models.map(({ name, provider, problem }) => [name, provider, problem])).toEqual([
      ['qwen3', 'custom', null],
      ['org/llama', 'custom', null],
    ])
    await catalogue.list()
    expect(requests).toEqual(['Bearer k'])
  })

  test('has the models of Ollama, which are free', async () => {
    const { url } = await endpoint(['qwen3:8b'])
    const models = await listed({ OLLAMA_HOST: url.replace(/\/v1$/, '') })
    expect(models.get('ollama/qwen3:8b')).toMatchObject({
      provider: 'ollama',
      keyVariable: null,
      problem: null,
      prices: { input_usd_per_mtok: 0, output_usd_per_mtok: 0 },
    })
  })
})

/** An Ollama with these models, by what it shows of them. */
async function ollama(models: Readonly<Record<string, object>>) {
  const shown: string[] = []
  const url = await serve(async (request, response) => {
    const { model = '' } = JSON.parse((await text(request)) || '{}')
    if (request.url !== '/api/show') {
      return response.end(JSON.stringify({ data: Object.keys(models).map((id) => ({ id })) }))
    }
    shown.push(model)
    const found = models[model]
    return response.writeHead(found ? 200 : 404).end(JSON.stringify(found ?? { error: 'no model' }))
  })
  return { url, shown }
}

describe('Ollama is asked what it knows of a model', () => {
  const small = {
    capabilities: ['completion', 'tools'],
    model_info: { 'general.architecture': 'llama', 'llama.context_length': 8_192 },
  }
  const large = {
    capabilities: ['completion', 'tools', 'thinking'],
    model_info: { 'qwen3.context_length': 262_144 },
  }
  const deaf = { capabilities: ['completion'], model_info: {} }

  test('its window, of which at most 65,536 tokens are asked for, and whether it can think', async () => {
    const { url, shown } = await ollama({ small, large, old: {} })
    const models = await listed({ OLLAMA_HOST: url })
    expect(models.get('ollama/small')).toMatchObject({ contextWindow: 8_192, efforts: [] })
    expect(models.get('ollama/large')).toMatchObject({ contextWindow: 65_536, efforts: null })
    expect(models.get('ollama/old')).toMatchObject({ contextWindow: 65_536, problem: null })
    expect(shown.toSorted()).toEqual(['large', 'old', 'small'])
  })

  test('a model without tools, or one that is not there, cannot be called', async () => {
    const { url } = await ollama({ deaf })
    const { about } = createCatalogue({ OLLAMA_HOST: url })
    expect((await about('ollama/deaf')).problem).toContain('cannot call tools')
    expect((await about('ollama/gone')).problem).toContain('`ollama pull gone`')
  })

  test('a model is not refused because Ollama does not answer now', async () => {
    const { about } = createCatalogue({ OLLAMA_HOST: NOWHERE })
    expect((await about('ollama/qwen3')).problem).toBeNull()
  })

  test('a request asks for that window', async () => {
    const { url } = await ollama({ small })
    const budget = await createModels({ OLLAMA_HOST: url }).contextBudget('ollama/small')
    expect(budget).toBe(Math.floor(8_192 * 0.85))
  })
})
