import { err, ok, type Result } from 'neverthrow'
import {
  type IsolationDifference,
  type IsolationPolicy,
  isAtLeast,
  type Level,
} from '../../domain/isolation.ts'
import type { Network } from '../../domain/network.ts'
import { messageOf } from '../../lib/message-of.ts'
import type { CommandLimits } from '../command.ts'
import { canLimitMemory } from '../process-watch.ts'
import { MAX_FILE_BYTES } from './bubblewrap.ts'
import type { Isolation } from './isolation.ts'
import type { PolicyFacts } from './policy.ts'

/** The policy of a command, or of the commands of a run. */
export function policyOf(
  { level, network }: Pick<Isolation, 'level' | 'network'>,
  facts: PolicyFacts,
  { memoryBytes, processes, outputBytes, homeBytes, freeDiskBytes, group }: CommandLimits,
  wanted: Network = 'none',
): IsolationPolicy {
  return {
    level: level ?? 'refused',
    // Only containers have a network of their own.
    ...(level === 'namespaces' ? networkOf(wanted) : { network }),
    visible: facts.visible,
    writable: facts.writable,
    protected: facts.protected,
    limits: {
      ...(canLimitMemory
        ? { memory_bytes: memoryBytes, memory_by: group === null ? 'watch' : 'cgroup', processes }
        : {}),
      output_bytes: outputBytes,
      ...(level === 'namespaces' ? { file_bytes: MAX_FILE_BYTES } : {}),
      ...(level === 'namespaces' || level === 'landlock' ? { home_bytes: homeBytes } : {}),
      free_disk_bytes: freeDiskBytes,
    },
    policy_sha256: facts.policy_sha256,
  }
}

const networkOf = (wanted: Network): Pick<IsolationPolicy, 'network' | 'hosts'> =>
  typeof wanted === 'string' ? { network: wanted } : { network: 'allow-list', hosts: wanted.allow }

/**
 * The policy for the commands of a run in a project. The error is for the author of the request.
 * @param atLeast the level that the run asks for
 * @param network what it asks for, without presets
 */
export async function policyOfRun(
  own: Isolation,
  limits: CommandLimits,
  project: string,
  { atLeast, network }: { readonly atLeast: Level | null; readonly network: Network },
): Promise<Result<IsolationPolicy, string>> {
  if (atLeast !== null && own.level !== null && !isAtLeast(atLeast, own.level)) {
    return err(
      `This server isolates commands at the level ${own.level}. A run may ask for a stricter level, never for less.`,
    )
  }
  const isolation = atLeast === null ? ok(own) : await own.atLeast(atLeast)
  if (isolation.isErr()) return err(isolation.error)
  try {
    const {
      at_least: _,
      level,
      ...policy
    } = policyOf(isolation.value, isolation.value.factsFor(project, network), limits, network)
    return ok({ level, ...(atLeast === null ? {} : { at_least: atLeast }), ...policy })
  } catch (cause) {
    return err(`Commands cannot be isolated in this folder: ${messageOf(cause)}.`)
  }
}

const COMPARED = [
  ...(['level', 'network', 'hosts', 'visible', 'writable', 'protected', 'limits'] as const),
  'policy_sha256',
] as const

/** Where a command was isolated in another way than its run says; null if nowhere. */
export function differenceOf(
  run: IsolationPolicy,
  used: IsolationPolicy,
): IsolationDifference | null {
  const differing = COMPARED.filter((name) => {
    return used[name] !== undefined && JSON.stringify(used[name]) !== JSON.stringify(run[name])
  })
  if (differing.length === 0) return null
  return Object.fromEntries(differing.map((name) => [name, used[name]]))
}
