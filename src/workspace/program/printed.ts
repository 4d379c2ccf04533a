import { stripTerminalCodes } from '../../domain/texts.ts'
import type { Report } from '../protocol.ts'

type Counts = NonNullable<Report['counts']>

/** A longer line has no totals and names no test. Of an error, this much is read. */
const LINE_CHARACTERS = 1000
/** The most lines of a compiler's message, with its place and its lines of code. */
const EXCERPT_LINES = 12
const MOST_NAMES = 1000

/** Lines with totals, each number beside a word. All patterns here begin at the beginning of a line. */
const TOTALS: readonly RegExp[] = [
  // node --test, TAP
  /^[ℹ#] +(?:pass|fail|cancelled|skipped|todo) +\d+$/,
  // jest
  /^Tests: .*\d total$/,
  // vitest
  /^ *Tests .*(?: no tests|\(\d+\))$/,
  // mocha
  /^ +\d+ (?:passing|failing|pending)\b/,
  // bun
  /^ *\d+ (?:pass|fail|skip|todo)$/,
  // pytest
  /^=* ?(?:no tests ran|\d+ (?:passed|failed|skipped|xfailed|error)\b.*) in [\d.]+s\b/,
  // cargo test
  /^test result: \S+ \d+ passed; \d+ failed;/,
]

/** The words for each outcome. */
const WORDS: Readonly<Record<keyof Counts, readonly string[]>> = {
  passed: ['pass', 'passed', 'passing', 'xpassed'],
  failed: ['fail', 'failed', 'failing', 'cancelled', 'error', 'errors'],
  skipped: ['skip', 'skipped', 'pending', 'todo', 'ignored'],
  expectedFailures: ['xfailed', 'expected'],
}
const OUTCOMES = new Map(
  (Object.keys(WORDS) as (keyof Counts)[]).flatMap((outcome) =>
    WORDS[outcome].map((word) => [word, outcome] as const),
  ),
)

/** go test -v prints a line for each test instead of totals. The name of a subtest begins with that of its parent and a `/`. */
const GO_TEST = /^ *--- (PASS|FAIL|SKIP): (\S+) \(/
const MOST_LEVELS = 16
const GO_OUTCOMES: Readonly<Record<string, keyof Counts>> = {
  PASS: 'passed',
  FAIL: 'failed',
  SKIP: 'skipped',
}

/** A failed test of TAP, in an output that begins like TAP or has its plan. What follows the name is not a part of it. */
const TAP_FAILED = /^ *not ok(?: \d+)?(?: -)? (?!.*# *(?:todo|skip)\b)(.+?)(?: +# .*)?$/i
const TAP = /^ *(?:TAP version \d+|1\.\.\d+)/

/** Lines that name a failed test. The first patterns have the longest names. */
const FAILED_TESTS: readonly RegExp[] = [
  // go test
  /^ *--- FAIL: (\S+)/,
  // pytest, which names a file that cannot be loaded with its error
  /^ERROR ([^\s:]+\.py(?: - .+)?)$/,
  /^(?:FAILED|ERROR) (\S+\.py::.+?)(?: - .*)?$/,
  // cargo test
  /^test (.+?)(?: - should panic)? \.\.\. FAILED$/,
  // jest
  /^ {2}● (.+ › .+)$/,
  // vitest
  /^ *FAIL +(\S+ > .+)$/,
  // bun
  /^\(fail\) (.+)$/,
  // GoogleTest
  /^\[ {2}FAILED {2}\] ([^\s,]+)(?:, where .*)?(?: \(\d+ ms\))?$/,
  // ctest
  /^\t? *\d+ - (\S+) \((?:Failed|Timeout|SEGFAULT|Subprocess aborted|Not Run)\)/,
  TAP_FAILED,
  // unittest, automake, and what people write themselves
  /^\[?(?:FAIL|FAILED|ERROR)\]?(?:: | +(?=[\w./]+$))(.+)$/,
  /^ *[✗✘✖×] (?!\d+ problem|failing tests:$)(.+)$/,
]
/** How long a test took, which some runners write after its name. */
const DURATION = / [([]?[\d.]+ ?m?s[)\]]?$/
/** Above the list of failed tests of node --test, which also marks the suites of failed tests before. */
const FAILED_IN_NODE = '✖ failing tests:'

/** Lines that are errors, with their place. */
const ERRORS: readonly RegExp[] = [
  // gcc, clang, tsc, mypy, pyright, javac
  /^ *(?=[^:(]*[A-Za-z])[^\s:(][^:(]*(?::\d+|\(\d+)(?:[:,]\d+)?\)?(?::| -) *(?:fatal )?error\b/,
  // go, flake8, ruff: any message that is not less than an error
  /^(?=[^:]*\.\w)[^\s:][^:\s]*:\d+:\d+: (?!warning|note|info|remark|In )\S/,
  // npm and npx without a network
  /^npm error request to \S+ failed\b/,
  // python3 -m
  /^\S*python[\d.]*: No module named \S+$/,
  // the linker
  /^[^\s:][^:]*:.*\b(?:undefined reference to|multiple definition of)\b/,
  // assert of C, Unity
  /^[^\s:][^:]*: ?[^\s:]+:\d+:.*\bAssertion\b.*\bfailed/,
  /^[^\s:]+:\d+:\w+:FAIL\b/,
]
/** An error whose place is on the next line: that of rustc and ruff. */
const ERROR_BEFORE_PLACE = /^(?:error(?:\[E\d+\])?: |[A-Z]+\d+ )/
const PLACE_AFTER = /^ *--> +(\S+:\d+:\d+)/

type Lines = readonly string[]

const isShort = (line: string): boolean => line.length < LINE_CHARACTERS

const zero = (): Counts => ({ passed: 0, failed: 0, skipped: 0, expectedFailures: 0 })

/** The totals of all test runners that printed some, added up; null if none did. */
function countsIn(lines: Lines): Report['counts'] {
  const counts = zero()
  const totals = lines.filter((line) => TOTALS.some((pattern) => pattern.test(line)))
  for (const line of totals) {
    // "3 passed, 1 failed", or "pass 3" in the output of node and TAP.
    const pairs = /^[#ℹ]/.test(line)
      ? line.matchAll(/(?<word>[a-z]+) +(?<n>\d+)/g)
      : line.matchAll(/(?<n>\d+) +(?<word>[a-z]+)/g)
    for (const { groups } of pairs) {
      const outcome = OUTCOMES.get(groups?.word ?? '')
      if (outcome !== undefined) counts[outcome] += Number(groups?.n)
    }
  }
  const tests = goTestsIn(lines)
  for (const outcome of tests) counts[outcome] += 1
  return totals.length + tests.length === 0 ? null : counts
}

/** The outcomes of the tests of Go, without parents that only have those of their subtests. */
function goTestsIn(lines: Lines): readonly (keyof Counts)[] {
  const tests = lines.flatMap((line) => {
    const [, outcome = '', name = ''] = GO_TEST.exec(line) ?? []
    return name === '' ? [] : [{ name, outcome: GO_OUTCOMES[outcome] ?? 'failed' }]
  })
  const above = ({ name }: { readonly name: string }): string[] => {
    const parts = name.split('/', MOST_LEVELS)
    return parts.slice(1).map((_, level) => parts.slice(0, level + 1).join('/'))
  }
  const parents = new Set(tests.flatMap(above))
  const failed = new Set(tests.filter(({ outcome }) => outcome === 'failed').flatMap(above))
  return tests.flatMap(({ name, outcome }) =>
    !parents.has(name) || (outcome === 'failed' && !failed.has(name)) ? [outcome] : [],
  )
}

/** Lines that name a test that passed or failed, as tools write them that name all. */
const RAN: readonly RegExp[] = [
  // pytest -rpfEX
  /^(?<how>PASSED|XPASS|FAILED|ERROR) (?<name>\S+\.py(?:::.+?)?)(?: - .*)?$/,
  // go test -v. Names of subtests may be made of what another run does not have.
  /^--- (?<how>PASS|FAIL): (?<name>\S+) \(/,
  // cargo test. The line of a documentation test is no part of its name.
  /^test (?<name>.+?)(?: \(line \d+\))?(?: - [a-z][a-z ]+)? \.\.\. (?<how>ok|FAILED)$/,
]
/** What go prints after the tests of a package. */
const GO_PACKAGE = /^(?:ok {2}|FAIL)\t(\S+)\t/
const MOST_TESTS = 20_000
const MOST_TESTS_CHARACTERS = 1024 * 1024

/** The names of all tests that passed or failed; null if only those that failed are named, or if they are too many. */
function testsIn(lines: Lines): Report['tests'] {
  const names = new Set<string>()
  let isPassedNamed = false
  let inPackage: string[] = []
  const close = (prefix: string): void => {
    for (const name of inPackage) names.add(prefix + name)
    inPackage = []
  }
  for (const line of lines) {
    const ofPackage = GO_PACKAGE.exec(line)?.[1]
    if (ofPackage !== undefined) close(`${ofPackage}.`)
    const { how, name } = RAN.map((pattern) => pattern.exec(line)?.groups).find(Boolean) ?? {}
    if (name === undefined) continue
    inPackage.push(name)
    isPassedNamed ||= how !== 'FAIL' && how !== 'FAILED' && how !== 'ERROR'
  }
  close('')
  const characters = [...names].reduce((sum, name) => sum + name.length, 0)
  const isKept = names.size <= MOST_TESTS && characters <= MOST_TESTS_CHARACTERS
  return isPassedNamed && isKept ? [...names] : null
}

/** The names of failed tests, without those of their parents: `TestSum` next to `TestSum/of_none`. */
function failedTestsIn(all: Lines): readonly string[] {
  const lines = all.slice(Math.max(0, all.indexOf(FAILED_IN_NODE)))
  const isTap = all.some((line) => TAP.test(line))
  const patterns = FAILED_TESTS.filter((pattern) => isTap || pattern !== TAP_FAILED)
  const found = patterns.flatMap((pattern) =>
    lines.flatMap((line) => {
      const name = isShort(line) ? pattern.exec(line)?.[1] : undefined
      return name === undefined ? [] : [name.replace(DURATION, '').trim()]
    }),
  )
  const names = [...new Set(found)].slice(0, MOST_NAMES)
  return names.filter(
    (name) => !names.some((other) => other.startsWith(`${name}/`) || other.endsWith(` > ${name}`)),
  )
}

/** The error in a line, with its place; null if there is no error in it. */
function errorIn(lines: Lines, index: number): string | null {
  const line = lines[index] ?? ''
  if (ERRORS.some((pattern) => pattern.test(line))) return line.trim()
  if (ERROR_BEFORE_PLACE.test(line)) {
    const place = PLACE_AFTER.exec(lines[index + 1] ?? '')?.[1]
    return place === undefined ? null : `${place}: ${line}`
  }
  return null
}

/** Reads what tools print for people: totals of tests, the names of failed ones, errors with their places. */
export function readPrinted(output: string): Report {
  const lines = stripTerminalCodes(output)
    .split('\n')
    .map((line) => line.slice(0, LINE_CHARACTERS).trimEnd())
  const counts = countsIn(lines.filter(isShort))
  const names = failedTestsIn(lines).slice(0, counts?.failed ?? MOST_NAMES)
  const found = new Map<string, number>()
  for (const index of lines.keys()) {
    const error = errorIn(lines, index)
    if (error !== null && !found.has(error)) found.set(error, index)
  }
  const [[error, at] = ['', lines.length]] = found
  return {
    counts,
    tests: testsIn(lines.filter(isShort)),
    failures: names,
    errors: found.size,
    error,
    excerpt: lines.slice(at, at + EXCERPT_LINES).join('\n'),
  }
}
