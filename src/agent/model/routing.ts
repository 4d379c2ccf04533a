import type { ModelSettings } from './settings.ts'

/** A place that speaks the OpenAI chat completions protocol. */
export type Endpoint = {
  readonly provider: 'custom' | 'anthropic' | 'google' | 'ollama' | 'openai'
  readonly baseUrl: string
  readonly apiKey: string | null
}

/** The environment variables with the keys; Ollama needs none. */
export const KEY_OF: Readonly<Record<Endpoint['provider'], string | null>> = {
  custom: 'RETRAI_LLM_API_KEY',
  anthropic: 'ANTHROPIC_API_KEY',
  google: 'GEMINI_API_KEY',
  ollama: null,
  openai: 'OPENAI_API_KEY',
}

export type Route = {
  readonly endpoint: Endpoint
  /** The model's name as this endpoint knows it. */
  readonly model: string
  /** Environment variable that has to be set first; null if the model can be called. */
  readonly missingKey: string | null
}

const ANTHROPIC_URL = 'https://api.anthropic.com/v1/'
const GOOGLE_URL = 'https://generativelanguage.googleapis.com/v1beta/openai/'
const OPENAI_URL = 'https://api.openai.com/v1'
const OLLAMA_PREFIX = 'ollama/'
const OLLAMA_PORT = '11434'

/** Finds the endpoint of a model by its name. */
export function route(modelName: string, settings: ModelSettings): Route {
  const { llmBaseUrl, llmApiKey, openaiBaseUrl } = settings
  if (llmBaseUrl !== undefined) return keyless('custom', llmBaseUrl, modelName, llmApiKey)
  if (modelName.startsWith('claude-')) {
    return keyed('anthropic', ANTHROPIC_URL, modelName, settings.anthropicApiKey)
  }
  if (modelName.startsWith('gemini')) {
    return keyed('google', GOOGLE_URL, modelName, settings.geminiApiKey)
  }
  if (modelName.startsWith(OLLAMA_PREFIX)) {
    const model = modelName.slice(OLLAMA_PREFIX.length)
    return keyless('ollama', ollamaUrl(settings.ollamaHost), model, undefined)
  }
  return keyed('openai', openaiBaseUrl ?? OPENAI_URL, modelName, settings.openaiApiKey)
}

function keyless(
  provider: Endpoint['provider'],
  baseUrl: string,
  model: string,
  apiKey: string | undefined,
): Route {
  return { endpoint: { provider, baseUrl, apiKey: apiKey ?? null }, model, missingKey: null }
}

function keyed(
  provider: Endpoint['provider'],
  baseUrl: string,
  model: string,
  apiKey: string | undefined,
): Route {
  const missingKey = apiKey === undefined ? KEY_OF[provider] : null
  return { endpoint: { provider, baseUrl, apiKey: apiKey ?? null }, model, missingKey }
}

/** Reads OLLAMA_HOST, which may be written for the server (`0.0.0.0`) as well as for its clients. */
function ollamaUrl(host = ''): string {
  const [, scheme = 'http', rest = ''] = /^(?:(https?):\/\/)?(.*)$/i.exec(host) ?? []
  const [, name = '', port, path = ''] = /^(\[[^\]]*\]|[^:/]*)(?::(\d+))?(\/.*)?$/.exec(rest) ?? []
  const address = name === '' || name === '0.0.0.0' || name === '[::]' ? '127.0.0.1' : name
  const suffix = port ?? (host.includes('://') ? '' : OLLAMA_PORT)
  return `${scheme}://${address}${suffix && `:${suffix}`}${path.replace(/\/+$/, '')}/v1`
}
