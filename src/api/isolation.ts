import * as z from 'zod'
import { type IsolationPolicy, Level, LowerLimits } from '../domain/isolation.ts'

export type { Level, LowerLimits } from '../domain/isolation.ts'
export { otherwiseIsolated } from '../domain/isolation.ts'

const whyNot = (what: string) => z.string().nullable().describe(`Why ${what}; null if it can`)

/** GET /api/isolation: how this server isolates commands, and what a run may ask for. */
export const IsolationOffer = z
  .object({
    level: Level.nullable().describe('The level of the server; null if it refuses commands'),
    detail: z.string().describe('A sentence about that'),
    levels: z
      .array(
        z.object({
          level: Level,
          problem: whyNot('a run cannot have it'),
          hosts_problem: whyNot('commands at this level cannot reach a list of hosts'),
          full_problem: whyNot('they cannot reach the whole network'),
        }),
      )
      .readonly()
      .describe('The level of the server and all stricter ones, the strictest first'),
    hosts: z
      .array(z.string())
      .readonly()
      .nullable()
      .describe('The hosts that a run may ask for; null if the server names none'),
    limits: z
      .object(LowerLimits.unwrap().required().shape)
      .describe('The limits of a command; a run may ask for lower ones'),
  })
  .meta({ id: 'IsolationOffer' })
export type IsolationOffer = z.infer<typeof IsolationOffer>

const LEVEL: Readonly<Record<IsolationPolicy['level'], string>> = {
  namespaces: 'each command in a container of its own (namespaces)',
  landlock: 'a list of folders that the kernel enforces (landlock)',
  seatbelt: 'a profile of sandbox-exec, not verified (seatbelt, of an earlier version)',
  uid: 'the rights of the owner of the project (uid, of an earlier version)',
  none: 'nothing isolates the commands (none)',
  refused: 'commands were refused',
}

const NETWORK: Readonly<Record<IsolationPolicy['network'], string>> = {
  none: 'no network',
  'allow-list': 'a list of hosts',
  full: 'a network of its own',
  host: 'the network of the server',
}

const USER: Readonly<Record<NonNullable<IsolationPolicy['user']>, string>> = {
  owner: 'as the owner of the project',
  own: 'as a user of their own',
  root: 'as root without capabilities',
}

/** What the commands of a run could see and do, for people: one fact a line. */
export function isolationFacts(policy: IsolationPolicy): string[] {
  const { level, network, hosts = [], visible, writable, limits, policy_sha256 } = policy
  const listed = (roles: readonly string[]): string =>
    [...new Set(roles.map(wordsOf))].join(', ') || 'nothing'
  const memory = limits.memory_bytes === undefined ? 'no limit of memory' : mibOf(limits)
  return [
    `${LEVEL[level]}, ${NETWORK[network]}${hosts.length === 0 ? '' : ` (${listed(hosts)})`}`,
    `reads ${listed(visible)}; writes ${listed(writable)}; protected: ${listed(policy.protected)}`,
    ...(policy.user === undefined ? [] : [USER[policy.user]]),
    `${memory}; policy ${policy_sha256.slice(0, SHOWN_DIGITS)}`,
  ]
}

/** Said of a run whose checks have a home of their own, as all checks do, so that nothing is alarming about it. */
export const CHECKS_AS_COMMANDS = 'checks: as the commands, with a home of their own'

const WORDS: Readonly<Record<string, string>> = {
  project: 'the project',
  home: 'a home of their own',
  tmp: 'temporary files',
  'empty home': 'a home of their own',
  'empty tmp': 'temporary files',
  system: 'the system',
  tools: 'tool chains',
}

/** A role of a policy. The record names the folders. */
const wordsOf = (role: string): string => WORDS[role.replace(/:.*$/s, '')] ?? role

const SHOWN_DIGITS = 12
const MIB = 1024 * 1024

const mibOf = ({ memory_bytes = 0, memory_by }: IsolationPolicy['limits']): string =>
  `${Math.floor(memory_bytes / MIB)} MiB of memory (${memory_by === 'cgroup' ? 'enforced by the kernel' : 'watched'})`
