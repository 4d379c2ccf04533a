import * as z from 'zod'
import { PROVIDERS } from './providers.ts'
import { isOwnEndpoint, type ModelSettings } from './routing.ts'

/** A list of models is for people who choose one: it must come soon, or not at all. */
const WITHIN_MS = 1_000
const FRESH_MS = 30_000
const MAX_BYTES = 4 * 1024 * 1024
const MAX_MODELS = 500

const ModelList = z.object({ data: z.array(z.object({ id: z.string().min(1) })) })

type Source = { readonly url: string; readonly apiKey: string | undefined; readonly prefix: string }

/**
 * Returns a function that asks the own endpoint and Ollama which models they have. An endpoint that does not answer has
 * none. The answers are kept for a while, so that many readers cause few requests.
 */
export function discoverModels(settings: ModelSettings): () => Promise<readonly string[]> {
  const sources = sourcesOf(settings)
  let latest: Promise<readonly string[]> | null = null
  let askedAt = 0
  return () => {
    const now = performance.now()
    if (latest === null || now - askedAt > FRESH_MS) {
      askedAt = now
      latest = Promise.all(sources.map(namesAt)).then((names) => names.flat())
    }
    return latest
  }
}

function sourcesOf(settings: ModelSettings): Source[] {
  const { llmBaseUrl, llmApiKey, openaiBaseUrl, openaiApiKey, ollamaUrl } = settings
  if (llmBaseUrl !== undefined) return [{ url: llmBaseUrl, apiKey: llmApiKey, prefix: '' }]
  const ollama = { url: `${ollamaUrl ?? PROVIDERS.ollama.baseUrl}/v1`, apiKey: undefined }
  const own =
    openaiBaseUrl !== undefined && isOwnEndpoint({ provider: 'openai', baseUrl: openaiBaseUrl })
      ? [{ url: openaiBaseUrl, apiKey: openaiApiKey, prefix: '' }]
      : []
  return [...own, { ...ollama, prefix: `${PROVIDERS.ollama.prefix}/` }]
}

async function namesAt({ url, apiKey, prefix }: Source): Promise<string[]> {
  try {
    const response = await fetch(`${url.replace(/\/+$/, '')}/models`, {
      headers: apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` },
      redirect: 'error',
      signal: AbortSignal.timeout(WITHIN_MS),
    })
    const list = ModelList.parse(JSON.parse(await textUpTo(response, MAX_BYTES)))
    return list.data.slice(0, MAX_MODELS).map(({ id }) => `${prefix}${id}`)
  } catch {
    return []
  }
}

/** @throws RangeError if the body is longer */
async function textUpTo({ body }: Response, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of body ?? []) {
    bytes += chunk.byteLength
    if (bytes > maxBytes) throw new RangeError('the list is too long')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
