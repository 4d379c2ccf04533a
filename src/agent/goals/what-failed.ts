import { stripTerminalCodes } from '../../domain/terminal-codes.ts'
import { DETAILS_LIMIT, lastLine, nameList, oneLine, tail } from './text.ts'

/** How much of the beginning and of the end of the output is read: compilers stop early, tests print failures last. */
const READ_CHARACTERS = 256 * 1024
const LINE_CHARACTERS = 1000
/** The most lines of a compiler's message, with its place and its lines of code. */
const MESSAGE_LINES = 12
const MOST_NAMES = 1000

/**
 * Lines of well-known tools that name a failed test. All patterns here match from the beginning of one short line, and no
 * two neighbouring parts of a pattern match the same characters, so their time is linear in the line.
 */
const FAILED_TESTS: readonly RegExp[] = [
  // go test
  /^ *--- FAIL: (\S+)/,
  // GoogleTest
  /^\[ {2}FAILED {2}\] ([^\s,]+)(?:, where .*)?(?: \(\d+ ms\))?$/,
  // ctest
  /^\t? *\d+ - (\S+) \((?:Failed|Timeout|SEGFAULT|Subprocess aborted|Not Run)\)/,
  // TAP
  /^ *not ok \d+ -? ?((?!.*# TODO).+)$/,
  // unittest, automake, and what people write themselves
  /^\[?(?:FAIL|FAILED|ERROR)\]?(?:: | +(?=[\w./]+$))(.+)$/,
  /^ *[✗✘✖×] (?!\d+ problem|failing tests:$)(.+)$/,
]
/** How long a test took, which vitest and node write after its name. */
const DURATION = / \(?[\d.]+ ?m?s\)?$/

/** Lines that are errors, with their place. */
const ERRORS: readonly RegExp[] = [
  // gcc, clang, tsc, mypy, javac
  /^(?=[^:(]*[A-Za-z])[^\s:(][^:(]*(?::\d+|\(\d+)(?:[:,]\d+)?\)?(?::| -) *(?:fatal )?error\b/,
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
/**
 * How biome begins a finding: the place and the rule. The message is two lines below. `!` or `i` in place of `×` is
 * less than an error.
 */
const BIOME = /^(\S+) ((?:lint|parse|format|assist)(?:\/\S+)?)(?: +FIXABLE)? *━+$/
const BIOME_ERROR = /^ *× (.+)$/
/** An error of eslint, below a line with the name of the file. */
const ESLINT = /^ +(\d+:\d+) +error +(.+)$/

/** What ended Node: the error, its stack, and the version of Node at the end. */
const THROWN = /^(?:Uncaught )?(\w*Error(?: \[\w+\])?: .+)$/
const NODE_ENDED = /^Node\.js v\d/
const STACK_LINES = 60
const STACK_PLACE = /^ +at (?:[^()]*\()?(?:file:\/\/)?(\/[^()]+:\d+:\d+)\)?$/
/** Above the error, if it is in the syntax. */
const SOURCE_PLACE = /^(?:file:\/\/)?(\/\S+:\d+)$/
const SOURCE_LINES = 6

type Found = {
  readonly names: readonly string[]
  /** The errors in one line each. */
  readonly errors: readonly string[]
  /** The message of the first error, with what comes after it. */
  readonly message: string
}

function linesOf(output: string): readonly string[] {
  const isLong = output.length > 2 * READ_CHARACTERS
  const text = isLong
    ? `${output.slice(0, READ_CHARACTERS)}\n${output.slice(-READ_CHARACTERS)}`
    : output
  return stripTerminalCodes(text)
    .split('\n')
    .map((line) => line.slice(0, LINE_CHARACTERS).trimEnd())
}

/** The error in a line, with its place; null if there is no error in it. */
function errorIn(lines: readonly string[], index: number): string | null {
  const line = lines[index] ?? ''
  if (ERRORS.some((pattern) => pattern.test(line))) return line
  if (ERROR_BEFORE_PLACE.test(line)) {
    const place = PLACE_AFTER.exec(lines[index + 1] ?? '')?.[1]
    return place === undefined ? null : `${place}: ${line}`
  }
  const [, place, rule] = BIOME.exec(line) ?? []
  if (place !== undefined) {
    const wrong = BIOME_ERROR.exec(lines[index + 2] ?? '')?.[1]
    return wrong === undefined ? null : `${place}: ${wrong} (${rule})`
  }
  const [, at, message] = ESLINT.exec(line) ?? []
  if (at === undefined) return thrownIn(lines, index)
  let above = index - 1
  while (above > 0 && !/^\S/.test(lines[above] ?? '')) above -= 1
  return `${lines[above]}:${at}: ${message}`
}

/** An error that ended Node, with the place in the project's own code where it was thrown. */
function thrownIn(lines: readonly string[], index: number): string | null {
  const thrown = THROWN.exec(lines[index] ?? '')?.[1]
  if (thrown === undefined) return null
  const rest = lines.slice(index + 1, index + 1 + STACK_LINES)
  const end = rest.findIndex((line) => NODE_ENDED.test(line))
  if (end === -1) return null
  const above = lines.slice(Math.max(0, index - SOURCE_LINES), index)
  const place =
    placesIn(rest.slice(0, end), STACK_PLACE).find((one) => !one.includes('/node_modules/')) ??
    placesIn(above, SOURCE_PLACE).at(-1)
  return place === undefined ? thrown : `${place}: ${thrown}`
}

const placesIn = (lines: readonly string[], pattern: RegExp): readonly string[] =>
  lines.flatMap((line) => pattern.exec(line)?.[1] ?? [])

function find(output: string): Found {
  const lines = linesOf(output)
  const names = lines.flatMap((line, index) => {
    // A message of biome, which begins like a failed test.
    if (lines[index - 2]?.endsWith('━')) return []
    const found = FAILED_TESTS.map((pattern) => pattern.exec(line)?.[1])
    return (
      found
        .find((name) => name !== undefined)
        ?.replace(DURATION, '')
        .trim() ?? []
    )
  })
  const errors = lines.flatMap((_, index) => {
    const error = errorIn(lines, index)
    return error === null ? [] : [{ error, index }]
  })
  const [first] = errors
  return {
    names: [...new Set(names)].slice(0, MOST_NAMES),
    errors: [...new Set(errors.map(({ error }) => error))],
    message:
      first === undefined ? '' : lines.slice(first.index, first.index + MESSAGE_LINES).join('\n'),
  }
}

/** A parent test fails with its subtests, so it adds nothing: `TestSum` next to `TestSum/of_none`. */
const withoutParents = (names: readonly string[]): readonly string[] =>
  names.filter((name) => !names.some((other) => other.startsWith(`${name}/`)))

/** The failed tests and the first error that a tool of any kind printed, as a part of a sentence; '' if none is known. */
export function knownFailures(output: string): string {
  const { names, errors } = find(output)
  const [error] = errors
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : ''
  return [
    names.length === 0 ? '' : `failing: ${nameList(withoutParents(names))}`,
    error === undefined ? '' : `${oneLine(error)}${more}`,
  ]
    .filter(Boolean)
    .join('; ')
}

/** The same, or the last line with a word in it that `noise` does not match. */
export const whatFailed = (output: string, noise?: RegExp): string =>
  knownFailures(output) || lastLine(output, noise)

/** The end of the output of a tool that failed, after its first error if that is not in the end. */
export function failureDetails(output: string): string {
  const end = tail(output)
  const { message } = find(output)
  const [firstLine = ''] = message.split('\n')
  if (firstLine === '' || end.includes(firstLine)) return end
  const head = message.slice(0, DETAILS_LIMIT / 2)
  return `${head}\n[…]\n${tail(output, DETAILS_LIMIT - head.length)}`
}
