import { ResultAsync } from 'neverthrow'
import type { Models } from './model.ts'
import { type ModelSettings, route } from './routing.ts'

const DEFAULT_TIMEOUT_MS = 600_000

/**
 * The models of these settings. The SDK and the price list are loaded with the first call, so a server that only shows
 * runs needs neither.
 * @param options.timeoutMs how long one reply may take; default 10 minutes
 */
export function createModels(
  settings: ModelSettings,
  options: { readonly timeoutMs?: number } = {},
): Models {
  const { timeoutMs = DEFAULT_TIMEOUT_MS } = options
  const load = async () => {
    const { createChatCompletions } = await import('./chat-completions.ts')
    return createChatCompletions(settings, timeoutMs)
  }
  let loading: ReturnType<typeof load> | undefined
  return {
    complete: (request, signal) => {
      loading ??= load()
      return new ResultAsync(loading.then((complete) => complete(request, signal)))
    },
    contextBudget: async (modelName) => {
      const { contextBudget } = await import('./prices.ts')
      return contextBudget(route(modelName, settings))
    },
  }
}
