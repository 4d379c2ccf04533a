import { describe, expect, test } from 'vitest'
import { defaultModel } from '../../src/models/catalogue.ts'
import { PROVIDER_NAMES, PROVIDERS } from '../../src/models/providers.ts'
import { type ModelSettings, route } from '../../src/models/routing.ts'

const keys: ModelSettings = {
  ANTHROPIC_API_KEY: 'a',
  GEMINI_API_KEY: 'g',
  OPENAI_API_KEY: 'o',
  XAI_API_KEY: 'x',
  DEEPSEEK_API_KEY: 'd',
  GROQ_API_KEY: 'q',
  MISTRAL_API_KEY: 'm',
  MOONSHOT_API_KEY: 'k',
  ZAI_API_KEY: 'z',
  DASHSCOPE_API_KEY: 's',
  OPENROUTER_API_KEY: 'r',
}

describe('a name of a model', () => {
  test.each([
    ['claude-sonnet-4-6', 'api.anthropic.com', 'a', 'claude-sonnet-4-6'],
    ['gemini-2.5-pro', 'generativelanguage.googleapis.com', 'g', 'gemini-2.5-pro'],
    ['gpt-5', 'api.openai.com', 'o', 'gpt-5'],
    ['my-claude-like', 'api.openai.com', 'o', 'my-claude-like'],
    ['anthropic/claude-opus-5-5', 'api.anthropic.com', 'a', 'claude-opus-5-5'],
    ['gemini/gemini-3.8-flash', 'generativelanguage.googleapis.com', 'g', 'gemini-3.8-flash'],
    ['openai/gpt-5.2', 'api.openai.com', 'o', 'gpt-5.2'],
    ['xai/grok-4.5', 'api.x.ai', 'x', 'grok-4.5'],
    ['deepseek/deepseek-v4-pro', 'api.deepseek.com', 'd', 'deepseek-v4-pro'],
    ['groq/openai/gpt-oss-120b', 'api.groq.com', 'q', 'openai/gpt-oss-120b'],
    ['mistral/devstral-2512', 'api.mistral.ai', 'm', 'devstral-2512'],
    ['moonshot/kimi-k3', 'api.moonshot.ai', 'k', 'kimi-k3'],
    ['zai/glm-5.3', 'api.z.ai', 'z', 'glm-5.3'],
    ['dashscope/qwen3.8-max', 'dashscope-intl.aliyuncs.com', 's', 'qwen3.8-max'],
    ['openrouter/z-ai/glm-5.3', 'openrouter.ai', 'r', 'z-ai/glm-5.3'],
    ['ollama/qwen3:8b', '127.0.0.1:11434', null, 'qwen3:8b'],
    ['ollama/hf.co/user/model', '127.0.0.1:11434', null, 'hf.co/user/model'],
  ])('%s is the model %4$s at %2$s', (name, host, apiKey, model) => {
    const target = route(name, keys)
    expect(target).toMatchObject({ endpoint: { apiKey }, model, problem: null })
    expect(new URL(target.endpoint.baseUrl).host).toBe(host)
  })

  test('without a provider is of OPENAI_BASE_URL if that is set', () => {
    const target = route('gpt-5', { OPENAI_BASE_URL: 'http://127.0.0.1:9/v1' })
    expect(target.endpoint.baseUrl).toBe('http://127.0.0.1:9/v1')
    expect(target.problem).toContain('needs OPENAI_API_KEY')
  })

  test.each(['claude-sonnet-4-6', 'gemini-2.5-pro', 'ollama/qwen3:8b', 'gpt-5'])(
    '%s is sent as it is to the one endpoint that takes all',
    (model) => {
      const one = { ...keys, RETRAI_LLM_BASE_URL: 'http://127.0.0.1:9/v1' }
      const endpoint = { name: 'custom', baseUrl: one.RETRAI_LLM_BASE_URL, apiKey: null }
      expect(route(model, one)).toMatchObject({ endpoint, model, api: 'chat', problem: null })
      expect(route(model, { ...one, RETRAI_LLM_API_KEY: 'c' }).endpoint.apiKey).toBe('c')
    },
  )

  test('that begins with ollama/ is of the configured address', () => {
    const { endpoint } = route('ollama/x', { OLLAMA_HOST: 'http://box:1234/v1' })
    expect(endpoint.baseUrl).toBe('http://box:1234/v1')
  })

  test('whose provider has no key names the variable', () => {
    expect(route('deepseek/deepseek-v4-pro', {}).problem).toContain(
      'needs DEEPSEEK_API_KEY, which is not set. Set it in',
    )
    expect(route('gemini-2.5-pro', {}).problem).toContain('needs GEMINI_API_KEY')
    expect(route('ollama/qwen3:8b', {}).problem).toBeNull()
  })

  test('of an unknown provider is refused, with those that are known, and so is a provider alone', () => {
    expect(route('meta-llama/llama-4', keys).problem).toMatch(
      /^names a provider that this server does not know. Begin it with one of anthropic\/…, gemini/,
    )
    expect(route('openai/', keys).problem).toMatch(/^names no model/)
  })

  test('an OPENAI_BASE_URL of the user takes names with slashes, as before', () => {
    const own = { OPENAI_BASE_URL: 'http://127.0.0.1:9/v1', OPENAI_API_KEY: 'o', GROQ_API_KEY: 'q' }
    for (const model of ['meta-llama/llama-4', 'openai/gpt-oss-120b', 'anthropic/claude-opus-5']) {
      const target = route(model, own)
      expect(target).toMatchObject({
        endpoint: { baseUrl: own.OPENAI_BASE_URL },
        model,
        problem: null,
      })
    }
    expect(route('groq/openai/gpt-oss-120b', own).endpoint.name).toBe('groq')
    expect(route('ollama/qwen3', own).endpoint.name).toBe('ollama')
  })

  test("OpenAI's own address in OPENAI_BASE_URL changes nothing", () => {
    const settings = { ...keys, OPENAI_BASE_URL: 'https://api.openai.com/v1' }
    expect(route('openai/gpt-5.2', settings).model).toBe('gpt-5.2')
  })
})

