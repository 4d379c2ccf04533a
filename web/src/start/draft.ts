import type { Level } from '../../../src/api/about-server.ts'
import { type Effort, LIMITS, type Limit } from '../../../src/api/records.ts'
import type { RunRequest } from '../../../src/client/index.ts'

/** A number as it is filled in. An empty field holds ''. */
type Entered = number | string

/** The settings of a run that depend on its model. */
const MODEL = {
  model_name: '',
  reasoning_effort: null as Effort | null,
  max_output_tokens: '' as Entered,
  fallback_models: [] as readonly string[],
}
export type ModelDraft = Readonly<typeof MODEL>

export type LimitDraft = { readonly [L in Limit]: Entered }

/** What its commands may do. */
const COMMANDS = {
  /** Null: the level of the server. */
  isolation: null as Level | null,
  /** Hosts that commands may reach, or `full`; '' is nothing. */
  network: '',
}
export type CommandDraft = Readonly<typeof COMMANDS>

const GOAL = {
  goal: '',
  /** The goal that was chosen because it fits the folder; '' once a person has chosen. */
  fitted: '',
  /** A command instead of the command of the goal. Empty: there is no such command. */
  check: '',
  exit_code: '' as Entered,
  output_contains: '',
  check_seconds: '' as Entered,
  /** Further goals, as JSON. */
  all_of: '',
}
export type GoalDraft = Readonly<typeof GOAL>

export const EMPTY_DRAFT = {
  ...GOAL,
  ...MODEL,
  ...COMMANDS,
  ...(Object.fromEntries(LIMITS.map((limit) => [limit, ''])) as LimitDraft),
  cwd: '',
  max_turns_per_iteration: '' as Entered,
  hitl_enabled: false,
  /** '': in the folder of the project. */
  workspace: '' as '' | 'copy' | 'shared',
  /** Rules for calls, and MCP servers, as JSON. */
  approvals: '',
  mcp_servers: '',
  instructions: '',
  tags: [] as readonly string[],
  reason: '',
  /** What a run that is started again was asked for and the form has no field for. */
  kept: {} as Partial<RunRequest>,
}

/** The form as it is filled in. */
export type Draft = Readonly<typeof EMPTY_DRAFT>

const NUMBERS = [
  'max_iterations',
  'max_turns_per_iteration',
  'max_output_tokens',
  'max_cost_usd',
  'max_tokens',
  'max_seconds',
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
    ...EMPTY_DRAFT,
    ...filled,
    ...goalIn(typeof first === 'string' ? { goal: first } : first),
    all_of: further.length === 0 ? '' : JSON.stringify(further, null, 2),
    hitl_enabled,
    isolation,
    reasoning_effort,
    fallback_models,
    tags,
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
    goal,
    check: check?.command ?? '',
    exit_code: isPlain ? '' : exit_code,
    output_contains,
    check_seconds: max_seconds,
  }
}
