import os from 'node:os'
import { err, ok, type Result } from 'neverthrow'
import { present } from '../domain/present.ts'
import { counted } from '../lib/text.ts'
import type { Command, CommandResult } from '../runner/command.ts'
import type { Report } from '../workspace/protocol.ts'
import type { Workspace } from '../workspace/workspace.ts'
import { describeProblem } from '../workspace/workspace-process.ts'
import {
  achieved,
  cannotCheck,
  DETAILS_LIMIT,
  type GoalContext,
  type GoalVerdict,
  joined,
  lastLine,
  nameList,
  notAchieved,
  oneLine,
  tail,
} from './goal.ts'

/** Bytes kept of each of stdout and stderr: enough for the output of large test suites. */
const MAX_BYTES = 32 * 1024 * 1024
const MINUTE_MS = 60_000

/** A command that ended by itself. */
export type Exited = CommandResult & { readonly exitCode: number }

export type Program = Pick<Command, 'file' | 'args'>

export type CheckCommand = {
  /** The command as people know it: "pytest", "cargo test". */
  readonly tool: string
  /** The ways to run it, best first. The first whose program exists is used. */
  readonly programs: readonly Program[]
  /** What an interpreter that runs, but lacks the requested module, prints to stderr. */
  readonly lacks?: RegExp
  /** The reason for people if none of the programs exists. */
  readonly missing: string
  readonly timeoutMs: number
  readonly env?: Readonly<Record<string, string>>
}

/** How a tool is run, and how what it reports is judged. */
export type ToolCheck = Pick<CheckCommand, 'tool' | 'lacks' | 'missing' | 'env'> & {
  readonly minutes: number
  /** What the project lacks, so that the tool's own command can check nothing: a sentence for people; null if nothing. */
  readonly needs?: (files: Workspace) => Promise<string | null>
  readonly programs: (files: Workspace) => readonly Program[] | Promise<readonly Program[]>
  /** What makes a command of the run print like the tool's own. */
  readonly envOfCommand?: Readonly<Record<string, string>>
  /** Left out: it runs no tests, and its exit code decides. */
  readonly tests?: {
    /** Whether it always reports how many tests it ran. If not, the exit code decides without that. */
    readonly areCounted: boolean
    /** Where it looks for tests: the reason if there are none. */
    readonly where: string
    /** Its exit code if it found none, if that is not 0. */
    readonly noneExitCode?: number
  }
  /** Lines of its output without information. */
  readonly noise?: RegExp
  /** Lines that are only printed for their names of tests. They are not shown. */
  readonly hidden?: RegExp
  /** What it prints if it succeeds without having done its work, and the reason for people. */
  readonly nothing?: readonly [printed: RegExp, reason: string]
  /** What it prints if there is nothing that it could check. */
  readonly cannot?: RegExp
  /** What a run without a network lacks if the tool finds no host or no program, as the end of a sentence. */
  readonly withoutNetwork?: string
}

/** A command of a run, for bash. */
export const inBash = (command: string): Pick<CheckCommand, 'programs' | 'missing'> => ({
  programs: [{ file: 'bash', args: ['-c', command] }],
  missing: 'bash is not installed: install it with the package manager of the system',
})

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

/** "ended with exit code 1", "was ended by SIGSEGV (exit code 139)". */
export function endedWith({ exitCode }: Exited): string {
  const signal = Object.entries(os.constants.signals).find(
    ([, number]) => number === exitCode - 128,
  )
  if (exitCode <= 128 || signal === undefined) return `ended with exit code ${exitCode}`
  return `was ended by ${signal[0]} (exit code ${exitCode})`
}

function howLong(ms: number): string {
  const minutes = ms / MINUTE_MS
  return Number.isInteger(minutes) ? `${minutes} minutes` : `${Math.round(ms / 1000)} seconds`
}

const isExited = (result: CommandResult): result is Exited =>
  result.end === 'exited' && result.exitCode !== null

/** Runs the first of the programs of a check that exists, in the project. If it does not end by itself, that is a verdict. */
export async function runCheck(
  { config, signal, runCommand }: GoalContext,
  check: CheckCommand,
): Promise<Result<Exited, GoalVerdict>> {
  const { programs, lacks, missing, timeoutMs, env = {} } = check
  // Nothing that is stored in its home makes a check faster whose time counts.
  const isTimed = config.shell_goal?.success_condition.max_seconds !== undefined
  for (const program of programs) {
    const command = {
      ...program,
      cwd: config.cwd,
      timeoutMs,
      maxBytes: MAX_BYTES,
      env,
      signal,
      ...(isTimed ? { checkHome: null } : {}),
    }
    let result = await runCommand(command)
    // A check changes no record, so it is repeated as after a crash of the server.
    if (result.end === 'lost') result = await runCommand(command)
    if (result.end === 'not_found') continue
    if (!isExited(result)) return err(interrupted(check, result))
    if (result.exitCode !== 0 && lacks?.test(result.stderr)) continue
    return ok(result)
  }
  return err(cannotCheck(missing))
}

