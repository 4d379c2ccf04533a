import type { Fallback } from './records.ts'
import type { RunConfig } from './run-config.ts'
import { ASKED_ANEW, type RunState } from './state.ts'

/** The models of a run, and the one of its fallback models that it asks now, if any. */
export type ModelChoice = Pick<RunState, 'fallback'> & {
  readonly config: Pick<RunConfig, 'model_name' | 'fallback_models'>
}

/** The model that a run asks now. */
export const modelInUse = ({ config, fallback }: ModelChoice): string =>
  fallback ?? config.model_name

/** The models that a run may still ask: the one in use, then those that follow if it fails. */
export function modelsLeft(choice: ModelChoice): [string, ...string[]] {
  const { model_name, fallback_models = [] } = choice.config
  const models = [model_name, ...fallback_models]
  const inUse = modelInUse(choice)
  const at = models.indexOf(inUse)
  return [inUse, ...(at === -1 ? [] : models.slice(at + 1))]
}

/** The model that a run asks if all attempts with the one in use fail; null if it has no other. */
export function nextFallback(state: RunState): Fallback | null {
  const [from, to] = modelsLeft(state)
  return to === undefined ? null : { from, to }
}

/** The requests of this step to the model in use that failed, and how many of them had replies that are not valid. */
export function failedRequests({ phase }: RunState) {
  const { failures, invalidReplies = 0 } = phase.type === 'planning' ? phase : ASKED_ANEW
  return { failures, invalidReplies }
}
