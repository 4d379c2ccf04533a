import { constants } from 'node:os'
import { err, ok, type Result } from 'neverthrow'
import { type Command, type CommandResult, overLimit } from '../../runner/command.ts'
import type { GoalContext, GoalVerdict } from './goal.ts'
import { lastLine, tail } from './text.ts'
import { failureDetails, whatFailed } from './what-failed.ts'

/** Bytes kept of each of stdout and stderr: enough for the machine output of large test suites. */
const MAX_BYTES = 32 * 1024 * 1024
const MINUTE_MS = 60_000

/** Time limit of checks that compile little. */
export const SHORT_CHECK_MS = 10 * MINUTE_MS
/** Time limit of checks that may build a whole project first. */
export const BUILD_CHECK_MS = 20 * MINUTE_MS

/** A command that ended by itself. */
export type Exited = CommandResult & { readonly exitCode: number }

export type Program = Pick<Command, 'file' | 'args'>

export type Check = {
  /** The command as people know it: "pytest", "cargo test". */
  readonly tool: string
  /** The ways to run it, best first. The first whose program exists is used. */
  readonly programs: readonly [Program, ...Program[]]
  /** For an interpreter that runs but lacks the requested module. */
  readonly isMissing?: (ended: Exited) => boolean
  /** The reason for people if none of the programs exists. */
  readonly missing: string
  readonly timeoutMs: number
  readonly env?: Readonly<Record<string, string>>
  /** Added if the run has its own command instead of the programs, so that its result can be read in the same way. */
  readonly envOfCommand?: Readonly<Record<string, string>>
  /** Whether its time counts. Then its home is empty, so that nothing stored in it makes the check faster. */
  readonly isTimed?: boolean
  /** Folders outside of the project that it writes its report into. */
  readonly writable?: readonly string[]
}

export const NO_BASH = 'bash is not installed: install it with the package manager of the system'

export const inBash = (command: string): Program => ({ file: 'bash', args: ['-c', command] })

export function isExited(result: CommandResult): result is Exited {
  return result.end === 'exited' && result.exitCode !== null
}

/**
 * The environment of a command of a check. Go caches test results with what it compiles, and looks only at some of
 * their dependencies, so a check runs the tests anyway.
 */
export function checkEnvironment(
  ...all: readonly (Readonly<Record<string, string>> | undefined)[]
): Record<string, string> {
  const flags = all.flatMap((env) => env?.GOFLAGS ?? [])
  return { ...Object.assign({}, ...all), GOFLAGS: [...flags, '-count=1'].join(' ') }
}

function verdict(reason: string, details = ''): GoalVerdict {
  return { verdict: 'not_achieved', reason, details }
}

/** A verdict if there is nothing to check the goal with: no program, no rule, no script. */
export const cannotCheck = (reason: string, details = ''): GoalVerdict => ({
  verdict: 'cannot_check',
  reason,
  details,
})

/** A verdict for a check whose tool ended without a readable result. */
export function noResult(
  tool: string,
  ended: Exited,
  problem: string,
  noise?: RegExp,
): GoalVerdict {
  const why = whatFailed(ended.output, noise)
  const reason = `${tool} ${endedWith(ended.exitCode)} and ${problem}`
  return verdict(why === '' ? reason : `${reason}: ${why}`, failureDetails(ended.output))
}

/** A verdict for a check whose output cannot be read within its limits. */
export const unreadable = (tool: string, ended: Exited, problem: string): GoalVerdict =>
  noResult(tool, ended, `its output cannot be read (${problem})`)

/** "ended with exit code 1", "was ended by SIGSEGV (exit code 139)". */
export function endedWith(exitCode: number): string {
  const signal = Object.entries(constants.signals).find(([, number]) => number === exitCode - 128)
  if (exitCode <= 128 || signal === undefined) return `ended with exit code ${exitCode}`
  return `was ended by ${signal[0]} (exit code ${exitCode})`
}

function howLong(ms: number): string {
  const minutes = ms / MINUTE_MS
  return Number.isInteger(minutes) ? `${minutes} minutes` : `${Math.round(ms / 1000)} seconds`
}

/**
 * Runs the command of a check in the project: that of the run if it has one, or the first of its programs that exists. If
 * it does not end by itself, that is a verdict.
 */
export async function runCheck(
  { config, signal, runCommand }: GoalContext,
  check: Check,
): Promise<Result<Exited, GoalVerdict>> {
  const { isMissing = () => false, timeoutMs, envOfCommand = {}, writable = [] } = check
  const own = config.shell_goal
  const isTimed = check.isTimed ?? own?.success_condition.max_seconds !== undefined
  const programs = own === null ? check.programs : [inBash(own.check_command)]
  const missing = own === null ? check.missing : NO_BASH
  const env = own === null ? check.env : { ...check.env, ...envOfCommand }
  for (const program of programs) {
    const command = {
      ...program,
      cwd: config.cwd,
      timeoutMs,
      maxBytes: MAX_BYTES,
      env: env ?? {},
      writable,
      signal,
      ...(isTimed ? { checkHome: null } : {}),
    }
    let result = await runCommand(command)
    // A check changes no record, so it is repeated as after a crash of the server.
    if (result.end === 'lost') result = await runCommand(command)
    if (result.end === 'not_found') continue
    if (!isExited(result)) return err(interrupted(check, result))
    if (isMissing(result)) continue
    return ok(result)
  }
  return err(cannotCheck(missing))
}

const RUNNER_DIED = 'because the process that runs commands died twice during it'

const AT_LIMIT: ReadonlySet<CommandResult['end']> = new Set([
  ...(['out_of_memory', 'too_many_processes', 'disk_full', 'too_much_output'] as const),
])

function interrupted({ tool, timeoutMs }: Check, result: CommandResult): GoalVerdict {
  const { end, output } = result
  if (end === 'aborted') return verdict(`${tool} was stopped together with the run`)
  if (end === 'timed_out') {
    const reason = `${tool} did not finish within ${howLong(timeoutMs)} and was stopped`
    return verdict(reason, tail(output))
  }
  if (AT_LIMIT.has(end)) {
    return verdict(`${tool} ${overLimit(result)} and was stopped`, tail(output))
  }
  // The next check may succeed.
  if (end === 'lost') return verdict(`How ${tool} ended is not known, ${RUNNER_DIED}`, tail(output))
  const lastOutput = lastLine(output)
  const reason = `${tool} could not be started${lastOutput === '' ? '' : `: ${lastOutput}`}`
  return cannotCheck(reason, tail(output))
}

/** Room for the line that replaces dropped output. */
const DROP_NOTE_BYTES = 64

/** A verdict if the middle of the output was dropped: there may be failures in it. Null if all of it was kept. */
export function tooLong(
  tool: string,
  { bytes, stdout, stderr, ...ended }: Exited,
): GoalVerdict | null {
  const kept = Buffer.byteLength(stdout) + Buffer.byteLength(stderr)
  if (bytes <= MAX_BYTES || bytes - DROP_NOTE_BYTES <= kept) return null
  const size = `${Math.round(bytes / 1024 / 1024)} MiB`
  const reason = `${tool} ${endedWith(ended.exitCode)}, but printed ${size}, too much to read its result from`
  return verdict(reason, tail(ended.output))
}
