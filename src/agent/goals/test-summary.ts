import { counted } from '../../lib/counted.ts'
import type { GoalVerdict } from './goal.ts'
import { type Exited, endedWith } from './run-check.ts'
import { DETAILS_LIMIT, headAndTail, lastLine, nameList, oneLine, tail } from './text.ts'
import { knownFailures } from './what-failed.ts'

/** A test, or a file or package of tests, with its failure. */
export type Failure = {
  /** What distinguishes it from another of the same name: its class, file or package; may be empty. */
  readonly suite: string
  readonly name: string
  readonly message: string
}

/** The result of a test run of any tool. A test is counted in exactly one of the numbers. */
export type TestSummary = {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  /** Tests that are expected to fail and did fail. */
  readonly expectedFailures: number
  /** The failed tests with known names: all of them, or those that the output names. */
  readonly failures: readonly Failure[]
  /** Test files, packages or binaries that could not run, so their tests are not counted. */
  readonly broken: readonly Failure[]
}

export type TestRun = {
  /** The command as people know it: "pytest", "cargo test". */
  readonly tool: string
  /** The unit in `broken`: "test file", "package". */
  readonly unit: string
  /** Where the tool looks for tests; the reason if there are none. */
  readonly noTests: string
  /** The exit code of the tool if it found no tests and does not end with 0. */
  readonly noTestsExitCode?: number
  /** Lines of its output without information. */
  readonly noise?: RegExp
  readonly ended: Exited
}

/** Judges a test run: achieved only if at least one test passed, none failed and the tool itself succeeded. */
export function judgeTests(summary: TestSummary, run: TestRun): GoalVerdict {
  const { exitCode, output } = run.ended
  if (summary.failed > 0 || summary.broken.length > 0) {
    const reason = badReason(summary, run)
    return { verdict: 'not_achieved', reason, details: badDetails(summary, output) }
  }
  if (summary.passed === 0) {
    return { verdict: 'not_achieved', reason: emptyReason(summary, run), details: tail(output) }
  }
  const tests = summary.passed === 1 ? '1 test passed' : `All ${summary.passed} tests passed`
  const reason = [tests, otherCounts(summary)].filter(Boolean).join(', ')
  if (exitCode === 0) return { verdict: 'achieved', reason, details: tail(output, 1024) }
  const but = `${run.tool} ${endedWith(exitCode)}: ${lastLine(output, run.noise)}`
  return { verdict: 'not_achieved', reason: `${reason}, but ${but}`, details: tail(output) }
}

function otherCounts({ skipped, expectedFailures }: TestSummary): string {
  return [
    skipped > 0 ? `${skipped} skipped` : '',
    expectedFailures > 0 ? counted(expectedFailures, 'expected failure') : '',
  ]
    .filter(Boolean)
    .join(', ')
}

function emptyReason(summary: TestSummary, run: TestRun): string {
  const others = otherCounts(summary)
  if (others !== '') return `No test passed: ${others}`
  const { exitCode, output } = run.ended
  if (exitCode === 0 || exitCode === run.noTestsExitCode) return `No test was run: ${run.noTests}`
  return `No test was run: ${run.tool} ${endedWith(exitCode)}: ${lastLine(output, run.noise)}`
}

function badReason(summary: TestSummary, { tool, unit, ended }: TestRun): string {
  const { passed, failed, failures, broken } = summary
  const parts: string[] = []
  if (failed > 0) {
    const names = nameList(distinctNames(failures), failed)
    const failing = `${failed} of ${counted(passed + failed, 'test')} failing`
    parts.push(names === '' ? failing : `${failing}: ${names}`)
  }
  const [first] = broken
  if (first !== undefined) {
    const names = nameList(distinctNames(broken))
    const why =
      first.message === '' ? '' : ` (${knownFailures(first.message) || headline(first.message)})`
    parts.push(`${counted(broken.length, unit)} could not be run: ${names}${why}`)
    if (failed === 0 && passed > 0) parts.push(`${counted(passed, 'other test')} passed`)
  }
  parts.push(otherCounts(summary))
  // For example a script that ends with `|| true`.
  if (ended.exitCode === 0) parts.push(`${tool} hides this with exit code 0`)
  return parts.filter(Boolean).join('; ')
}

const fullName = ({ suite, name }: Failure): string => (suite === '' ? name : `${suite}::${name}`)

/** The names alone, or with their suite if two are the same. */
function distinctNames(failures: readonly Failure[]): string[] {
  const uses = new Map<string, number>()
  for (const { name } of failures) uses.set(name, (uses.get(name) ?? 0) + 1)
  return failures.map((failure) =>
    uses.get(failure.name) === 1 ? failure.name : fullName(failure),
  )
}

/** The most useful line: the last one that begins with the name of an error, or the last. */
function headline(message: string): string {
  const lines = message.split('\n').map((line) => line.replace(/^E\s+/, '').trim())
  const errorLine = lines.findLast((line) => /^[\w.]*(error|exception|panic)\b/i.test(line))
  return errorLine === undefined ? lastLine(message) : oneLine(errorLine)
}

const MESSAGE_LIMIT = 1000

/** The messages of the first failures; the end of the output if some have none. */
function badDetails({ failed, failures, broken }: TestSummary, output: string): string {
  const parts: string[] = []
  const explained = [...broken, ...failures].filter(({ message }) => message !== '')
  let room = DETAILS_LIMIT
  for (const failure of explained) {
    if (room < MESSAGE_LIMIT) break
    const part = headAndTail(`--- ${oneLine(fullName(failure))}\n${failure.message}`, MESSAGE_LIMIT)
    parts.push(part)
    room -= part.length + 2
  }
  const all = explained.length === failed + broken.length
  if (!all && room > MESSAGE_LIMIT / 2) parts.push(tail(output, room))
  return parts.join('\n\n')
}
