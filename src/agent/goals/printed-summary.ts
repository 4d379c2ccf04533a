import { stripVTControlCharacters } from 'node:util'
import type { TestSummary } from './test-summary.ts'

type Counts = Pick<TestSummary, 'passed' | 'failed' | 'skipped' | 'expectedFailures'>

/** How a test runner closes its output. */
type Runner = {
  /** Lines that hold its totals, each number beside a word. */
  readonly totals: RegExp
  /** Names of failed tests, looked for behind `after` where that is given. */
  readonly failed?: RegExp
  readonly after?: string
}

const RUNNERS: Readonly<Record<string, Runner>> = {
  node: {
    totals: /^ℹ (?:pass|fail|cancelled|skipped|todo) \d+$/gm,
    failed: /^✖ (.+) \([\d.]+ms\)$/gm,
    after: '✖ failing tests:',
  },
  tap: {
    totals: /^# +(?:pass|fail|cancelled|skipped|todo) +\d+$/gm,
    // Not a suite that failed only because of its tests, nor a test that is still to be done.
    failed:
      /^ *not ok \d+ -? ?((?!.*# TODO).+)$(?!\n +---\n(?:(?! *(?:\.\.\.$|(?:not )?ok )).*\n)*? +failureType: 'subtestsFailed')/gm,
  },
  jest: { totals: /^Tests: +.*\d+ total$/gm, failed: /^ {2}● (.+ › .+)$/gm },
  vitest: { totals: /^ *Tests +(?:no tests|.*\(\d+\))$/gm, failed: /^ *FAIL +(\S+ > .+)$/gm },
  mocha: { totals: /^ +\d+ (?:passing|failing|pending)\b/gm },
  bun: {
    totals: /^ *\d+ (?:pass|fail|skip|todo)$/gm,
    failed: /^\(fail\) (.+?)(?: \[[\d.]+m?s\])?$/gm,
  },
  pytest: {
    totals: /^=* ?(?:no tests ran|\d+ (?:passed|failed|skipped|xfailed|error)\b.*) in [\d.]+s\b/gm,
    failed: /^(?:FAILED|ERROR) (\S+)/gm,
  },
  cargo: {
    totals: /^test result: \S+ \d+ passed; \d+ failed;.*$/gm,
    failed: /^test (.+?)(?: - should panic)? \.\.\. FAILED$/gm,
  },
}

/** Characters at the end of the output that are looked at: totals stand at the end. */
const LIMIT = 1024 * 1024

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

/** The numbers of one line: "3 passed, 1 failed", or "pass 3" as node and TAP have it. */
function countsIn(line: string): Counts {
  const counts = { passed: 0, failed: 0, skipped: 0, expectedFailures: 0 }
  const pair = /^[#ℹ]/.test(line) ? /(?<word>[a-z]+) +(?<n>\d+)/g : /(?<n>\d+) +(?<word>[a-z]+)/g
  for (const { groups } of line.matchAll(pair)) {
    const outcome = WORDS.get(groups?.word ?? '')
    if (outcome !== undefined) counts[outcome] += Number(groups?.n)
  }
  return counts
}

function readRunner(output: string, { totals, failed, after }: Runner): TestSummary | null {
  const lines = output.match(totals)
  if (lines === null) return null
  const counts = lines.map(countsIn)
  const total = (outcome: keyof Counts) => counts.reduce((sum, line) => sum + line[outcome], 0)
  const section = after === undefined ? output : output.slice(Math.max(0, output.indexOf(after)))
  const found = failed === undefined ? [] : [...section.matchAll(failed)]
  const names = [...new Set(found.map(([, name = '']) => name))].slice(0, total('failed'))
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
 * Reads the totals that well-known test runners print for people, all of them added up where a
 * command ran several. Null where there are none: then the exit code is all there is to go by.
 */
export function readPrintedSummary(output: string): TestSummary | null {
  const end = output.slice(-LIMIT)
  const plain = stripVTControlCharacters(end).replaceAll('\r\n', '\n')
  const found = Object.values(RUNNERS)
    .map((runner) => readRunner(plain, runner))
    .filter((summary) => summary !== null)
  return found.length === 0 ? null : found.reduce(add)
}
