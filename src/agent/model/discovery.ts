import * as z from 'zod'
import { patientFetch } from './patient-fetch.ts'
import type { OwnProvider } from './provider-file.ts'
import { PROVIDERS, providerIn } from './providers.ts'
import {
  isOwnEndpoint,
  type ModelSettings,
  type Route,
  route,
  type ServedModel,
} from './routing.ts'

/** A person waits for the list of models: an endpoint that does not answer in this time adds nothing to it. */
const WITHIN_MS = 1_000
const FRESH_MS = 30_000
const MAX_BYTES = 4 * 1024 * 1024
const MAX_MODELS = 500

type Source = {
  readonly url: string
  readonly apiKey: string | null | undefined
  readonly prefix: string
  readonly own?: OwnProvider
}

/** Makes a function that asks the operator's endpoint and Ollama for their models. One that is silent has none. */
export function discoverModels(settings: ModelSettings): () => Promise<readonly string[]> {
  const sources = sourcesOf(settings)
  const ask = async () => (await Promise.all(sources.map(namesAt))).flat()
  const names = remembered(ask)
  return () => names('')
}

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

function sourcesOf(settings: ModelSettings): Source[] {
  const { llmBaseUrl, llmApiKey, openaiBaseUrl, openaiApiKey, ollamaUrl, ownProviders } = settings
  const named = [...(ownProviders?.values() ?? [])].flatMap((entry): Source[] => {
    const { name, api, baseUrl: url, apiKey } = entry
    // Those of vendors are listed, and the other APIs have lists of another form.
    if (providerIn(`${name}/`) !== null || (api !== 'chat' && api !== 'responses')) return []
    return [{ url, apiKey, prefix: `${name}/`, own: entry }]
  })
  if (llmBaseUrl !== undefined)
    return [...named, { url: llmBaseUrl, apiKey: llmApiKey, prefix: '' }]
  const ollama = { url: `${ollamaUrl ?? PROVIDERS.ollama.baseUrl}/v1`, apiKey: undefined }
  const own =
    openaiBaseUrl !== undefined && isOwnEndpoint({ provider: 'openai', baseUrl: openaiBaseUrl })
      ? [{ url: openaiBaseUrl, apiKey: openaiApiKey, prefix: '' }]
      : []
  return [...named, ...own, { ...ollama, prefix: `${PROVIDERS.ollama.prefix}/` }]
}

const ModelList = z.object({ data: z.array(z.object({ id: z.string().min(1) })) })

async function namesAt({ url, apiKey, prefix, own }: Source): Promise<string[]> {
  const key: Record<string, string> = apiKey ? { authorization: `Bearer ${apiKey}` } : {}
  const headers = { ...key, ...own?.headers }
  const answer = await ask(`${url.replace(/\/+$/, '')}/models`, { headers })
  const list = ModelList.safeParse(answer?.content).data?.data ?? []
  return list.slice(0, MAX_MODELS).map(({ id }) => `${prefix}${id}`)
}

const Shown = z.object({
  capabilities: z.array(z.string()).nullish(),
  model_info: z.record(z.string(), z.unknown()).nullish(),
})

/** Null if Ollama does not answer. */
async function servedAt({ endpoint, model }: Route): Promise<ServedModel | 'missing' | null> {
  const url = `${endpoint.baseUrl.replace(/\/+$/, '')}/api/show`
  const { apiKey, own } = endpoint
  const key: Record<string, string> = apiKey ? { authorization: `Bearer ${apiKey}` } : {}
  const headers = { 'content-type': 'application/json', ...key, ...own?.headers }
  const answer = await ask(url, { method: 'POST', body: JSON.stringify({ model }), headers })
  if (answer?.status === 404) return 'missing'
  const shown = Shown.safeParse(answer?.content)
  if (answer?.status !== 200 || !shown.success) return null
  const { capabilities = null, model_info } = shown.data
  const entries = Object.entries(model_info ?? {})
  const length = entries.find(([name]) => name.endsWith('.context_length'))?.[1]
  return { windowTokens: Tokens.safeParse(length).data ?? null, capabilities }
}
const Tokens = z.int().positive()

type Answer = { readonly status: number; readonly content: unknown }

async function ask(url: string, init: RequestInit): Promise<Answer | null> {
  try {
    const signal = AbortSignal.timeout(WITHIN_MS)
    const response = await patientFetch(url, { ...init, signal })
    return { status: response.status, content: JSON.parse(await textUpTo(response, MAX_BYTES)) }
  } catch {
    return null
  }
}

/** @throws RangeError if the body is longer */
async function textUpTo({ body }: Response, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of body ?? []) {
    bytes += chunk.byteLength
    if (bytes > maxBytes) throw new RangeError('the answer is too long')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
