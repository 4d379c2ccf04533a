/** The endpoints of models and their keys. `src/server/settings.ts` reads and checks both. */
export type ModelSettings = {
  /** An endpoint for every model, whatever its name. */
  readonly llmBaseUrl?: string | undefined
  readonly llmApiKey?: string | undefined
  readonly anthropicApiKey?: string | undefined
  readonly geminiApiKey?: string | undefined
  readonly openaiApiKey?: string | undefined
  readonly openaiBaseUrl?: string | undefined
  readonly ollamaUrl?: string | undefined
}

/** An endpoint for the OpenAI chat completions protocol. */
export type Endpoint = {
  readonly provider: 'custom' | 'anthropic' | 'google' | 'ollama' | 'openai'
  readonly baseUrl: string
  readonly apiKey: string | null
}

/** The environment variables of the keys; Ollama needs none. */
export const KEY_OF: Readonly<Record<Endpoint['provider'], string | null>> = {
  custom: 'RETRAI_LLM_API_KEY',
  anthropic: 'ANTHROPIC_API_KEY',
  google: 'GEMINI_API_KEY',
  ollama: null,
  openai: 'OPENAI_API_KEY',
}

export type Route = {
  readonly endpoint: Endpoint
  /** The model's name at this endpoint. */
  readonly model: string
  /** The environment variable that must be set first; null if the model can be called. */
  readonly missingKey: string | null
}

const ANTHROPIC_URL = 'https://api.anthropic.com/v1/'
const GOOGLE_URL = 'https://generativelanguage.googleapis.com/v1beta/openai/'
const OPENAI_URL = 'https://api.openai.com/v1'
const OLLAMA_PREFIX = 'ollama/'
const OLLAMA_URL = 'http://127.0.0.1:11434/v1'

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
    return keyless('ollama', settings.ollamaUrl ?? OLLAMA_URL, model, undefined)
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
