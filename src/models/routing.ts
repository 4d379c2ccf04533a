import type { Api, OwnModel, OwnModels, OwnProvider, OwnProviders } from './operator-files.ts'
import {
  keyOf,
  PROVIDER_NAMES,
  PROVIDERS,
  type ProviderKeys,
  type ProviderName,
  providerIn,
} from './providers.ts'

/** The endpoints of models and their keys, as `src/server/settings.ts` reads and checks them. */
export type ModelSettings = ProviderKeys & {
  /** The model of runs that name none. */
  readonly RETRAI_MODEL?: string | undefined
  /** An endpoint for every model, whatever its name. */
  readonly RETRAI_LLM_BASE_URL?: string | undefined
  readonly RETRAI_LLM_API_KEY?: string | undefined
  readonly OPENAI_BASE_URL?: string | undefined
  readonly OLLAMA_HOST?: string | undefined
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

/** The address of an endpoint, for a path after it. */
export const addressOf = ({ baseUrl }: Pick<Endpoint, 'baseUrl'>): string =>
  baseUrl.replace(/\/+$/, '')

/** What a request to an endpoint has in its head, if the key goes as a bearer token. */
export const bearerHeaders = ({
  apiKey,
  own,
}: Pick<Endpoint, 'apiKey' | 'own'>): Readonly<Record<string, string>> => ({
  ...(apiKey === null ? {} : { authorization: `Bearer ${apiKey}` }),
  ...own?.headers,
})

/** The name of the provider of an endpoint, as it is recorded. */
export const providerName = ({ provider, own }: Omit<Endpoint, 'baseUrl' | 'apiKey'>): string =>
  provider === 'custom' ? (own?.name ?? provider) : provider

/** The environment variable of an endpoint's key; null if it needs none. */
export function keyVariable({
  provider,
  own,
}: Omit<Endpoint, 'baseUrl' | 'apiKey'>): string | null {
  if (own?.keyVariable != null) return own.keyVariable
  if (provider !== 'custom') return PROVIDERS[provider].key
  return own === undefined ? 'RETRAI_LLM_API_KEY' : null
}

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
  const own = ownFacts(target, settings.ownModels ?? new Map())
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
  const { RETRAI_LLM_BASE_URL, RETRAI_LLM_API_KEY: apiKey = null, ownProviders } = settings
  const [prefix = ''] = modelName.split('/', 1)
  const named = providerIn(modelName)
  const own = modelName.includes('/') ? ownProviders?.get(prefix) : undefined
  if (own !== undefined && named === null) {
    const endpoint = { provider: 'custom', baseUrl: own.baseUrl, apiKey: own.apiKey, own } as const
    return routeTo(endpoint, modelName.slice(prefix.length + 1))
  }
  if (own === undefined && RETRAI_LLM_BASE_URL !== undefined) {
    return routeTo({ provider: 'custom', baseUrl: RETRAI_LLM_BASE_URL, apiKey }, modelName)
  }
  if (modelName.startsWith('claude-')) return toProvider('anthropic', modelName, settings)
  if (!modelName.includes('/')) {
    const name = modelName.startsWith('gemini') ? 'google' : 'openai'
    return toProvider(name, modelName, settings)
  }
  const { OPENAI_BASE_URL: baseUrl } = settings
  const takesAll =
    !ownProviders?.has('openai') &&
    baseUrl !== undefined &&
    isOwnEndpoint({ provider: 'openai', baseUrl })
  if (own === undefined && takesAll && !isSet(named?.name, settings)) {
    return toProvider('openai', modelName, settings)
  }
  if (named !== null) return toProvider(named.name, named.model, settings)
  const prefixes = PROVIDER_NAMES.map((name) => `${PROVIDERS[name].prefix}/…`).join(', ')
  const problem = `names a provider that this server does not know. Begin it with one of ${prefixes}, name one in the file of RETRAI_PROVIDERS, or set OPENAI_BASE_URL or RETRAI_LLM_BASE_URL to the address of an OpenAI-compatible endpoint that has this model.`
  return { ...toProvider('openai', modelName, settings), problem }
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

/** A vendor, at its own address or at the one that RETRAI_PROVIDERS has in place of that. */
function toProvider(provider: ProviderName, model: string, settings: ModelSettings): Route {
  const key = keyOf(provider, settings) ?? null
  const own = settings.ownProviders?.get(PROVIDERS[provider].prefix)
  if (own !== undefined) {
    const apiKey = own.keyVariable === null ? key : own.apiKey
    return routeTo({ provider, baseUrl: own.baseUrl, apiKey, own }, model)
  }
  const set = { openai: settings.OPENAI_BASE_URL, ollama: settings.OLLAMA_HOST }
  const address = provider === 'openai' || provider === 'ollama' ? set[provider] : undefined
  return routeTo({ provider, baseUrl: address ?? PROVIDERS[provider].baseUrl, apiKey: key }, model)
}

function routeTo(endpoint: Endpoint, model: string): Route {
  return { endpoint, model, api: apiOf(endpoint), problem: problemWith(endpoint, model) }
}

/** The API that an endpoint speaks best. Every endpoint that is not known speaks chat completions. */
function apiOf(endpoint: Endpoint): Api {
  const { own, provider } = endpoint
  if (own !== undefined) return own.api
  return provider === 'custom' || isOwnEndpoint(endpoint) ? 'chat' : PROVIDERS[provider].api
}

function problemWith(endpoint: Endpoint, model: string): string | null {
  const { provider, apiKey, own } = endpoint
  // A gateway may know its clients by a header, and have the key of the vendor itself.
  const needsKey = own === undefined ? provider !== 'custom' : own.keyVariable !== null
  const variable = needsKey ? keyVariable(endpoint) : null
  if (variable !== null && apiKey === null) {
    return `needs ${variable}, which is not set. Set it in the server's environment and restart the server, or choose another model.`
  }
  if (model.trim() !== '') return null
  return 'names no model. Write the model after the provider, as in openai/gpt-5.2.'
}
