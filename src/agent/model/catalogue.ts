import { type DefaultModel, defaultModel } from './default-model.ts'
import { type ModelSettings, route } from './routing.ts'

/** What is known of the models that runs may name, without calling one. */
export type ModelCatalogue = {
  /** The model of a run that names none. */
  readonly default: DefaultModel
  /** Why a model cannot be called, and what to do: the rest of a sentence about it. Null if it can be called. */
  problem(modelName: string): string | null
}

export function createCatalogue(settings: ModelSettings): ModelCatalogue {
  return {
    default: defaultModel(settings),
    problem: (modelName) => route(modelName, settings).problem,
  }
}
