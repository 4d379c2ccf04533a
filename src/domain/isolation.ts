import * as z from 'zod'
import { Sha256 } from './fields.ts'

/** How commands are isolated, the strictest first; docs/security.md says what each level promises. */
export const LEVELS = ['namespaces', 'landlock', 'none'] as const
export const Level = z.enum(LEVELS)
export type Level = z.infer<typeof Level>

/** The levels that records name, the strictest first: earlier versions had two more. */
const RECORDED_LEVELS = ['namespaces', 'landlock', 'seatbelt', 'uid', 'none'] as const
const RecordedLevel = z.enum(RECORDED_LEVELS)
export type RecordedLevel = z.infer<typeof RecordedLevel>

/** Whether one level is as strict as another, or stricter. */
export const isAtLeast = (level: RecordedLevel, other: RecordedLevel): boolean =>
  RECORDED_LEVELS.indexOf(level) <= RECORDED_LEVELS.indexOf(other)

/** Whether commands at a level can make sockets, also to reach each other. */
export const hasSockets = (level: IsolationPolicy['level']): boolean => level !== 'landlock'

/** What ends a command, beside itself. `time`, `memory`, `processes`, `disk` and `output` are limits. */
export const KilledBy = z.enum(['time', 'memory', 'processes', 'disk', 'output', 'abort'])
export type KilledBy = z.infer<typeof KilledBy>

const count = z.int().nonnegative()

/** The limits of a command. A limit that is left out is not kept at the level of the policy. */
const Limits = z
  .strictObject({
    /** The memory of all its processes together. The kernel keeps the limit, or the server looks several times a second. */
    memory_bytes: count.exactOptional(),
    memory_by: z.enum(['cgroup', 'watch']).exactOptional(),
    processes: count.exactOptional(),
    output_bytes: count.exactOptional(),
    /** The size of one file that it writes. */
    file_bytes: count.exactOptional(),
    /** The size of its home and its temporary files together. */
    home_bytes: count.exactOptional(),
    /** The free space on the disk of the project below which it is ended. */
    free_disk_bytes: count.exactOptional(),
  })
  .readonly()

/**
 * What the commands of a run may see and do. Its paths are roles, so that the policies of runs can be compared:
 * `project`, `home`, `tmp`, `report` (of a goal check), `system:/usr`, `tools:~/.nvm`; in `protected`, relative to the
 * project. `not verified` in `visible` is of the level `seatbelt`.
 */
export const IsolationPolicy = z
  .strictObject({
    /** `refused`: the server ran no commands when the run was created. */
    level: z.enum([...RECORDED_LEVELS, 'refused']),
    /** The level that the request asked for; commands are refused where it cannot be kept. */
    at_least: RecordedLevel.exactOptional(),
    /** Limits below those of the server, which requests of earlier versions could ask for. Its commands have those of the server now. */
    at_most: Limits.exactOptional(),
    /** `host`: the network of the server. */
    network: z.enum(['none', 'allow-list', 'full', 'host']),
    /** What commands may connect to, if `network` is `allow-list`. */
    hosts: z.array(z.string()).readonly().exactOptional(),
    visible: z.array(z.string()).readonly(),
    writable: z.array(z.string()).readonly(),
    protected: z.array(z.string()).readonly(),
    /** The names of variables of the server that commands see beside the usual ones; their values are in no record. */
    variables: z.array(z.string()).readonly().exactOptional(),
    /** Whose rights commands of a root server have: those of the owner of the project, of a user of their own, or of root without capabilities. */
    user: z.enum(['owner', 'own', 'root']).exactOptional(),
    limits: Limits,
    /** SHA-256 (hex) of the arguments that make the isolation, with roles in the place of paths. */
    policy_sha256: Sha256,
  })
  .readonly()
export type IsolationPolicy = z.infer<typeof IsolationPolicy>

const { at_least: _, at_most: __, ...differing } = IsolationPolicy.unwrap().shape

/** Where a command was isolated in another way than `run_created` says. What is not named was the same. */
export const IsolationDifference = z.strictObject(differing).partial().readonly()
export type IsolationDifference = z.infer<typeof IsolationDifference>

/** Roles in which a check always differs from the commands of its run. */
const OF_ONE_CALL = /^(?:report|(?:empty )?(?:home|tmp)|(?:copy of the )?home of the first check)$/

/** How a result was isolated, if not as its run: a check, which has a report and a home of its own, or in another way. */
export function otherwiseIsolated(
  kind: string,
  { policy_sha256: _, visible, writable, ...others }: IsolationDifference,
  run: IsolationPolicy | null | undefined,
): 'check' | 'other' {
  const shared = (roles: readonly string[] = []): string =>
    roles.filter((role) => !OF_ONE_CALL.test(role)).join()
  const same = (roles: readonly string[] | undefined, before: readonly string[] | undefined) =>
    roles === undefined || shared(roles) === shared(before)
  const isAsRun = same(visible, run?.visible) && same(writable, run?.writable)
  return kind === 'goal_check' && isAsRun && Object.keys(others).length === 0 ? 'check' : 'other'
}
