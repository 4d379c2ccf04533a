import { ResultAsync } from 'neverthrow'
import type { Models } from './model.ts'
import { type ModelSettings, route } from './routing.ts'

const DEFAULT_TIMEOUT_MS = 600_000

/**
 * The models that the settings lead to. The SDK and the price list are loaded with the first call: a
 * server that only shows what happened does without both.
 * @param options.timeoutMs how long one reply may take; 10 minutes unless given
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
    missingKey: (modelName) => route(modelName, settings).missingKey,
    contextBudget: async (modelName) => {
      const { contextBudget } = await import('./prices.ts')
      return contextBudget(route(modelName, settings))
    },
  }
}
