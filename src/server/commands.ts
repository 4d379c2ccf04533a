import { basename } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import { type NetworkRules, networkProblem } from '../agent/planning/problems.ts'
import type { IsolationOffer } from '../api/about-server.ts'
import { type IsolationPolicy, isAtLeast, LEVELS, type Level } from '../domain/isolation.ts'
import { present } from '../domain/present.ts'
import { messageOf } from '../lib/message-of.ts'
import { type CommandLimits, commandPath, policyOf, type Wanted } from '../runner/command.ts'
import { makeControlGroup, removeControlGroup } from '../runner/control-group.ts'
import { canLimitMemory } from '../runner/processes.ts'
import type { ControlGroup } from '../runner/protocol.ts'
import { DEFAULT_LIMITS } from '../runner/run-command.ts'
import type { Runner } from '../runner/runner.ts'
import { chooseIsolation, type Isolation } from '../sandbox/isolation.ts'
import type { Settings } from './settings.ts'

const MIB = 1024 * 1024

/** How commands run on a server. */
export type Commands = { readonly isolation: Isolation; readonly limits: ChosenLimits }

/** The limits of commands, and what a person should know about them. */
type ChosenLimits = {
  readonly limits: CommandLimits
  /** Who keeps the limit of memory, as a sentence. */
  readonly detail: string
}

/** Finds out how commands can run here, by the settings. A trial takes a moment. */
export async function chooseCommands(settings: Settings, runner: Runner): Promise<Commands> {
  const { RETRAI_DATA_DIR: dataDir, RETRAI_ISOLATION: wanted, RETRAI_TOOL_PATHS = [] } = settings
  const env = { ...process.env, PATH: commandPath(process.env.PATH) }
  const { RETRAI_ARTIFACTS: kept } = settings
  const artifacts = typeof kept === 'string' ? { artifacts: kept } : {}
  const place = { runner, dataDir, env, toolPaths: RETRAI_TOOL_PATHS, ...artifacts }
  const [isolation, limits] = await Promise.all([
    chooseIsolation(wanted, place),
    chooseLimits(settings, runner),
  ])
  return { isolation, limits }
}

/** The limits of commands by the settings, in a control group if one can be made here. */
async function chooseLimits(settings: Settings, runner: Runner): Promise<ChosenLimits> {
  const { RETRAI_COMMAND_MEMORY_MIB: mib, RETRAI_COMMAND_ENV: variables = [] } = settings
  const memoryBytes = mib === undefined ? DEFAULT_LIMITS.memoryBytes : mib * MIB
  const { all: most } = DEFAULT_LIMITS
  const all = { ...most, memoryBytes: Math.max(memoryBytes, most.memoryBytes) }
  const limits = { ...DEFAULT_LIMITS, memoryBytes, all, variables }
  const group = await chooseControlGroup(runner, limits)
  return { limits: { ...limits, group: group.unwrapOr(null) }, detail: detailOf(group) }
}

function detailOf(group: Result<ControlGroup, string>): string {
  if (!canLimitMemory) {
    return 'Memory and processes of commands are not limited: there is no /proc that reports what they use.'
  }
  return group.match(
    () => 'The kernel limits the memory and the processes of commands (control groups).',
    (why) =>
      `The memory of commands is watched five times a second, not limited by the kernel: no control group can be made (${why}).`,
  )
}

/** Any host, to find out whether a run may name hosts. */
const SOME_HOST = 'example.org'

/** What a run may ask for on this server. A stricter level than its own is tried when this is first called. */
export async function isolationOffer(
  isolation: Pick<Isolation, 'level' | 'detail' | 'atLeast'>,
  rules: NetworkRules,
  limits: CommandLimits,
): Promise<IsolationOffer> {
  const { level: own, detail } = isolation
  const hosts = typeof rules.most === 'string' ? null : rules.most
  const offered = async (level: Level) => {
    const kept = await isolation.atLeast(level)
    const at = { ...rules, level }
    const named = { allow: hosts ?? [SOME_HOST] }
    return {
      level,
      problem: kept.isErr() ? kept.error : null,
      hosts_problem: networkProblem(named, undefined, at),
      full_problem: networkProblem('full', undefined, at),
    }
  }
  const possible = own === null ? [] : LEVELS.filter((level) => isAtLeast(level, own))
  const levels = await Promise.all(possible.map(offered))
  const { memoryBytes, processes, outputBytes, homeBytes } = limits
  const shown = { memory_bytes: memoryBytes, output_bytes: outputBytes, home_bytes: homeBytes }
  return { level: own, detail, levels, hosts, limits: { ...shown, processes } }
}

const WITHIN_MS = 10_000
/** Ends well when the shell finds itself in a control group within the one named `$1`. */
const SCRIPT = 'grep -qF "/$1/" /proc/self/cgroup'

/** Makes the control group of a server and tries it with a command. The error, a part of a sentence, says why not. */
async function chooseControlGroup(
  runner: Runner,
  limits: CommandLimits,
): Promise<Result<ControlGroup, string>> {
  const made = makeControlGroup(limits.all)
  if (made.isErr()) return err(made.error)
  const { folder } = made.value
  const args = ['-c', SCRIPT, 'sh', basename(folder)]
  const call = runner.start({
    file: '/bin/sh',
    args,
    cwd: '/',
    project: '/',
    env: { PATH: '/usr/bin:/bin' },
    timeoutMs: WITHIN_MS,
    limits,
    group: made.value,
    sandbox: null,
  })
  call.stdout.resume()
  call.stderr.resume()
  const ended = await call.ended
  if (ended.end === 'exited' && ended.exitCode === 0) return ok(made.value)
  removeControlGroup(made.value)
  return err(`a trial ended with ${ended.end}${'message' in ended ? `: ${ended.message}` : ''}`)
}

/** Why a run is refused: the field of the request, and a sentence for its author. */
type Refusal = { readonly field: string; readonly message: string }

/** The policy for the commands of a run in a project. */
export async function policyOfRun(
  own: Isolation,
  limits: CommandLimits,
  project: string,
  { atLeast, network }: Wanted,
): Promise<Result<IsolationPolicy, Refusal>> {
  const refused = (message: string) => err({ field: 'isolation', message })
  if (atLeast !== null && own.level !== null && !isAtLeast(atLeast, own.level)) {
    return refused(
      `This server isolates commands at the level ${own.level}. A run may ask for a stricter level, never for a weaker one.`,
    )
  }
  const isolation = atLeast === null ? ok(own) : await own.atLeast(atLeast)
  if (isolation.isErr()) return refused(isolation.error)
  try {
    const facts = isolation.value.factsFor(project, network)
    const { level, ...policy } = policyOf(isolation.value, facts, limits, network)
    return ok({ level, ...present({ at_least: atLeast }), ...policy })
  } catch (cause) {
    return refused(`Commands cannot be isolated in this folder: ${messageOf(cause)}.`)
  }
}
