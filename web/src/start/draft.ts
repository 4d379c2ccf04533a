import type { Level } from '../../../src/api/about-server.ts'
import { type Effort, LIMITS, type Limit } from '../../../src/api/records.ts'
import type { RunRequest } from '../../../src/client/index.ts'

/** The settings of a run that depend on its model, as they are filled in. An empty number field holds ''. */
export type ModelDraft = {
  readonly model_name: string
  readonly reasoning_effort: Effort | null
  readonly max_output_tokens: number | string
  readonly fallback_models: readonly string[]
}

/** Limits as they are filled in. */
export type LimitDraft = { readonly [L in Limit]: number | string }

/** What its commands may do, as it is filled in. */
export type CommandDraft = {
  /** Null: the level of the server. */
  readonly isolation: Level | null
  /** Hosts that commands may reach, or `full`; '' is nothing. */
  readonly network: string
}

/** The goal as it is filled in. */
export type GoalDraft = {
  readonly goal: string
  /** The goal that was chosen because it fits the folder; '' once a person has chosen. */
  readonly fitted: string
  /** A command instead of the command of the goal. Empty: there is no such command. */
  readonly check: string
  readonly exit_code: number | string
  readonly output_contains: string
  readonly check_seconds: number | string
  /** Further goals, as JSON. */
  readonly all_of: string
}

/** The form as it is filled in. An empty field holds ''. */
export type Draft = GoalDraft &
  ModelDraft &
  CommandDraft &
  LimitDraft & {
    readonly cwd: string
    readonly max_turns_per_iteration: number | string
    readonly hitl_enabled: boolean
    /** '': in the folder of the project. */
    readonly workspace: '' | 'copy' | 'shared'
    /** Rules for calls, and MCP servers, as JSON. */
    readonly approvals: string
    readonly mcp_servers: string
    readonly instructions: string
    readonly tags: readonly string[]
    readonly reason: string
    /** What a run that is started again was asked for and the form has no field for. */
    readonly kept: Partial<RunRequest>
  }

export const EMPTY_DRAFT: Draft = {
  goal: '',
  fitted: '',
  check: '',
  exit_code: '',
  output_contains: '',
  check_seconds: '',
  all_of: '',
  cwd: '',
  model_name: '',
  reasoning_effort: null,
  max_output_tokens: '',
  fallback_models: [],
  max_iterations: '',
  max_turns_per_iteration: '',
  hitl_enabled: false,
  workspace: '',
  max_cost_usd: '',
  max_tokens: '',
  max_seconds: '',
  isolation: null,
  network: '',
  approvals: '',
  mcp_servers: '',
  instructions: '',
  tags: [],
  reason: '',
  kept: {},
}

const NUMBERS = [
  ...(['max_iterations', 'max_turns_per_iteration', 'max_output_tokens'] as const),
  ...(['max_cost_usd', 'max_tokens', 'max_seconds'] as const),
] as const
const TEXTS = ['cwd', 'model_name', 'instructions', 'reason'] as const
const LISTS = ['approvals', 'mcp_servers'] as const

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
  const lists = LISTS.flatMap((field) => {
    return draft[field].trim() === '' ? [] : [[field, jsonIn(draft[field])] as const]
  })
  const network = networkOf(draft.network)
  return {
    ...draft.kept,
    ...goalsOf(draft),
    hitl_enabled: draft.hitl_enabled,
    // Whoever started it here can raise the limit here.
    on_limit: 'pause',
    ...(draft.workspace === 'copy' && { workspace: 'copy' }),
    ...(draft.workspace === 'shared' && { shared: true }),
    ...(draft.reasoning_effort === null ? {} : { reasoning_effort: draft.reasoning_effort }),
    ...(draft.fallback_models.length === 0 ? {} : { fallback_models: [...draft.fallback_models] }),
    ...(draft.tags.length === 0 ? {} : { tags: [...draft.tags] }),
    ...(draft.isolation === null ? {} : { isolation: draft.isolation }),
    ...(network === null ? {} : { network }),
    ...Object.fromEntries([...texts, ...numbers, ...lists]),
  }
}