describe('the model of a run that names none', () => {
  test('is RETRAI_MODEL', () => {
    const settings = { RETRAI_MODEL: 'xai/grok-4.5', OPENAI_API_KEY: 'o', XAI_API_KEY: 'x' }
    expect(defaultModel(settings)).toEqual({
      name: 'xai/grok-4.5',
      reason: 'RETRAI_MODEL is set to it',
      problem: null,
    })
  })

  test.each([
    [{ ANTHROPIC_API_KEY: 'a' }, 'claude-sonnet-4-6'],
    [{ GEMINI_API_KEY: 'g' }, 'gemini/gemini-2.5-pro'],
    [{ DEEPSEEK_API_KEY: 'd' }, 'deepseek/deepseek-v4-pro'],
  ])('belongs to the only provider whose key is set: %j', (settings, name) => {
    const chosen = defaultModel(settings)
    expect(chosen).toMatchObject({ name, problem: null })
    expect(chosen.reason).toMatch(/_API_KEY is the only key that is set$/)
  })

  test.each([
    [{}, true],
    [{ GEMINI_API_KEY: 'g', OPENAI_API_KEY: 'o' }, true],
    [{ ANTHROPIC_API_KEY: 'a', OPENAI_API_KEY: 'o' }, false],
    [{ OPENAI_API_KEY: 'o', OPENAI_BASE_URL: 'http://127.0.0.1:9/v1' }, true],
    [{ RETRAI_LLM_BASE_URL: 'http://127.0.0.1:9/v1' }, false],
  ])('is otherwise the default of earlier versions: %j', (settings, isRefused) => {
    const chosen = defaultModel(settings)
    expect(chosen.name).toBe('claude-sonnet-4-6')
    expect(chosen.problem !== null).toBe(isRefused)
  })

  test('can be called at its provider', () => {
    for (const name of PROVIDER_NAMES) {
      const { defaultModel: model, key } = PROVIDERS[name]
      if (model === null || key === null) continue
      const target = route(model, { [key]: 'k' })
      expect([target.endpoint.name, target.problem]).toEqual([name, null])
    }
  })
})
