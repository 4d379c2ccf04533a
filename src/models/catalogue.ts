import * as z from 'zod'
import type { Effort } from '../domain/run-config.ts'
import { factsFor, LISTED_MODELS, maxOutputTokens } from './known-models.ts'
import type { TokenPrices } from './operator-files.ts'
import { fetchUpTo } from './patient-fetch.ts'
import { contextWindow, tokenPrices } from './prices.ts'
import { keyOf, PROVIDER_NAMES, PROVIDERS, providerIn } from './providers.ts'
import {
  addressOf,
  bearerHeaders,
  type Endpoint,
  type ModelSettings,
  otherThanOpenAi,
  type Route,
  route,
  type ServedModel,
} from './routing.ts'

/** The model of a run that names none. */
export type DefaultModel = {
  readonly name: string
  /** Why it is this one, for people. */
  readonly reason: string
  /** Why it cannot be called, and what to do: the rest of a sentence about it. Null if it can be called. */
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
  /** Why it cannot be called, and what to do: the rest of a sentence about it. Null if it can be called. */
  readonly problem: string | null
}

/** What is known of the models that runs may name, without calling one. */
export type ModelCatalogue = {
  /** The model of a run that names none. */
  readonly default: DefaultModel
  about(modelName: string): Promise<ModelInfo>
  /** The models that this server knows. The operator's endpoint and Ollama are asked for theirs. */
  list(): Promise<readonly ModelInfo[]>
}

export function createCatalogue(settings: ModelSettings): ModelCatalogue {
  const chosen = defaultModel(settings)
  const sources = sourcesOf(settings)
  const discover = remembered(async () => (await Promise.all(sources.map(namesAt))).flat())
  const routeOf = askedRoutes(settings)
  const about = async (name: string): Promise<ModelInfo> => {
    const target = await routeOf(name)
    const { endpoint, problem } = target
    return {
      name,
      provider: endpoint.name,
      contextWindow: contextWindow(target),
      maxOutputTokens: maxOutputTokens(target),
      prices: tokenPrices(target),
      efforts: effortsOf(target),
      keyVariable: endpoint.keyVariable,
      keySet: endpoint.apiKey !== null,
      isDefault: name === fullName(chosen.name, settings),
      problem,
    }
  }
  return {
    default: chosen,
    about,
    list: async () => {
      // The operator's endpoint takes names of providers too, but nobody knows whether it has these models.
      const listed = LISTED_MODELS.filter((name) => route(name, settings).endpoint.vendor !== null)
      const own = settings.ownModels?.keys() ?? []
      const names = [chosen.name, ...own, ...(await discover('')), ...listed]
      const distinct = new Set(names.map((name) => fullName(name, settings)))
      return Promise.all([...distinct].map(about))
    },
  }
}

/** RETRAI_MODEL, or the default model of the one provider whose key is set, or the default of all versions before. */
export function defaultModel(settings: ModelSettings): DefaultModel {
  const { name, reason } = choose(settings)
  return { name, reason, problem: route(name, settings).problem }
}

function choose(settings: ModelSettings): Omit<DefaultModel, 'problem'> {
  const { RETRAI_MODEL: model, RETRAI_LLM_BASE_URL, OPENAI_BASE_URL } = settings
  if (model !== undefined) return { name: model, reason: 'RETRAI_MODEL is set to it' }
  const unset = { name: PROVIDERS.anthropic.defaultModel, reason: 'RETRAI_MODEL is not set' }
  // Nobody knows the models of an endpoint of the operator.
  if (RETRAI_LLM_BASE_URL !== undefined || OPENAI_BASE_URL !== undefined) return unset
  const [only, ...others] = PROVIDER_NAMES.filter((name) => keyOf(name, settings) !== undefined)
  if (only === undefined || others.length > 0) return unset
  const { defaultModel: name, key } = PROVIDERS[only]
  return name === null ? unset : { name, reason: `${key} is the only key that is set` }
}

/** A name with its provider, because a model can be named in two ways. At an endpoint of the operator, there is one way. */
function fullName(name: string, settings: ModelSettings): string {
  const { endpoint, model } = route(name, settings)
  return endpoint.vendor === null ? name : `${PROVIDERS[endpoint.vendor].prefix}/${model}`
}

function effortsOf(target: Route): readonly Effort[] | null {
  if (target.served?.capabilities?.includes('thinking') === false) return []
  return factsFor(target).efforts ?? null
}

/** A person waits for the list of models: an endpoint that does not answer in this time adds nothing to it. */
const WITHIN_MS = 1_000
const FRESH_MS = 30_000
const MAX_BYTES = 4 * 1024 * 1024
const MAX_MODELS = 500

