import type { ConfigChanges, RunConfig } from '../domain/run-config.ts'
import type { ModelCatalogue } from './model/catalogue.ts'

/** A problem with one field of a request, for its author. */
export type Problem = { readonly field: string; readonly message: string }

/** What the checks must know of models. */
export type ModelRules = Pick<
  ModelCatalogue,
  'problem' | 'hasPrice' | 'efforts' | 'maxOutputTokens'
>

/** The part of a configuration that depends on its models. */
type Choice = Pick<
  RunConfig,
  'model_name' | 'max_cost_usd' | 'reasoning_effort' | 'max_output_tokens' | 'fallback_models'
>

/** Everything that would keep the models of a run from working, or its limits from being kept. */
export async function modelProblems(choice: Choice, models: ModelRules): Promise<Problem[]> {
  const fallbacks = choice.fallback_models ?? []
  const found: Problem[] = twice([choice.model_name, ...fallbacks])
  for (const [name, field] of [
    [choice.model_name, 'model_name'] as const,
    ...fallbacks.map((name) => [name, 'fallback_models'] as const),
  ]) {
    const problem = await models.problem(name)
    if (problem !== null) found.push({ field, message: `The model "${name}" ${problem}` })
    else found.push(...(await settingProblems(name, choice, models)))
  }
  return found
}

const OF_MODELS = [
  ...(['model_name', 'reasoning_effort'] as const),
  ...(['max_output_tokens', 'fallback_models'] as const),
]

/** What is wrong with the configuration of a run after a change. */
export async function changeProblems(
  changes: ConfigChanges,
  config: RunConfig,
  models: ModelRules,
): Promise<readonly Problem[]> {
  // The rest can be changed even if the key of the model was removed meanwhile.
  if (!OF_MODELS.some((field) => field in changes)) return []
  return modelProblems({ ...config, ...changes }, models)
}

function twice(names: readonly string[]): Problem[] {
  const repeated = names.find((name, at) => names.indexOf(name) !== at)
  if (repeated === undefined) return []
  const message = `fallback_models names "${repeated}", which the run has already. Name other models.`
  return [{ field: 'fallback_models', message }]
}

/** Settings that a model cannot have. */
async function settingProblems(
  name: string,
  { max_cost_usd, reasoning_effort = null, max_output_tokens = null }: Choice,
  models: ModelRules,
): Promise<Problem[]> {
  const found: Problem[] = []
  if (max_cost_usd !== null && !(await models.hasPrice(name))) {
    const message = `The price of "${name}" is not known, so max_cost_usd cannot be kept. Add the price to the file RETRAI_PRICES of the server, limit the run with max_tokens, or choose another model.`
    found.push({ field: 'max_cost_usd', message })
  }
  const efforts = await models.efforts(name)
  if (reasoning_effort !== null && efforts !== null && !efforts.includes(reasoning_effort)) {
    const choice =
      efforts.length === 0
        ? 'Leave it out.'
        : `Choose one of ${efforts.join(', ')}, or leave it out.`
    const message = `The model "${name}" has no reasoning_effort "${reasoning_effort}". ${choice}`
    found.push({ field: 'reasoning_effort', message })
  }
  const most = await models.maxOutputTokens(name)
  if (max_output_tokens !== null && most !== null && max_output_tokens > most) {
    const message = `max_output_tokens must be at most ${most}, the limit of the model "${name}".`
    found.push({ field: 'max_output_tokens', message })
  }
  return found
}
