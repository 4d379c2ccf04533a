import { err, type Result } from 'neverthrow'
import { processMask } from '../../log/masking.ts'
import { readWhole } from '../../workspace/read-file.ts'
import type { Workspace } from '../../workspace/workspace.ts'
import { describeProblem } from '../tools/path-problem.ts'
import type { Coverage } from './coverage-report.ts'
import { FIT, type Fit, type Goal, type GoalContext, type GoalVerdict } from './goal.ts'
import { parseApart, toResult } from './parse-apart.ts'
import { firstOf, scriptOf } from './project-files.ts'
import { BUILD_CHECK_MS, cannotCheck, inBash, NO_BASH, runCheck } from './run-check.ts'
import { lacksProgram, missesOf } from './shell-goal.ts'
import { nameList, oneLine, tail } from './text.ts'
import { failureDetails, knownFailures } from './what-failed.ts'

/** Where coverage tools write their reports by default. */
const REPORTS = [
  'coverage/coverage-summary.json',
  'coverage/lcov.info',
  'coverage.json',
  'coverage.xml',
  'lcov.info',
  'coverage.out',
  'cover.out',
]
/** How many of the failed tests are named. */
const NAMED = 5
/** Where test runners write which tests failed, if their output does not name them. */
const TEST_REPORTS = [
  ...['junit.xml', 'report.xml', 'test-results.xml', 'test-report.xml'],
  ...['reports/junit.xml', 'coverage/junit.xml', 'test-results/junit.xml'],
]
const MAX_REPORT_BYTES = 16 * 1024 * 1024
/** How many of the files with the least coverage the model reads. */
const FILES_SHOWN = 15

/** When files were last changed; null if there is no such file. */
type Changes = ReadonlyMap<string, string | null>

async function changesOf(files: Workspace, paths: readonly string[]): Promise<Changes> {
  const found = await files.ask('changed', { paths })
  const changed = found.isOk() ? found.value.changed : []
  return new Map(paths.map((path, at) => [path, changed[at] ?? null]))
}

/** The first report that has changed since `before`: an old one says nothing about the present code. */
async function writtenSince(files: Workspace, before: Changes): Promise<string | null> {
  const now = await changesOf(files, [...before.keys()])
  const isNew = ([path, at]: readonly [string, string | null]) =>
    at !== null && at !== before.get(path)
  return [...now].find(isNew)?.[0] ?? null
}

async function readCoverage(
  { files, signal }: GoalContext,
  path: string,
): Promise<Result<Coverage, string>> {
  const read = await readWhole(files, { path, maxBytes: MAX_REPORT_BYTES, signal })
  if (read.isErr()) return err(describeProblem(path, read.error.problem))
  const parsed = await parseApart('coverage', [read.value.content.toString()], signal)
  return parsed.andThen(toResult)
}

/** The tests that failed by the JUnit report that the check wrote, as a part of a sentence; '' if the report names no such test. */
async function failedIn({ files, signal }: GoalContext, before: Changes): Promise<string> {
  const path = await writtenSince(files, before)
  if (path === null) return ''
  const read = await readWhole(files, { path, maxBytes: MAX_REPORT_BYTES, signal })
  if (read.isErr()) return ''
  const parsed = await parseApart('junit', [read.value.content.toString()], signal)
  const cases = parsed.andThen(toResult).unwrapOr([])
  const failed = cases.filter(({ outcome }) => outcome === 'failed').map(({ name }) => name)
  const first = failed.slice(0, NAMED).map((name) => processMask.text(name))
  return failed.length === 0 ? '' : `failing: ${nameList(first, failed.length)} (${path})`
}

const rounded = (percent: number): string => `${Math.floor(percent * 100) / 100} %`

function judge({ percent, files }: Coverage, wanted: number, report: string): GoalVerdict {
  const reached = percent >= wanted
  const reason = `The coverage is ${rounded(percent)}, ${reached ? 'at least' : 'less than'} ${wanted} % (${report})`
  const least = files
    .filter((file) => file.percent < 100)
    .slice(0, FILES_SHOWN)
    .map((file) => `${rounded(file.percent)} ${oneLine(file.name)}`)
  const details = least.length === 0 ? '' : `The least covered files:\n${least.join('\n')}`
  return { verdict: reached ? 'achieved' : 'not_achieved', reason, details }
}

const noReport = (report: string | undefined): string =>
  report === undefined
    ? `wrote no report in any of the usual places (${REPORTS.join(', ')}): name it as the option report`
    : `did not write ${report}`

async function check(context: GoalContext): Promise<GoalVerdict> {
  const { files, config } = context
  const { shell_goal: goal, goal_options: options = {} } = config
  const { min_percent, report } = options
  if (goal === null || min_percent === undefined) {
    return cannotCheck('This run has no command or no min_percent: start a new run with both')
  }
  const before = await changesOf(files, report === undefined ? REPORTS : [report])
  const testsBefore = await changesOf(files, TEST_REPORTS)
  const command = `\`${oneLine(goal.check_command, 80)}\``
  const ran = await runCheck(context, {
    tool: command,
    programs: [inBash(goal.check_command)],
    missing: NO_BASH,
    timeoutMs: BUILD_CHECK_MS,
  })
  if (ran.isErr()) return ran.error
  const ended = ran.value
  const misses = missesOf(goal, ended)
  if (misses.length > 0) {
    const lacking = lacksProgram(ended)
    const known = lacking
      ? ''
      : knownFailures(ended.output) || (await failedIn(context, testsBefore))
    const reason = `${command} failed: ${[...misses, known].filter(Boolean).join('; ')}`
    const verdict = lacking ? 'cannot_check' : 'not_achieved'
    return { verdict, reason, details: failureDetails(ended.output) }
  }
  const written = await writtenSince(files, before)
  if (written === null) {
    const reason = `${command} succeeded, but ${noReport(report)}`
    return { verdict: 'not_achieved', reason, details: tail(ended.output) }
  }
  const coverage = await readCoverage(context, written)
  return coverage.match(
    (read) => judge(read, min_percent, written),
    (problem) => ({
      verdict: 'not_achieved',
      reason: `The report ${written} cannot be read: ${problem}`,
      details: tail(ended.output),
    }),
  )
}

/** It needs a command and a percentage, so it is shown only where a project has a script for it. */
async function detect(files: Workspace): Promise<Fit | null> {
  if ((await scriptOf(files, 'coverage')) !== null) {
    return { fit: FIT.quality, because: 'package.json has a coverage script' }
  }
  const settings = await firstOf(files, ['.coveragerc', '.nycrc', '.nycrc.json', '.c8rc.json'])
  return settings === null ? null : { fit: FIT.quality, because: `there is a ${settings}` }
}

export const coverage: Goal = {
  name: 'coverage',
  description: 'The tests pass, and run at least min_percent of the code',
  prompt:
    'Make the tests pass and cover at least `min_percent` percent of the code, by the report that the command of the check ' +
    'writes. Write tests that check what the code does: tests without assertions, settings that leave code out of the ' +
    'report, and reports written by hand do not count.',
  takes: {
    check: 'required',
    options: { min_percent: 'required', report: 'optional' },
  },
  detect,
  check,
}
