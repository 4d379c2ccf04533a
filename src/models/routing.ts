import type { Api, OwnModel, OwnModels, OwnProviders } from './operator-files.ts'
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

/** Where a model is called, and what a request to it needs. */
export type Endpoint = {
  /** The vendor whose models it serves; null: those of the operator, of which only the name is known. */
  readonly vendor: ProviderName | null
  /** The name of the provider, as it is recorded. */
  readonly name: string
  readonly baseUrl: string
  readonly apiKey: string | null
  /** The environment variable of the key; null if it needs none. */
  readonly keyVariable: string | null
  /** Those of RETRAI_PROVIDERS, which are sent beside the key. */
  readonly headers: Readonly<Record<string, string>>
}

/** The address of an endpoint, for a path after it. */
export const addressOf = ({ baseUrl }: Pick<Endpoint, 'baseUrl'>): string =>
  baseUrl.replace(/\/+$/, '')

/** What a request to an endpoint has in its head, if the key goes as a bearer token. */
export const bearerHeaders = ({
  apiKey,
  headers,
}: Pick<Endpoint, 'apiKey' | 'headers'>): Readonly<Record<string, string>> => ({
  ...(apiKey === null ? {} : { authorization: `Bearer ${apiKey}` }),
  ...headers,
})

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
  const { vendor, name } = endpoint
  if (vendor === null) return own.get(`${name}/${model}`) ?? own.get(model)
  const found = own.get(`${PROVIDERS[vendor].prefix}/${model}`)
  return found ?? (model.includes('/') ? undefined : own.get(model))
}

function routeByName(modelName: string, settings: ModelSettings): Route {
  const { RETRAI_LLM_BASE_URL, RETRAI_LLM_API_KEY: apiKey = null, ownProviders } = settings
  const [prefix = ''] = modelName.split('/', 1)
  const named = providerIn(modelName)
  const own = modelName.includes('/') ? ownProviders?.get(prefix) : undefined
  if (own !== undefined && named === null) {
    return routeTo({ vendor: null, ...own }, own.api, modelName.slice(prefix.length + 1))
  }
  if (own === undefined && RETRAI_LLM_BASE_URL !== undefined) {
    const known = { vendor: null, name: 'custom', baseUrl: RETRAI_LLM_BASE_URL, headers: {} }
    const endpoint = { ...known, apiKey, keyVariable: 'RETRAI_LLM_API_KEY' }
    return routeTo(endpoint, 'chat', modelName, false)
  }
  if (modelName.startsWith('claude-')) return toVendor('anthropic', modelName, settings)
  if (!modelName.includes('/')) {
    const name = modelName.startsWith('gemini') ? 'google' : 'openai'
    return toVendor(name, modelName, settings)
  }
  const takesAll = !ownProviders?.has('openai') && otherThanOpenAi(settings) !== null
  if (own === undefined && takesAll && !isSet(named?.name, settings)) {
    return toVendor('openai', modelName, settings)
  }
  if (named !== null) return toVendor(named.name, named.model, settings)
  const prefixes = PROVIDER_NAMES.map((name) => `${PROVIDERS[name].prefix}/…`).join(', ')
  const problem = `names a provider that this server does not know. Begin it with one of ${prefixes}, name one in the file of RETRAI_PROVIDERS, or set OPENAI_BASE_URL or RETRAI_LLM_BASE_URL to the address of an OpenAI-compatible endpoint that has this model.`
  return { ...toVendor('openai', modelName, settings), problem }
}

const OPENAI_HOST = new URL(PROVIDERS.openai.baseUrl).host

/** OPENAI_BASE_URL, if that is not the address of OpenAI: then its models are those of the operator. Null otherwise. */
export const otherThanOpenAi = ({ OPENAI_BASE_URL: url }: ModelSettings): string | null =>
  url === undefined || URL.parse(url)?.host === OPENAI_HOST ? null : url

/** Whether a provider can be called. At an operator's endpoint, the key of OpenAI is the key of that endpoint. */
function isSet(name: ProviderName | undefined, settings: ModelSettings): boolean {
  if (name === undefined || name === 'openai') return false
  return PROVIDERS[name].key === null || keyOf(name, settings) !== undefined
}

/** A vendor, at its own address or at the one that RETRAI_PROVIDERS or a variable has in place of that. */
function toVendor(vendor: ProviderName, model: string, settings: ModelSettings): Route {
  const { key, prefix, baseUrl, api } = PROVIDERS[vendor]
  const apiKey = keyOf(vendor, settings) ?? null
  const known = { vendor, name: vendor, baseUrl, apiKey, keyVariable: key, headers: {} }
  const own = settings.ownProviders?.get(prefix)
  if (own !== undefined) {
    const { keyVariable, headers } = own
    const gateway = { ...known, baseUrl: own.baseUrl, headers }
    // It may know its clients by a header, and have the key of the vendor itself.
    return keyVariable === null
      ? routeTo(gateway, own.api, model, false)
      : routeTo({ ...gateway, apiKey: own.apiKey, keyVariable }, own.api, model)
  }
  const other = vendor === 'openai' ? otherThanOpenAi(settings) : null
  if (other !== null) return routeTo({ ...known, vendor: null, baseUrl: other }, 'chat', model)
  const set = { openai: settings.OPENAI_BASE_URL, ollama: settings.OLLAMA_HOST }
  const address = vendor === 'openai' || vendor === 'ollama' ? set[vendor] : undefined
  return routeTo({ ...known, baseUrl: address ?? baseUrl }, api, model)
}

/** @param needsKey whether the model cannot be called without the key of its endpoint */
function routeTo(
  endpoint: Endpoint,
  api: Api,
  model: string,
  needsKey = endpoint.keyVariable !== null,
): Route {
  const isLacking = needsKey && endpoint.apiKey === null
  const noModel =
    model.trim() === ''
      ? 'names no model. Write the model after the provider, as in openai/gpt-5.2.'
      : null
  const problem = isLacking
    ? `needs ${endpoint.keyVariable}, which is not set. Set it in the server's environment and restart the server, or choose another model.`
    : noModel
  return { endpoint, model, api, problem }
}
