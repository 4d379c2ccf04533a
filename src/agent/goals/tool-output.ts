import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
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

/**
 * Reads the output of `cargo test`, which has no stable machine format. `binaries` is the number of test binaries with
 * a result.
 */
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