function interrupted({ tool, timeoutMs }: CheckCommand, result: CommandResult): GoalVerdict {
  const { end, output } = result
  const stopped = (reason: string) => notAchieved(reason, tail(output))
  switch (end) {
    case 'aborted':
      return notAchieved(`${tool} was stopped together with the run`)
    case 'timed_out':
      return stopped(`${tool} did not finish within ${howLong(timeoutMs)} and was stopped`)
    case 'lost':
      // The next check may succeed.
      return stopped(
        `How ${tool} ended is not known, because the process that runs commands died twice during it`,
      )
    case 'out_of_memory':
    case 'too_many_processes':
    case 'disk_full':
    case 'too_much_output':
      return stopped(`${tool} ${result.why} and was stopped`)
    default:
      return cannotCheck(
        joined(': ', `${tool} could not be started`, lastLine(output)),
        tail(output),
      )
  }
}

/** A verdict if so much was printed that a part of it may have been dropped: there may be failures in it. */
export function tooLong(tool: string, ended: Exited): GoalVerdict | null {
  const { bytes, output } = ended
  if (bytes <= MAX_BYTES) return null
  const size = `${Math.round(bytes / 1024 / 1024)} MiB`
  const reason = `${tool} ${endedWith(ended)}, but printed ${size}, too much to read its result from`
  return notAchieved(reason, tail(output))
}

/** Outputs of ordinary size take a second, but the machine may be busy. */
const READ_WITHIN_MS = 60_000

/**
 * Reads what tools print for people. The program that serves the project's files reads it, so neither its content nor its
 * length concerns this process. The error is for people.
 */
export async function readReport(
  { files, signal }: Pick<GoalContext, 'files' | 'signal'>,
  output: string,
): Promise<Result<Report, string>> {
  const options = { body: Buffer.from(output), signal, withinMs: READ_WITHIN_MS }
  const read = await files.ask('report', {}, options)
  return read.isOk() ? ok(read.value) : err(describeProblem('the output', read.error.problem))
}

/** The failed tests and the first error that a tool printed, as a part of a sentence; '' if none is known. */
export function knownFailures({ failures, errors, error }: Report): string {
  const more = errors > 1 ? ` (and ${errors - 1} more)` : ''
  return joined(
    '; ',
    failures.length > 0 && `failing: ${nameList(failures)}`,
    error !== '' && `${oneLine(error)}${more}`,
  )
}

/** The end of the output of a tool that failed, after its first error if that is not in the end. */
export function failureDetails({ excerpt }: Report, output: string): string {
  const end = tail(output)
  const [firstLine = ''] = excerpt.split('\n')
  if (firstLine === '' || end.includes(firstLine)) return end
  const head = excerpt.slice(0, DETAILS_LIMIT / 2)
  return `${head}\n[…]\n${tail(output, DETAILS_LIMIT - head.length)}`
}

/** What a report says of the tests that ran. */
export function testsOf({ counts, tests }: Report): Pick<GoalVerdict, 'tests' | 'names'> {
  const { passed, failed, skipped } = counts ?? NO_COUNTS
  return { ...(counts && { tests: passed + failed + skipped }), ...present({ names: tests }) }
}

type TestTool = Pick<ToolCheck, 'tool' | 'noise'> & Required<Pick<ToolCheck, 'tests'>>

const NO_COUNTS = { passed: 0, failed: 0, skipped: 0, expectedFailures: 0 }

/** Judges a test run: achieved only if at least one test passed, none failed and the tool itself succeeded. */
export function judgeTests(report: Report, check: TestTool, ended: Exited): GoalVerdict {
  const { tool, noise, tests } = check
  const { exitCode, output } = ended
  const counts = report.counts ?? NO_COUNTS
  const { passed, failed } = counts
  const others = otherCounts(counts)
  if (failed > 0) {
    const failing = `${failed} of ${counted(passed + failed, 'test')} failing`
    const named = joined(': ', failing, nameList(report.failures, failed))
    // For example a script that ends with `|| true`.
    const hidden = exitCode === 0 && `${tool} hides this with exit code 0`
    return notAchieved(joined('; ', named, others, hidden), failureDetails(report, output))
  }
  const why = knownFailures(report) || lastLine(output, noise)
  if (passed === 0) {
    const isEmpty = exitCode === 0 || exitCode === tests.noneExitCode
    const how = isEmpty ? tests.where : `${tool} ${endedWith(ended)}: ${why}`
    const reason = others === '' ? `No test was run: ${how}` : `No test passed: ${others}`
    return notAchieved(reason, isEmpty ? tail(output) : failureDetails(report, output))
  }
  const all = passed === 1 ? '1 test passed' : `All ${passed} tests passed`
  const reason = joined(', ', all, others)
  if (exitCode === 0) return achieved(reason, tail(output, 1024))
  const but = `${reason}, but ${tool} ${endedWith(ended)}: ${why}`
  return notAchieved(but, failureDetails(report, output))
}

const otherCounts = ({ skipped, expectedFailures }: NonNullable<Report['counts']>): string =>
  joined(
    ', ',
    skipped > 0 && `${skipped} skipped`,
    expectedFailures > 0 && counted(expectedFailures, 'expected failure'),
  )
