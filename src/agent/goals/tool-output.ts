import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { jsonOr } from '../../lib/json-or.ts'
import type { Failure, TestSummary } from './test-summary.ts'
import { oneLine } from './text.ts'

const RESULT = /^test result: \S+ (\d+) passed; (\d+) failed; (\d+) ignored;/gm
const FAILED = /^test (.+?)(?: - should panic)? \.\.\. FAILED$/gm
/** What the libtest harness prints about one failed test, up to the next one or the end of the section. */
const PRINTED =
  /^---- (.+?) stdout ----\n([\s\S]*?)(?=^---- .+ stdout ----$|^failures:$|^test result:)/gm
const CRASHED =
  /^error: (?:doc)?test failed, to rerun pass `([^`\n]+)`\n\nCaused by:\n {2}process didn't exit successfully: .*?\(([^()\n]*)\)$/gm
const COMPILE_ERROR =
  /^error(?:\[E\d+\])?: (?!could not compile|aborting).*(?:\n(?!error|warning).+)*/gm
const NOT_COMPILED = /^error: could not compile `([^`\n]+)` \(([^)\n]+)\)/gm

const sum = (rows: readonly RegExpMatchArray[], column: number): number =>
  rows.reduce((total, row) => total + Number(row[column]), 0)

/** Targets whose process ended without a result, such as by an abort. */
function crashedTargets(stderr: string): Failure[] {
  return [...stderr.matchAll(CRASHED)].map(([, target = '', how = '']) => {
    return { suite: '', name: target, message: how }
  })
}

/** The targets that do not compile. The first has all errors of the compiler. */
function uncompiledTargets(stderr: string): Failure[] {
  const targets = new Set(
    [...stderr.matchAll(NOT_COMPILED)].map(([, name, kind]) => `${name} (${kind})`),
  )
  const errors = [...new Set([...stderr.matchAll(COMPILE_ERROR)].map(([text]) => text))]
  return [...targets].map((name, index) => {
    return { suite: '', name, message: index === 0 ? errors.join('\n\n') : 'It does not compile' }
  })
}

/** Reads the output of `cargo test`, which has no stable format. `binaries` counts the test binaries with a result. */
export function parseCargoTest(
  stdout: string,
  stderr: string,
): { readonly summary: TestSummary; readonly binaries: number } {
  const results = [...stdout.matchAll(RESULT)]
  const messages = new Map(
    [...stdout.matchAll(PRINTED)].map(([, name = '', text = '']) => [name, text.trim()]),
  )
  const failures = [...stdout.matchAll(FAILED)].map(([, name = '']) => {
    return { suite: '', name, message: messages.get(name) ?? '' }
  })
  const summary = {
    passed: sum(results, 1),
    failed: sum(results, 2),
    skipped: sum(results, 3),
    expectedFailures: 0,
    failures,
    broken: [...uncompiledTargets(stderr), ...crashedTargets(stderr)],
  }
  return { summary, binaries: results.length }
}

const count = z.int().nonnegative()
const Diagnostic = z.object({
  file: z.string().optional(),
  severity: z.string(),
  message: z.string(),
  range: z.object({ start: z.object({ line: count, character: count }) }).optional(),
  rule: z.string().optional(),
})
/** One finding of pyright; lines and characters count from 0. */
export type Diagnostic = z.infer<typeof Diagnostic>
const Report = z.object({
  generalDiagnostics: z.array(Diagnostic),
  summary: z.object({ filesAnalyzed: count, errorCount: count, warningCount: count }),
})
/** What `pyright --outputjson` prints. */
export type PyrightReport = z.infer<typeof Report>

/** Reads the report in the output of pyright. Some installations print notes before it. */
export function parsePyright(stdout: string): Result<PyrightReport, string> {
  const start = stdout.search(/^\{/m)
  if (start < 0) return err('it printed no report')
  try {
    const report = Report.safeParse(JSON.parse(stdout.slice(start)))
    return report.success ? ok(report.data) : err('it is not a report of pyright')
  } catch (cause) {
    return err(oneLine(`${cause}`))
  }
}

/** A line of `go test -json`, as `go doc test2json` and `go help buildjson` describe it. */
const Event = z.object({
  Action: z.string(),
  Package: z.string().default(''),
  Test: z.string().default(''),
  Output: z.string().default(''),
  ImportPath: z.string().default(''),
  FailedBuild: z.string().default(''),
})
type Event = z.infer<typeof Event>

type Outcome = 'running' | 'passed' | 'failed' | 'skipped'
type Test = { readonly pkg: string; readonly name: string; outcome: Outcome; output: string }
type Package = { readonly name: string; failed: boolean; failedBuild: string; output: string }

const OUTCOMES: Readonly<Record<string, Outcome>> = {
  run: 'running',
  pass: 'passed',
  fail: 'failed',
  skip: 'skipped',
}

function parseLine(line: string): Event | null {
  return line.startsWith('{') ? (Event.safeParse(jsonOr(line, null)).data ?? null) : null
}

function entry<V>(map: Map<string, V>, key: string, make: () => V): V {
  const known = map.get(key)
  if (known !== undefined) return known
  const made = make()
  map.set(key, made)
  return made
}

/** Collects the events of each test and package. */
class Events {
  readonly tests = new Map<string, Test>()
  readonly packages = new Map<string, Package>()
  /** Compiler messages by import path. */
  readonly builds = new Map<string, string>()

  add(event: Event): void {
    const { Action, Package: name, Test: test, Output, ImportPath } = event
    if (Action === 'build-output') {
      this.builds.set(ImportPath, (this.builds.get(ImportPath) ?? '') + Output)
    } else if (test !== '') {
      const fresh = (): Test => ({ pkg: name, name: test, outcome: 'running', output: '' })
      const item = entry(this.tests, `${name} ${test}`, fresh)
      item.output += Output
      item.outcome = OUTCOMES[Action] ?? item.outcome
    } else if (name !== '') {
      const fresh = (): Package => ({ name, failed: false, failedBuild: '', output: '' })
      const item = entry(this.packages, name, fresh)
      item.output += Output
      item.failed ||= Action === 'fail'
      item.failedBuild ||= event.FailedBuild
    }
  }
}

/**
 * A test with subtests counts only if it failed and none of its subtests did; otherwise the subtests count. A test that
 * never ended failed: it ended its package, or was stopped with it.
 */
function countedTests({ tests }: Events): Test[] {
  const all = [...tests.values()].map(
    (test): Test => (test.outcome === 'running' ? { ...test, outcome: 'failed' } : test),
  )
  // A tree of the parts of names, so that a name with many slashes costs no more than its length.
  const root: Place = { below: new Map(), failedBelow: false }
  const places = all.map(({ pkg, name, outcome }) => {
    const packageAt = entry(root.below, pkg, newPlace)
    return name.split('/').reduce((place, part) => {
      place.failedBelow ||= outcome === 'failed'
      return entry(place.below, part, newPlace)
    }, packageAt)
  })
  return all.filter(({ outcome }, index) => {
    const place = places[index]
    const isParent = place !== undefined && place.below.size > 0
    return !isParent || (outcome === 'failed' && !place.failedBelow)
  })
}

/** A test or a package, and the tests below it. */
type Place = { readonly below: Map<string, Place>; failedBelow: boolean }
const newPlace = (): Place => ({ below: new Map(), failedBelow: false })

/** Packages that failed although none of their tests did: they do not build, or ended early. */
function brokenPackages({ packages, builds }: Events, tests: readonly Test[]): Failure[] {
  const explained = new Set(
    tests.filter(({ outcome }) => outcome === 'failed').map(({ pkg }) => pkg),
  )
  return [...packages.values()]
    .filter(({ name, failed }) => failed && !explained.has(name))
    .map(({ name, failedBuild, output }) => ({
      suite: '',
      name,
      message: (builds.get(failedBuild) ?? output).trim(),
    }))
}

const FRAME = /^\s*(?:=== (?:RUN|PAUSE|CONT|NAME)|--- (?:FAIL|PASS|SKIP):)/

/** The output of a test without the lines that go adds. */
const withoutFrames = (output: string): string =>
  output
    .split('\n')
    .filter((line) => !FRAME.test(line))
    .join('\n')
    .trim()

/** Reads the output of `go test -json`. `printed` is the output for people, `events` counts the readable lines. */
export function parseGoTest(stdout: string): {
  readonly summary: TestSummary
  readonly printed: string
  readonly events: number
} {
  const events = new Events()
  const printed: string[] = []
  let read = 0
  for (const line of stdout.split('\n')) {
    const event = parseLine(line)
    if (event !== null) {
      events.add(event)
      read += 1
    }
    printed.push(event === null ? (line === '' ? '' : `${line}\n`) : event.Output)
  }
  const tests = countedTests(events)
  const failed = tests.filter(({ outcome }) => outcome === 'failed')
  return {
    summary: {
      passed: tests.filter(({ outcome }) => outcome === 'passed').length,
      failed: failed.length,
      skipped: tests.filter(({ outcome }) => outcome === 'skipped').length,
      expectedFailures: 0,
      failures: failed.map(({ pkg, name, output }) => {
        return { suite: pkg, name, message: withoutFrames(output) }
      }),
      broken: brokenPackages(events, tests),
    },
    printed: printed.join(''),
    events: read,
  }
}
