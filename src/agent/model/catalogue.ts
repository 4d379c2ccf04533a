import type { Effort } from '../../domain/run-config.ts'
import { askedRoutes, discoverModels } from './discovery.ts'
import { factsFor, LISTED_MODELS, maxOutputTokens } from './known-models.ts'
import type { TokenPrices } from './price-file.ts'
import { keyOf, PROVIDER_NAMES, PROVIDERS } from './providers.ts'
import {
  isOwnEndpoint,
  keyVariable,
  type ModelSettings,
  providerName,
  type Route,
  route,
} from './routing.ts'

/** The model of a run that names none. */
export type DefaultModel = {
  readonly name: string
  /** Why it is this one, for people. */
  readonly reason: string
  /** Why it cannot be called, and what to do; null if it can be called. */
  readonly problem: string | null
}

/** What is known of a model. Null is not known. */
export type ModelInfo = {
  readonly name: string
  readonly provider: string
  readonly contextWindow: number | null
  readonly maxOutputTokens: number | null
  readonly prices: TokenPrices | null
  readonly efforts: readonly Effort[] | null
  /** The environment variable of its key; null if it needs none. */
  readonly keyVariable: string | null
  readonly keySet: boolean
  readonly isDefault: boolean
  /** Why it cannot be called, and what to do; null if it can be called. */
  readonly problem: string | null
}

/** What is known of the models that runs may name, without calling one. */
export type ModelCatalogue = {
  /** The model of a run that names none. */
  readonly default: DefaultModel
  /** Why a model cannot be called, and what to do: the rest of a sentence about it. Null if it can be called. */
  problem(modelName: string): Promise<string | null>
  hasPrice(modelName: string): Promise<boolean>
  /** The efforts that a model accepts; null if that is not known. */
  efforts(modelName: string): Promise<readonly Effort[] | null>
  /** The most tokens of a reply of this model; null if that is not known. */
  maxOutputTokens(modelName: string): Promise<number | null>
  /** The models that this server knows. The operator's endpoint and Ollama are asked for theirs. */
  list(): Promise<readonly ModelInfo[]>
}

export function createCatalogue(settings: ModelSettings): ModelCatalogue {
  const chosen = defaultModel(settings)
  const { ownModels } = settings
  const discover = discoverModels(settings)
  const routeOf = askedRoutes(settings)
  /** The price list is loaded with the first question about a price. If that fails, the next one tries again. */
  const prices = () => import('./prices.ts')
  return {
    default: chosen,
    problem: async (modelName) => (await routeOf(modelName)).problem,
    hasPrice: async (modelName) =>
      (await prices()).tokenPrices(route(modelName, settings)) !== null,
    efforts: async (modelName) => effortsOf(await routeOf(modelName)),
    maxOutputTokens: async (modelName) => maxOutputTokens(route(modelName, settings)),
    list: async () => {
      const known = await prices()
      const infoOf = async (name: string): Promise<ModelInfo> => {
        const target = await routeOf(name)
        const { endpoint, problem } = target
        return {
          name,
          provider: providerName(endpoint),
          contextWindow: known.contextWindow(target),
          maxOutputTokens: maxOutputTokens(target),
          prices: known.tokenPrices(target),
          efforts: effortsOf(target),
          keyVariable: keyVariable(endpoint),
          keySet: endpoint.apiKey !== null,
          isDefault: name === fullName(chosen.name, settings),
          problem: problem === null ? null : `The model "${name}" ${problem}`,
        }
      }
      // The operator's endpoint takes names of providers too, but nobody knows whether it has these models.
      const listed = LISTED_MODELS.filter((name) => !isOwnEndpoint(route(name, settings).endpoint))
      const names = [chosen.name, ...(ownModels?.keys() ?? []), ...(await discover()), ...listed]
      const distinct = new Set(names.map((name) => fullName(name, settings)))
      return Promise.all([...distinct].map(infoOf))
    },
  }
}

/** RETRAI_MODEL, or the default model of the one provider whose key is set, or the default of all versions before. */
export function defaultModel(settings: ModelSettings): DefaultModel {
  const { name, reason } = choose(settings)
  return { name, reason, problem: route(name, settings).problem }
}

const FALLBACK = PROVIDERS.anthropic.defaultModel

function choose(settings: ModelSettings): Omit<DefaultModel, 'problem'> {
  const { model, llmBaseUrl, openaiBaseUrl } = settings
  if (model !== undefined) return { name: model, reason: 'RETRAI_MODEL is set to it' }
  const unset = { name: FALLBACK, reason: 'RETRAI_MODEL is not set' }
  // Nobody knows the models of an endpoint of the operator.
  if (llmBaseUrl !== undefined || openaiBaseUrl !== undefined) return unset
  const [only, ...others] = PROVIDER_NAMES.filter((name) => keyOf(name, settings) !== undefined)
  if (only === undefined || others.length > 0) return unset
  const { defaultModel: name, key } = PROVIDERS[only]
  if (name === null) return unset
  return { name, reason: `${key.variable} is the only key that is set` }
}

/** A name with its provider, because a model can be named in two ways. At an endpoint of the operator, there is one way. */
function fullName(name: string, settings: ModelSettings): string {
  const { endpoint, model } = route(name, settings)
  if (endpoint.provider === 'custom' || isOwnEndpoint(endpoint)) return name
  return `${PROVIDERS[endpoint.provider].prefix}/${model}`
}

function effortsOf(target: Route): readonly Effort[] | null {
  if (target.served?.capabilities?.includes('thinking') === false) return []
  return factsFor(target).efforts ?? null
}
