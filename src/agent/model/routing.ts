import type { OwnModel, OwnModels } from './price-file.ts'
import type { Api, OwnProvider, OwnProviders } from './provider-file.ts'
import {
  keyOf,
  PROVIDER_NAMES,
  PROVIDERS,
  type ProviderKeys,
  type ProviderName,
  providerIn,
} from './providers.ts'

/** The endpoints of models and their keys. `src/server/settings.ts` reads and checks both. */
export type ModelSettings = ProviderKeys & {
  /** The model of runs that name none. */
  readonly model?: string | undefined
  /** An endpoint for every model, whatever its name. */
  readonly llmBaseUrl?: string | undefined
  readonly llmApiKey?: string | undefined
  readonly openaiBaseUrl?: string | undefined
  readonly ollamaUrl?: string | undefined
  /** What RETRAI_PRICES has about models. */
  readonly ownModels?: OwnModels | undefined
  /** What RETRAI_PROVIDERS has, by name. */
  readonly ownProviders?: OwnProviders | undefined
}

export type { Api }

/** The address that a model is called at. */
export type Endpoint = {
  readonly provider: 'custom' | ProviderName
  readonly baseUrl: string
  readonly apiKey: string | null
  /** Its entry in RETRAI_PROVIDERS. If the provider is not `custom`, its models are those of that vendor. */
  readonly own?: OwnProvider
}

/** The name of the provider of an endpoint, as it is recorded. */
export const providerName = ({ provider, own }: Omit<Endpoint, 'baseUrl' | 'apiKey'>): string =>
  provider === 'custom' ? (own?.name ?? provider) : provider

/** The environment variable of an endpoint's key; null if it needs none. */
export function keyVariable({
  provider,
  own,
}: Omit<Endpoint, 'baseUrl' | 'apiKey'>): string | null {
  if (own?.keyVariable != null) return own.keyVariable
  if (provider !== 'custom') return PROVIDERS[provider].key?.variable ?? null
  return own === undefined ? 'RETRAI_LLM_API_KEY' : null
}

/** The keys of all endpoints. */
export const keysOf = (settings: ModelSettings): string[] =>
  [
    settings.llmApiKey,
    ...PROVIDER_NAMES.map((name) => keyOf(name, settings)),
    ...[...(settings.ownProviders?.values() ?? [])].map(({ apiKey }) => apiKey ?? undefined),
  ].filter((key) => key !== undefined)

/** What Ollama says about a model. Null is not known. */
export type ServedModel = {
  readonly windowTokens: number | null
  /** What it can do: `tools`, `thinking` and others. */
  readonly capabilities: readonly string[] | null
}

export type Route = {
  readonly endpoint: Endpoint
  /** The model's name at this endpoint. */
  readonly model: string
  readonly api: Api
  /** What RETRAI_PRICES has about it. */
  readonly own?: OwnModel | undefined
  /** What Ollama says about it, if it was asked. */
  readonly served?: ServedModel
  /** Why the model cannot be called with these settings, and what to do; null if it can be called. */
  readonly problem: string | null
}

/**
 * Finds the endpoint of a model by its name: `provider/model`, or one of the names without a provider, which are those
 * of Anthropic, Google and OpenAI. RETRAI_LLM_BASE_URL takes every name. OPENAI_BASE_URL takes each name that belongs
 * to no other provider whose key is set, with its slashes, because models of operators' endpoints often have them.
 */
export function route(modelName: string, settings: ModelSettings): Route {
  const target = routeByName(modelName, settings)
  const own = settings.ownModels === undefined ? undefined : ownFacts(target, settings.ownModels)
  return own === undefined ? target : { ...target, own }
}

/** What RETRAI_PRICES has about a model, under its name with its provider or without. */
function ownFacts({ endpoint, model }: Route, own: OwnModels): OwnModel | undefined {
  const { provider } = endpoint
  const named = endpoint.own && own.get(`${endpoint.own.name}/${model}`)
  if (provider === 'custom' || isOwnEndpoint(endpoint)) return named ?? own.get(model)
  const found = own.get(`${PROVIDERS[provider].prefix}/${model}`)
  return found ?? (model.includes('/') ? undefined : own.get(model))
}

