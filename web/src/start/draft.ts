import type { Level, LowerLimits } from '../../../src/api/isolation.ts'
import type { Effort } from '../../../src/api/records.ts'
import type { Goal, RunRequest } from '../../../src/client/index.ts'
import { emptyPart, goalsOf, type PartDraft } from './goal-draft.ts'
import { type McpDraft, serversOf } from './mcp-draft.ts'
import { type RuleDraft, rulesOf } from './rule-draft.ts'

/** The settings of a run that depend on its model, as they are filled in. An empty number field holds ''. */
export type ModelDraft = {
  readonly model_name: string
  readonly reasoning_effort: Effort | null
  readonly max_output_tokens: number | string
  readonly fallback_models: readonly string[]
}

/** What its commands may do, as it is filled in. */
export type CommandDraft = {
  /** Null: the level of the server. */
  readonly isolation: Level | null
  /** Hosts that commands may reach, or `full`; '' is nothing. */
  readonly network: string
  readonly memory_mib: number | string
  readonly processes: number | string
  readonly home_mib: number | string
  readonly output_mib: number | string
}

/** The form as it is filled in. An empty number field holds ''. */
export type Draft = ModelDraft &
  CommandDraft & {
    /** At least one goal. */
    readonly parts: readonly PartDraft[]
    readonly cwd: string
    readonly max_iterations: number | string
    readonly max_turns_per_iteration: number | string
    readonly hitl_enabled: boolean
    readonly max_cost_usd: number | string
    readonly max_tokens: number | string
    readonly max_seconds: number | string
    readonly approvals: readonly RuleDraft[]
    /** Those of the configuration, by name. */
    readonly mcp_servers: readonly string[]
    /** Those that the request brings. */
    readonly own_servers: readonly McpDraft[]
    readonly instructions: string
    readonly reason: string
  }

export const EMPTY_DRAFT: Draft = {
  parts: [emptyPart()],
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
  isolation: null,
  network: '',
  memory_mib: '',
  processes: '',
  home_mib: '',
  output_mib: '',
  approvals: [],
  mcp_servers: [],
  own_servers: [],
  instructions: '',
  reason: '',
}

const NUMBERS = [
  ...(['max_iterations', 'max_turns_per_iteration', 'max_output_tokens'] as const),
  ...(['max_cost_usd', 'max_tokens', 'max_seconds'] as const),
] as const
const TEXTS = ['cwd', 'model_name', 'instructions', 'reason'] as const

/**
 * The request with the fields that are filled in. For the others, the server has defaults.
 * @param goals those of the server, which say what their options are
 */
export function requestOf(draft: Draft, goals: readonly Goal[]): RunRequest {
  const numbers = NUMBERS.flatMap((field) => {
    const value = draft[field]
    return value === '' ? [] : [[field, Number(value)] as const]
  })
  const texts = TEXTS.flatMap((field) => {
    const value = draft[field].trim()
    return value === '' ? [] : [[field, value] as const]
  })
  const network = networkOf(draft.network)
  const limits = limitsOf(draft)
  const servers = serversOf(draft.mcp_servers, draft.own_servers)
  const approvals = rulesOf(draft.approvals)
  return {
    ...goalsOf(draft.parts, goals),
    ...(approvals === undefined ? {} : { approvals }),
    hitl_enabled: draft.hitl_enabled,
    ...(draft.reasoning_effort === null ? {} : { reasoning_effort: draft.reasoning_effort }),
    ...(draft.fallback_models.length === 0 ? {} : { fallback_models: [...draft.fallback_models] }),
    ...(servers.length === 0 ? {} : { mcp_servers: servers }),
    ...(draft.isolation === null ? {} : { isolation: draft.isolation }),
    ...(network === null ? {} : { network }),
    ...(Object.keys(limits).length === 0 ? {} : { command_limits: limits }),
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

const MIB = 1024 * 1024

function limitsOf({ memory_mib, processes, home_mib, output_mib }: CommandDraft): LowerLimits {
  const mib = (value: number | string) => Math.round(Number(value) * MIB)
  return {
    ...(memory_mib === '' ? {} : { memory_bytes: mib(memory_mib) }),
    ...(processes === '' ? {} : { processes: Number(processes) }),
    ...(home_mib === '' ? {} : { home_bytes: mib(home_mib) }),
    ...(output_mib === '' ? {} : { output_bytes: mib(output_mib) }),
  }
}
