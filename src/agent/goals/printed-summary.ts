import { stripTerminalCodes } from '../../domain/terminal-codes.ts'
import type { GoalVerdict } from './goal.ts'
import { endedWith } from './run-check.ts'
import { judgeTests, type TestRun, type TestSummary } from './test-summary.ts'
import { lastLine, tail } from './text.ts'
import { failureDetails, whatFailed } from './what-failed.ts'

type Counts = Pick<TestSummary, 'passed' | 'failed' | 'skipped' | 'expectedFailures'>

/**
 * How a test runner ends its output. The patterns match within one line, from its start, and no two neighbouring parts
 * of a pattern match the same characters, so their time is linear in the line.
 */
type Runner = {
  /** Whether a line has totals, each number beside a word. */
  readonly totals: (line: string) => boolean
  /** A line that names a failed test, after the line `after` if there is one. */
  readonly failed?: RegExp
  readonly after?: string
}

const matches =
  (pattern: RegExp) =>
  (line: string): boolean =>
    pattern.test(line)

const RUNNERS: Readonly<Record<string, Runner>> = {
  node: {
    totals: matches(/^ℹ (?:pass|fail|cancelled|skipped|todo) \d+$/),
    failed: /^✖ (.+) \([\d.]+ms\)$/,
    after: '✖ failing tests:',
  },
  tap: {
    totals: matches(/^# +(?:pass|fail|cancelled|skipped|todo) +\d+$/),
    // Without tests that are marked TODO; see also `withoutSuites`.
    failed: /^ *not ok \d+ -? ?((?!.*# TODO).+)$/,
  },
  jest: {
    totals: (line) => line.startsWith('Tests: ') && /\d total$/.test(line),
    failed: /^ {2}● (.+ › .+)$/,
  },
  vitest: {
    totals: (line) =>
      /^ *Tests /.test(line) && (line.endsWith(' no tests') || /\(\d+\)$/.test(line)),
    failed: /^ *FAIL +(\S+ > .+)$/,
  },
  mocha: { totals: matches(/^ +\d+ (?:passing|failing|pending)\b/) },
  bun: {
    totals: matches(/^ *\d+ (?:pass|fail|skip|todo)$/),
    failed: /^\(fail\) (.+?)(?: \[[\d.]+m?s\])?$/,
  },
  pytest: {
    totals: matches(
      /^=* ?(?:no tests ran|\d+ (?:passed|failed|skipped|xfailed|error)\b.*) in [\d.]+s\b/,
    ),
    failed: /^(?:FAILED|ERROR) (\S+)/,
  },
  cargo: {
    totals: matches(/^test result: \S+ \d+ passed; \d+ failed;/),
    failed: /^test (.+?)(?: - should panic)? \.\.\. FAILED$/,
  },
}

/** How many characters at the end of the output are read: totals are at the end. */
export const PRINTED_LIMIT = 1024 * 1024
/** A longer line has no totals, and no useful name of a test. */
const LINE_LIMIT = 4096

const WORDS: ReadonlyMap<string, keyof Counts> = new Map(
  Object.entries({
    passed: ['pass', 'passed', 'passing', 'xpassed'],
    failed: ['fail', 'failed', 'failing', 'cancelled', 'error', 'errors'],
    skipped: ['skip', 'skipped', 'pending', 'todo', 'ignored'],
    expectedFailures: ['xfailed', 'expected'],
  } satisfies Record<keyof Counts, string[]>).flatMap(([outcome, words]) =>
    words.map((word) => [word, outcome as keyof Counts] as const),
  ),
)

/** The numbers of one line: "3 passed, 1 failed", or "pass 3" in the output of node and TAP. */
function countsIn(line: string): Counts {
  const counts = { passed: 0, failed: 0, skipped: 0, expectedFailures: 0 }
  // A pair begins at the beginning of its number or word, so that a long one is read only once.
  const pair = /^[#ℹ]/.test(line)
    ? /(?<![a-z])(?<word>[a-z]+) +(?<n>\d+)/g
    : /(?<!\d)(?<n>\d+) +(?<word>[a-z]+)/g
  for (const { groups } of line.matchAll(pair)) {
    const outcome = WORDS.get(groups?.word ?? '')
    if (outcome !== undefined) counts[outcome] += Number(groups?.n)
  }
  return counts
}

/** The lines of TAP without those of suites that failed only by their tests, as the details after such a line show. */
function withoutSuites(lines: readonly string[]): readonly string[] {
  const suites = new Set<number>()
  let open: number | null = null
  for (const [index, line] of lines.entries()) {
    if (/^ *not ok /.test(line)) {
      open = /^ +---$/.test(lines[index + 1] ?? '') ? index : null
    } else if (/^ *(?:\.\.\.$|ok )/.test(line)) {
      open = null
    } else if (open !== null && /^ +failureType: 'subtestsFailed'/.test(line)) {
      suites.add(open)
    }
  }
  return suites.size === 0 ? lines : lines.filter((_, index) => !suites.has(index))
}

function readRunner(
  lines: readonly string[],
  { totals, failed, after }: Runner,
): TestSummary | null {
  const counts = lines.filter(totals).map(countsIn)
  if (counts.length === 0) return null
  const total = (outcome: keyof Counts) => counts.reduce((sum, line) => sum + line[outcome], 0)
  const start = after === undefined ? 0 : Math.max(0, lines.indexOf(after))
  const found = failed === undefined ? [] : lines.slice(start).map((line) => failed.exec(line)?.[1])
  const known = new Set(found.filter((name) => name !== undefined))
  const names = [...known].slice(0, total('failed'))
  return {
    passed: total('passed'),
    failed: total('failed'),
    skipped: total('skipped'),
    expectedFailures: total('expectedFailures'),
    failures: names.map((name) => ({ suite: '', name, message: '' })),
    broken: [],
  }
}

function add(one: TestSummary, other: TestSummary): TestSummary {
  return {
    passed: one.passed + other.passed,
    failed: one.failed + other.failed,
    skipped: one.skipped + other.skipped,
    expectedFailures: one.expectedFailures + other.expectedFailures,
    failures: [...one.failures, ...other.failures],
    broken: [],
  }
}

/**
 * Reads the totals that well-known test runners print for people. If a command ran several runners, their totals are
 * added. Null if there are none: then only the exit code counts.
 */
export function readPrintedSummary(output: string): TestSummary | null {
  const plain = stripTerminalCodes(output.slice(-PRINTED_LIMIT))
  const lines = plain
    .split('\n')
    .map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line))
    .filter((line) => line.length <= LINE_LIMIT)
  const found = Object.entries(RUNNERS)
    .map(([name, runner]) => readRunner(name === 'tap' ? withoutSuites(lines) : lines, runner))
    .filter((summary) => summary !== null)
  return found.length === 0 ? null : found.reduce(add)
}

/** Judges a command that runs tests of some kind by the totals it printed, otherwise by its exit code. */
export function judgePrinted(run: TestRun): GoalVerdict {
  const { output, exitCode } = run.ended
  const summary = readPrintedSummary(output)
  if (summary !== null) return judgeTests(summary, run)
  const achieved = exitCode === 0
  const ending = achieved ? 'passed' : endedWith(exitCode)
  const why = achieved ? lastLine(output, run.noise) : whatFailed(output, run.noise)
  const reason = [`${run.tool} ${ending}`, why].filter(Boolean).join(': ')
  return {
    verdict: achieved ? 'achieved' : 'not_achieved',
    reason,
    details: achieved ? tail(output, 1024) : failureDetails(output),
  }
}
