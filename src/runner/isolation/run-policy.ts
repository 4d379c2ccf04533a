import { err, ok, type Result } from 'neverthrow'
import {
  type IsolationDifference,
  type IsolationPolicy,
  isAtLeast,
  type Level,
  type LowerLimits,
  type RecordedLevel,
} from '../../domain/isolation.ts'
import type { Network } from '../../domain/network.ts'
import { present } from '../../domain/present.ts'
import { messageOf } from '../../lib/message-of.ts'
import type { CommandLimits } from '../command.ts'
import { canLimitMemory } from '../process-watch.ts'
import { MAX_FILE_BYTES } from './gate-shell.ts'
import type { Isolation } from './isolation.ts'
import type { PolicyFacts } from './policy.ts'

/** The policy of a command, or of the commands of a run. */
export function policyOf(
  { level, network }: Pick<Isolation, 'level' | 'network'>,
  facts: PolicyFacts,
  {
    memoryBytes,
    processes,
    outputBytes,
    homeBytes,
    freeDiskBytes,
    group,
    variables,
  }: CommandLimits,
  wanted: Network = 'none',
): IsolationPolicy {
  return {
    level: level ?? 'refused',
    // Only containers have a network of their own.
    ...(level === 'namespaces' ? networkOf(wanted) : { network }),
    visible: facts.visible,
    writable: facts.writable,
    protected: facts.protected,
    ...(variables.length === 0 ? {} : { variables }),
    ...present({ user: facts.user }),
    limits: {
      ...(canLimitMemory
        ? { memory_bytes: memoryBytes, memory_by: group === null ? 'watch' : 'cgroup', processes }
        : {}),
      output_bytes: outputBytes,
      ...(level === 'namespaces' ? { file_bytes: MAX_FILE_BYTES } : {}),
      ...(level !== null && HAS_HOME.has(level) ? { home_bytes: homeBytes } : {}),
      free_disk_bytes: freeDiskBytes,
    },
    policy_sha256: facts.policy_sha256,
  }
}

/** The levels at which a command has a home of its run. */
const HAS_HOME: ReadonlySet<Level> = new Set(['namespaces', 'landlock'])

const networkOf = (wanted: Network): Pick<IsolationPolicy, 'network' | 'hosts'> =>
  typeof wanted === 'string' ? { network: wanted } : { network: 'allow-list', hosts: wanted.allow }

/** What a run asks for beside the isolation that the server gives every run. */
export type Wanted = {
  readonly atLeast: RecordedLevel | null
  /** Without presets. */
  readonly network: Network
  readonly atMost: LowerLimits | null
}

/** Why a run is refused: the field of the request, and a sentence for its author. */
type Refusal = { readonly field: string; readonly message: string }

/** The policy for the commands of a run in a project. */
export async function policyOfRun(
  own: Isolation,
  limits: CommandLimits,
  project: string,
  { atLeast, network, atMost }: Wanted,
): Promise<Result<IsolationPolicy, Refusal>> {
  const refused = (message: string) => err({ field: 'isolation', message })
  if (atLeast !== null && own.level !== null && !isAtLeast(atLeast, own.level)) {
    return refused(
      `This server isolates commands at the level ${own.level}. A run may ask for a stricter level, never for a weaker one.`,
    )
  }
  const excess = atMost === null ? null : excessOf(atMost, limits)
  if (excess !== null) return err(excess)
  const isolation = atLeast === null ? ok(own) : await own.atLeast(atLeast)
  if (isolation.isErr()) return refused(isolation.error)
  try {
    const facts = isolation.value.factsFor(project, network)
    const lowered = lowerLimits(limits, atMost ?? {})
    const { level, ...policy } = policyOf(isolation.value, facts, lowered, network)
    return ok({ level, ...present({ at_least: atLeast, at_most: atMost }), ...policy })
  } catch (cause) {
    return refused(`Commands cannot be isolated in this folder: ${messageOf(cause)}.`)
  }
}

/** The limits of the server that a run may lower, as a request names them. */
export const mostOf = (limits: CommandLimits): Required<LowerLimits> => ({
  memory_bytes: limits.memoryBytes,
  processes: limits.processes,
  output_bytes: limits.outputBytes,
  home_bytes: limits.homeBytes,
})

/** The limits of the server, lowered to those that a run asks for. */
export function lowerLimits(limits: CommandLimits, wanted: LowerLimits): CommandLimits {
  const { memory_bytes, processes, output_bytes, home_bytes } = { ...mostOf(limits), ...wanted }
  return {
    ...limits,
    memoryBytes: Math.min(limits.memoryBytes, memory_bytes),
    processes: Math.min(limits.processes, processes),
    outputBytes: Math.min(limits.outputBytes, output_bytes),
    homeBytes: Math.min(limits.homeBytes, home_bytes),
  }
}

const WHAT: Readonly<Record<keyof LowerLimits, string>> = {
  memory_bytes: 'bytes of memory',
  processes: 'processes',
  output_bytes: 'bytes of output',
  home_bytes: 'bytes in its home',
}

function excessOf(wanted: LowerLimits, limits: CommandLimits): Refusal | null {
  const all = mostOf(limits)
  for (const name of Object.keys(all) as (keyof LowerLimits)[]) {
    const most = all[name]
    if ((wanted[name] ?? 0) <= most) continue
    const message = `This server lets no command have more than ${most} ${WHAT[name]}. A run may ask for less.`
    return { field: `command_limits.${name}`, message }
  }
  return null
}

const COMPARED = [
  ...([
    'level',
    'network',
    'hosts',
    'visible',
    'writable',
    'protected',
    'variables',
    'user',
    'limits',
  ] as const),
  'policy_sha256',
] as const

/** How the isolation of a command differs from what its run says; null if it does not. */
export function differenceOf(
  run: IsolationPolicy,
  used: IsolationPolicy,
): IsolationDifference | null {
  const differing = COMPARED.filter((name) => {
    return used[name] !== undefined && JSON.stringify(used[name]) !== JSON.stringify(run[name])
  })
  const others = Object.fromEntries(differing.map((name) => [name, used[name]]))
  // A policy without variables does not name them.
  const isWithout = run.variables !== undefined && used.variables === undefined
  if (differing.length === 0 && !isWithout) return null
  return isWithout ? { ...others, variables: [] } : others
}
