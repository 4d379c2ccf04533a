import * as z from 'zod'
import { ApprovalRules } from '../domain/approvals/rules.ts'
import { type IsolationPolicy, Level } from '../domain/isolation.ts'
import { McpServer } from '../domain/mcp-servers.ts'
import { EFFORTS } from '../domain/run-config.ts'

/** GET /health/live. */
export const Liveness = z.object({ status: z.literal('ok') }).meta({ id: 'Liveness' })

/** GET /health/ready. */
export const Readiness = z
  .object({
    ready: z.boolean(),
    checks: z.record(z.string(), z.object({ ok: z.boolean(), detail: z.string().optional() })),
  })
  .meta({ id: 'Readiness' })
export type Readiness = z.infer<typeof Readiness>

const usd = z.number()

/** A model that a run may name: an item of GET /api/models. */
export const Model = z
  .object({
    name: z.string().describe('For `model_name`'),
    provider: z.string(),
    is_default: z.boolean().describe('Whether runs that name no model use it'),
    problem: z
      .string()
      .nullable()
      .describe('Why it cannot be called, and what to do; null if it can be called'),
    key_variable: z
      .string()
      .nullable()
      .describe("The variable of the server's environment for its key; null if it needs no key"),
    key_set: z.boolean(),
    context_window: z.int().nullable().describe('Tokens; null if it is not known'),
    max_output_tokens: z
      .int()
      .nullable()
      .describe('Of one reply, reasoning included; null if it is not known'),
    prices: z
      .object({
        input_usd_per_mtok: usd,
        output_usd_per_mtok: usd,
        cached_input_usd_per_mtok: usd.describe("Read from the provider's cache"),
        cache_write_usd_per_mtok: usd.describe('Written to it'),
      })
      .nullable()
      .describe(
        'US dollars for a million tokens of a short request; long requests may cost more. Null if they are not ' +
          'known: then a run with this model can have no max_cost_usd',
      ),
    reasoning_efforts: z
      .array(z.enum(EFFORTS))
      .readonly()
      .nullable()
      .describe('The values for `reasoning_effort`; null if they are not known'),
  })
  .meta({ id: 'Model' })
export type Model = z.infer<typeof Model>

/** GET /api/mcp-servers: the MCP servers that a run may have on this server. */
export const McpOffer = z
  .object({
    servers: z
      .array(z.object(McpServer.unwrap().shape).readonly())
      .readonly()
      .describe(
        'Those of the configuration, which a run names. A name in braces after $ is a variable whose value only the server knows',
      ),
    own: z
      .enum(['none', 'commands', 'all'])
      .describe('What a run may bring itself: nothing, commands, or commands and URLs'),
  })
  .meta({ id: 'McpOffer' })
export type McpOffer = z.infer<typeof McpOffer>

/** A goal that a run can have: an item of GET /api/goals. */
export const Goal = z
  .object({
    name: z.string(),
    description: z.string(),
    check: z
      .enum(['none', 'optional', 'required'])
      .exactOptional()
      .describe('Whether it takes a command in `check`. Earlier versions do not say'),
    protected: z
      .array(z.string())
      .exactOptional()
      .describe(
        'Globs of files that decide what its check finds: tests, settings, and CI. A run that changes one is named, and scripts ' +
          'that the check names are protected, too. Earlier versions do not have it',
      ),
    because: z
      .string()
      .exactOptional()
      .describe('Why it fits the project, if the request names one'),
  })
  .meta({ id: 'Goal' })
export type Goal = z.infer<typeof Goal>

/** GET /api/approvals. */
export const ServerApprovals = z
  .object({ rules: ApprovalRules.describe('In order: the first that applies decides') })
  .meta({ id: 'ServerApprovals' })

export type { Level } from '../domain/isolation.ts'
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
      .object({
        memory_bytes: z.int().describe('Memory of all its processes together'),
        processes: z.int().describe('Its processes and threads'),
        output_bytes: z.int().describe('All that it prints'),
        home_bytes: z.int().describe('Home and temporary files of its run together'),
      })
      .describe('The limits of a command'),
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
