import type { RunRequest } from '../../../src/client/index.ts'

/** The form as it is filled in. An empty number field holds ''. */
export type Draft = {
  readonly goal: string
  readonly cwd: string
  readonly model_name: string
  readonly max_iterations: number | string
  readonly max_turns_per_iteration: number | string
  readonly hitl_enabled: boolean
  readonly max_cost_usd: number | string
  readonly max_tokens: number | string
  readonly max_seconds: number | string
  readonly reason: string
}

export const EMPTY_DRAFT: Draft = {
  goal: '',
  cwd: '',
  model_name: '',
  max_iterations: '',
  max_turns_per_iteration: '',
  hitl_enabled: false,
  max_cost_usd: '',
  max_tokens: '',
  max_seconds: '',
  reason: '',
}

const NUMBERS = [
  'max_iterations',
  'max_turns_per_iteration',
  'max_cost_usd',
  'max_tokens',
  'max_seconds',
] as const
const TEXTS = ['cwd', 'model_name', 'reason'] as const

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
  return {
    goal: draft.goal,
    hitl_enabled: draft.hitl_enabled,
    ...Object.fromEntries([...texts, ...numbers]),
  }
}
