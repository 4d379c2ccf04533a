import { ResultAsync } from 'neverthrow'
import { loadedOnce } from '../../lib/loaded-once.ts'
import type { Adapter } from './adapter.ts'
import type { Deadlines } from './deadline.ts'
import { askedRoutes } from './discovery.ts'
import { notLoaded } from './failures.ts'
import { imageTypes } from './known-models.ts'
import type { Models } from './model.ts'
import { type Api, keysOf, type ModelSettings } from './routing.ts'

const DEADLINES: Deadlines = {
  totalMs: 3_600_000,
  // An endpoint that does not stream is silent until its reply is whole.
  firstMs: 600_000,
  silenceMs: 300_000,
}

/** Each adapter, and with it the SDK of its provider, is loaded when a model needs it. */
const adapters = (): Readonly<Record<Api, () => Promise<Adapter>>> => ({
  chat: loadedOnce(async () => (await import('./adapters/chat.ts')).chatAdapter()),
  responses: loadedOnce(async () => (await import('./adapters/responses.ts')).responsesAdapter()),
  messages: loadedOnce(async () => (await import('./adapters/messages.ts')).messagesAdapter()),
  gemini: loadedOnce(async () => (await import('./adapters/gemini.ts')).geminiAdapter()),
  ollama: loadedOnce(async () => (await import('./adapters/ollama.ts')).ollamaAdapter()),
})

/**
 * The models of these settings. Adapters and prices are loaded with the first call, so showing runs needs neither.
 * @param options.timeoutMs how long one reply may take
 */
export function createModels(
  settings: ModelSettings,
  { timeoutMs = DEADLINES.totalMs }: { readonly timeoutMs?: number } = {},
): Models {
  const deadlines = { ...DEADLINES, totalMs: timeoutMs }
  const routeOf = askedRoutes(settings)
  const own = adapters()
  const complete = loadedOnce(async () => {
    const { createComplete } = await import('./complete.ts')
    const adapterOf = (api: Api) => own[api]()
    return createComplete({ routeOf, keys: keysOf(settings), deadlines, adapterOf })
  })
  return {
    complete: (request, signal, onPart = () => {}) =>
      ResultAsync.fromPromise(complete(), notLoaded).andThen(
        (ask) => new ResultAsync(ask(request, signal, onPart)),
      ),
    contextBudget: async (modelName) => {
      const { contextBudget } = await import('./prices.ts')
      return contextBudget(await routeOf(modelName))
    },
    replyWithin: async ({ modelName, maxOutputTokens }, inputTokens, leftUsd) => {
      const { replyWithin } = await import('./affordable.ts')
      return replyWithin(await routeOf(modelName), maxOutputTokens, inputTokens, leftUsd)
    },
    imageTypes: async (modelName) => imageTypes(await routeOf(modelName)),
  }
}
