import { ok } from 'neverthrow'
import type { GoalVerdict } from './goal.ts'
import { type JUnitCase, parseJUnit } from './junit.ts'
import { readReport } from './report-folder.ts'
import { noResult } from './run-check.ts'
import { judgeTests, type TestRun, type TestSummary } from './test-summary.ts'

/** Judges a test run by the JUnit report at `path`; one that is missing or broken is a verdict too. */
export async function judgeJUnit(
  path: string,
  summarize: (cases: readonly JUnitCase[]) => TestSummary,
  run: TestRun,
): Promise<GoalVerdict> {
  const report = await readReport(path)
  const cases = report.andThen((xml) => (xml === null ? ok(null) : parseJUnit(xml)))
  if (cases.isErr()) {
    return noResult(run.tool, run.ended, `its report cannot be read (${cases.error})`, run.noise)
  }
  if (cases.value !== null) return judgeTests(summarize(cases.value), run)
  if (run.ended.exitCode !== run.noTestsExitCode) {
    return noResult(run.tool, run.ended, 'wrote no report', run.noise)
  }
  return judgeTests(summarize([]), run)
}
