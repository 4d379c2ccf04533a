import type { IsolationPolicy } from '../domain/isolation.ts'

const LEVEL: Readonly<Record<IsolationPolicy['level'], string>> = {
  namespaces: 'each command in a container of its own (namespaces)',
  landlock: 'a list of folders that the kernel enforces (landlock)',
  uid: 'the rights of the owner of the project (uid)',
  none: 'nothing isolates the commands (none)',
  refused: 'commands were refused',
}

const NETWORK: Readonly<Record<IsolationPolicy['network'], string>> = {
  none: 'no network',
  'allow-list': 'a list of hosts',
  full: 'a network of its own',
  host: 'the network of the server',
}

/** What the commands of a run could see and do, for people: one fact a line. */
export function isolationFacts(policy: IsolationPolicy): string[] {
  const { level, network, hosts = [], visible, writable, limits, policy_sha256 } = policy
  const listed = (roles: readonly string[]): string => roles.join(', ') || 'nothing'
  const memory = limits.memory_bytes === undefined ? 'no limit of memory' : mibOf(limits)
  return [
    `${LEVEL[level]}, ${NETWORK[network]}${hosts.length === 0 ? '' : ` (${listed(hosts)})`}`,
    `reads ${listed(visible)}; writes ${listed(writable)}; protected: ${listed(policy.protected)}`,
    `${memory}; policy ${policy_sha256.slice(0, SHOWN_DIGITS)}`,
  ]
}

const SHOWN_DIGITS = 12
const MIB = 1024 * 1024

const mibOf = ({ memory_bytes = 0, memory_by }: IsolationPolicy['limits']): string =>
  `${Math.round(memory_bytes / MIB)} MiB of memory (${memory_by === 'cgroup' ? 'kept by the kernel' : 'watched'})`
