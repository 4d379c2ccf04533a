import type { Effort } from '../../../src/api/records.ts'
import type { RunRequest } from '../../../src/client/index.ts'

/** The settings of a run that depend on its model, as they are filled in. An empty number field holds ''. */
export type ModelDraft = {
  readonly model_name: string
  readonly reasoning_effort: Effort | null
  readonly max_output_tokens: number | string
  readonly fallback_models: readonly string[]
}

/** The form as it is filled in. An empty number field holds ''. */
export type Draft = ModelDraft & {
  readonly goal: string
  readonly cwd: string
  readonly max_iterations: number | string
  readonly max_turns_per_iteration: number | string
  readonly hitl_enabled: boolean
  readonly max_cost_usd: number | string
  readonly max_tokens: number | string
  readonly max_seconds: number | string
  /** Hosts that commands may reach, or `full`; '' is nothing. */
  readonly network: string
  readonly instructions: string
  readonly reason: string
}

export const EMPTY_DRAFT: Draft = {
  goal: '',
  cwd: '',
  model_name: '',
  reasoning_effort: null,
  max_output_tokens: '',
  fallback_models: [],
  max_iterations: '',
  max_turns_per_iteration: '',
  hitl_enabled: false,
  max_cost_usd: '',
  max_tokens: '',
  max_seconds: '',
  network: '',
  instructions: '',
  reason: '',
}

const NUMBERS = [
  ...(['max_iterations', 'max_turns_per_iteration', 'max_output_tokens'] as const),
  ...(['max_cost_usd', 'max_tokens', 'max_seconds'] as const),
] as const
const TEXTS = ['cwd', 'model_name', 'instructions', 'reason'] as const

/** The request with the fields that are filled in. For the others, the server has defaults. */
export function requestOf(draft: Draft): RunRequest {
  const numbers = NUMBERS.flatMap((field) => {
    const value = draft[field]
    return value === '' ? [] : [[field, Number(value)] as const]
  })
  const texts = TEXTS.flatMap((field) => {
    const value = draft[field].trim()
    return value === '' ? [] : [[field, value] as const]
  })
  const network = networkOf(draft.network)
  return {
    goal: draft.goal,
    hitl_enabled: draft.hitl_enabled,
    ...(draft.reasoning_effort === null ? {} : { reasoning_effort: draft.reasoning_effort }),
    ...(draft.fallback_models.length === 0 ? {} : { fallback_models: [...draft.fallback_models] }),
    ...(network === null ? {} : { network }),
    ...Object.fromEntries([...texts, ...numbers]),
  }
}

/** Null if the field is empty. */
function networkOf(text: string): NonNullable<RunRequest['network']> | null {
  const entries = text.split(/[\s,]+/).filter(Boolean)
  const [first] = entries
  if (first === undefined) return null
  return entries.length === 1 && (first === 'full' || first === 'none') ? first : { allow: entries }
}