/** An endpoint that is asked for its models, and what their names begin with here. One that is silent has none. */
type Source = Pick<Endpoint, 'baseUrl' | 'apiKey' | 'headers'> & { readonly prefix: string }

/** Returns a function that finds the endpoint of a model, and asks Ollama what it knows of that model. */
export function askedRoutes(settings: ModelSettings): (modelName: string) => Promise<Route> {
  const show = remembered((modelName) => servedAt(route(modelName, settings)))
  return async (modelName) => {
    const target = route(modelName, settings)
    if (target.api !== 'ollama' || target.problem !== null) return target
    const served = await show(modelName)
    if (served === null) return target
    if (served === 'missing') {
      const host = URL.parse(target.endpoint.baseUrl)?.host
      const problem = `is not in Ollama on ${host}. Get it with \`ollama pull ${target.model}\`, or choose another model.`
      return { ...target, problem }
    }
    const isUsable = served.capabilities?.includes('tools') ?? true
    const problem = isUsable ? null : 'cannot call tools, and an agent needs them. Choose another.'
    return { ...target, served, problem }
  }
}

/** Keeps the answers for a while, so that many readers cause few requests. */
function remembered<T>(ask: (key: string) => Promise<T>): (key: string) => Promise<T> {
  const answers = new Map<string, { readonly answer: Promise<T>; readonly at: number }>()
  return (key) => {
    const now = performance.now()
    for (const [old, { at }] of answers) if (now - at > FRESH_MS) answers.delete(old)
    const { answer } = answers.get(key) ?? { answer: ask(key) }
    if (!answers.has(key)) answers.set(key, { answer, at: now })
    return answer
  }
}

/** The operator's endpoints and Ollama. */
function sourcesOf(settings: ModelSettings): Source[] {
  const { ownProviders, OPENAI_API_KEY = null, OLLAMA_HOST } = settings
  const { RETRAI_LLM_BASE_URL, RETRAI_LLM_API_KEY = null } = settings
  const at = (baseUrl: string, apiKey: string | null, prefix = ''): Source => ({
    baseUrl,
    apiKey,
    prefix,
    headers: {},
  })
  const named = [...(ownProviders?.values() ?? [])].flatMap((own): Source[] => {
    const { name, api, baseUrl, apiKey, headers } = own
    // Those of vendors are listed, and the other APIs have lists of another form.
    if (providerIn(`${name}/`) !== null || (api !== 'chat' && api !== 'responses')) return []
    return [{ baseUrl, apiKey, headers, prefix: `${name}/` }]
  })
  if (RETRAI_LLM_BASE_URL !== undefined) {
    return [...named, at(RETRAI_LLM_BASE_URL, RETRAI_LLM_API_KEY)]
  }
  const openai = otherThanOpenAi(settings)
  const { baseUrl, prefix } = PROVIDERS.ollama
  return [
    ...named,
    ...(openai === null ? [] : [at(openai, OPENAI_API_KEY)]),
    at(`${OLLAMA_HOST ?? baseUrl}/v1`, null, `${prefix}/`),
  ]
}

const ModelList = z.object({ data: z.array(z.object({ id: z.string().min(1) })) })

async function namesAt({ prefix, ...endpoint }: Source): Promise<string[]> {
  const answer = await ask(`${addressOf(endpoint)}/models`, { headers: bearerHeaders(endpoint) })
  const list = ModelList.safeParse(answer?.content).data?.data ?? []
  return list.slice(0, MAX_MODELS).map(({ id }) => `${prefix}${id}`)
}

const Shown = z.object({
  capabilities: z.array(z.string()).nullish(),
  model_info: z.record(z.string(), z.unknown()).nullish(),
})
const Tokens = z.int().positive()

/** Null if Ollama does not answer. */
async function servedAt({ endpoint, model }: Route): Promise<ServedModel | 'missing' | null> {
  const url = `${addressOf(endpoint)}/api/show`
  const headers = { 'content-type': 'application/json', ...bearerHeaders(endpoint) }
  const answer = await ask(url, { method: 'POST', body: JSON.stringify({ model }), headers })
  if (answer?.status === 404) return 'missing'
  const shown = Shown.safeParse(answer?.content)
  if (answer?.status !== 200 || !shown.success) return null
  const { capabilities = null, model_info } = shown.data
  const entries = Object.entries(model_info ?? {})
  const length = entries.find(([name]) => name.endsWith('.context_length'))?.[1]
  return { windowTokens: Tokens.safeParse(length).data ?? null, capabilities }
}

async function ask(url: string, init: RequestInit) {
  try {
    const signal = AbortSignal.timeout(WITHIN_MS)
    const response = await fetchUpTo(MAX_BYTES)(url, { ...init, signal })
    return { status: response.status, content: (await response.json()) as unknown }
  } catch {
    return null
  }
}