/** The value of a field that is written as JSON. Any other text is sent as it is: the server refuses it. */
function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** The goals in the form of the request. A goal alone is not in a list. */
function goalsOf(draft: GoalDraft): Pick<RunRequest, 'goal' | 'check' | 'all_of'> {
  const first = { ...(draft.goal === '' ? {} : { goal: draft.goal }), ...checkOf(draft) }
  if (draft.all_of.trim() === '') return first
  const further = jsonIn(draft.all_of)
  // The server checks the list, and names each item that is wrong.
  return {
    all_of: (Array.isArray(further) ? [first, ...further] : further) as RunRequest['all_of'] & {},
  }
}

/** The field of the request that has this part of the chosen goal. */
export const goalField = ({ all_of }: GoalDraft, inner: string): string =>
  all_of.trim() === '' ? inner : `all_of.0.${inner}`

function checkOf({ check, exit_code, output_contains, check_seconds }: GoalDraft) {
  const command = check.trim()
  if (command === '') return {}
  const isPlain = exit_code === '' && output_contains === '' && check_seconds === ''
  if (isPlain) return { check: { command } }
  // A person who names an output or a time still expects that the command succeeds.
  const conditions = {
    exit_code: Number(exit_code),
    ...(output_contains === '' ? {} : { output_contains }),
    ...(check_seconds === '' ? {} : { max_seconds: Number(check_seconds) }),
  }
  return { check: { command, conditions } }
}

/** Null if the field is empty. */
function networkOf(text: string): NonNullable<RunRequest['network']> | null {
  const entries = text.split(/[\s,]+/).filter(Boolean)
  const [first] = entries
  if (first === undefined) return null
  return entries.length === 1 && (first === 'full' || first === 'none') ? first : { allow: entries }
}

/** The limits that differ from those of the run. An empty field is no limit. */
export function limitChanges(before: LimitDraft, after: LimitDraft) {
  const changed = LIMITS.filter((limit) => after[limit] !== before[limit])
  return Object.fromEntries(
    changed.map((limit) => [limit, after[limit] === '' ? null : Number(after[limit])]),
  )
}

/** The form as a request fills it in. */
export function draftOf(request: RunRequest): Draft {
  const { goal, check, all_of, network, hitl_enabled = false, ...more } = request
  const { isolation = null, reasoning_effort = null, fallback_models = [], ...others } = more
  const { workspace, shared, tags = [], ...rest } = others
  const [first, ...further] = all_of ?? [{ ...(goal && { goal }), ...(check && { check }) }]
  const kept: Record<string, unknown> = { ...rest }
  const filled: Record<string, unknown> = {}
  for (const field of [...NUMBERS, ...TEXTS, ...LISTS]) {
    const value = rest[field]
    if (value != null) filled[field] = Array.isArray(value) ? JSON.stringify(value, null, 2) : value
    delete kept[field]
  }
  return {
    ...{
      ...EMPTY_DRAFT,
      ...filled,
      ...goalIn(typeof first === 'string' ? { goal: first } : first),
    },
    all_of: further.length === 0 ? '' : JSON.stringify(further, null, 2),
    ...{ hitl_enabled, isolation, reasoning_effort, fallback_models, tags },
    workspace: shared ? 'shared' : (workspace ?? ''),
    network: typeof network === 'object' ? network.allow.join(', ') : (network ?? ''),
    kept,
  }
}

/** A check that has only to succeed needs no further fields. */
function goalIn({ goal = '', check }: Pick<RunRequest, 'goal' | 'check'> = {}): Partial<Draft> {
  const { exit_code = '', output_contains = '', max_seconds = '' } = check?.conditions ?? {}
  const isPlain = exit_code === 0 && output_contains === '' && max_seconds === ''
  return {
    ...{ goal, check: check?.command ?? '', exit_code: isPlain ? '' : exit_code },
    ...{ output_contains, check_seconds: max_seconds },
  }
}