function routeByName(modelName: string, settings: ModelSettings): Route {
  const { llmBaseUrl, llmApiKey = null, ownProviders } = settings
  const named = providerIn(modelName)
  const own = ownProviders?.get(modelName.slice(0, Math.max(0, modelName.indexOf('/'))))
  if (own !== undefined) {
    const model = modelName.slice(own.name.length + 1)
    return named === null ? toOwn(own, model) : toProvider(named.name, model, settings)
  }
  if (llmBaseUrl !== undefined) {
    return routeTo({ provider: 'custom', baseUrl: llmBaseUrl, apiKey: llmApiKey }, modelName)
  }
  if (modelName.startsWith('claude-')) return toProvider('anthropic', modelName, settings)
  if (!modelName.includes('/')) {
    const name = modelName.startsWith('gemini') ? 'google' : 'openai'
    return toProvider(name, modelName, settings)
  }
  const { openaiBaseUrl: baseUrl } = settings
  const takesAll =
    !ownProviders?.has('openai') &&
    baseUrl !== undefined &&
    isOwnEndpoint({ provider: 'openai', baseUrl })
  if (takesAll && !isSet(named?.name, settings)) {
    return toProvider('openai', modelName, settings)
  }
  if (named === null) return unknownProvider(modelName, settings)
  return toProvider(named.name, named.model, settings)
}

const OPENAI_HOST = new URL(PROVIDERS.openai.baseUrl).host

/** Whether an endpoint is not a known provider's: RETRAI_LLM_BASE_URL, or an OPENAI_BASE_URL that is not OpenAI's. */
export const isOwnEndpoint = ({ provider, baseUrl, own }: Omit<Endpoint, 'apiKey'>): boolean =>
  provider === 'custom' ||
  (provider === 'openai' && own === undefined && URL.parse(baseUrl)?.host !== OPENAI_HOST)

/** Whether a provider can be called. At an operator's endpoint, the key of OpenAI is the key of that endpoint. */
function isSet(name: ProviderName | undefined, settings: ModelSettings): boolean {
  if (name === undefined || name === 'openai') return false
  return PROVIDERS[name].key === null || keyOf(name, settings) !== undefined
}

function toProvider(name: ProviderName, model: string, settings: ModelSettings): Route {
  const vendorKey = keyOf(name, settings) ?? null
  const own = settings.ownProviders?.get(PROVIDERS[name].prefix)
  if (own !== undefined) {
    return toOwn({ ...own, apiKey: own.keyVariable === null ? vendorKey : own.apiKey }, model, name)
  }
  return withKey({ provider: name, baseUrl: baseUrlOf(name, settings), apiKey: vendorKey }, model)
}

/** @param provider the vendor whose address the entry replaces */
function toOwn(own: OwnProvider, model: string, provider: Endpoint['provider'] = 'custom'): Route {
  const { baseUrl, apiKey } = own
  const endpoint = { provider, baseUrl, apiKey, own }
  // A gateway may know its clients by a header, and have the key of the vendor itself.
  return own.keyVariable === null ? routeTo(endpoint, model) : withKey(endpoint, model)
}

function withKey(endpoint: Endpoint, model: string): Route {
  const target = routeTo(endpoint, model)
  const variable = keyVariable(endpoint)
  if (variable === null || endpoint.apiKey !== null) return target
  const problem = `needs ${variable}, which is not set. Set it in the server's environment and restart the server, or choose another model.`
  return { ...target, problem }
}

function baseUrlOf(name: ProviderName, { openaiBaseUrl, ollamaUrl }: ModelSettings): string {
  const own = { openai: openaiBaseUrl, ollama: ollamaUrl }
  return (name === 'openai' || name === 'ollama' ? own[name] : undefined) ?? PROVIDERS[name].baseUrl
}

function unknownProvider(modelName: string, settings: ModelSettings): Route {
  const prefixes = PROVIDER_NAMES.map((name) => `${PROVIDERS[name].prefix}/…`).join(', ')
  const problem = `names a provider that this server does not know. Begin it with one of ${prefixes}, name one in the file of RETRAI_PROVIDERS, or set OPENAI_BASE_URL or RETRAI_LLM_BASE_URL to the address of an OpenAI-compatible endpoint that has this model.`
  return { ...toProvider('openai', modelName, settings), problem }
}

function routeTo(endpoint: Endpoint, model: string): Route {
  const problem =
    model.trim() === ''
      ? 'names no model. Write the model after the provider, as in openai/gpt-5.2.'
      : null
  return { endpoint, model, api: apiOf(endpoint), problem }
}

/** The API that an endpoint speaks best. Every endpoint that is not known speaks chat completions. */
function apiOf(endpoint: Endpoint): Api {
  if (endpoint.own !== undefined) return endpoint.own.api
  switch (endpoint.provider) {
    case 'anthropic':
      return 'messages'
    case 'openai':
      return isOwnEndpoint(endpoint) ? 'chat' : 'responses'
    case 'xai':
      return 'responses'
    case 'google':
      return 'gemini'
    case 'ollama':
      return 'ollama'
    default:
      return 'chat'
  }
}
