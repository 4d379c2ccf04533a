import { keyOf, PROVIDER_NAMES, PROVIDERS } from './providers.ts'
import { type ModelSettings, route } from './routing.ts'

/** The model of a run that names none. */
export type DefaultModel = {
  readonly name: string
  /** Why it is this one, for people. */
  readonly reason: string
  /** Why it cannot be called, and what to do; null if it can be called. */
  readonly problem: string | null
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
  // Nobody knows the models of an own endpoint.
  if (llmBaseUrl !== undefined || openaiBaseUrl !== undefined) return unset
  const [only, ...others] = PROVIDER_NAMES.filter((name) => keyOf(name, settings) !== undefined)
  if (only === undefined || others.length > 0) return unset
  const { defaultModel: name, key } = PROVIDERS[only]
  if (name === null || key === null) return unset
  return { name, reason: `${key.variable} is the only key that is set` }
}
