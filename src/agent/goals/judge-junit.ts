import { okAsync, ResultAsync } from 'neverthrow'
import type { GoalVerdict } from './goal.ts'
import type { JUnitCase } from './junit.ts'
import { parseApart, toResult } from './parse-apart.ts'
import { readReport } from './report-folder.ts'
import { noResult } from './run-check.ts'
import { judgeTests, type TestRun, type TestSummary } from './test-summary.ts'

/** Judges a test run by the JUnit report at `path`; one that is missing or broken is a verdict too. */
export async function judgeJUnit(
  path: string,
  summarize: (cases: readonly JUnitCase[]) => TestSummary,
  run: TestRun,
  signal: AbortSignal,
): Promise<GoalVerdict> {
  const report = await readReport(path)
  const cases = await report.asyncAndThen((xml) =>
    xml === null ? okAsync(null) : readCases(xml, signal),
  )
  if (cases.isErr()) {
    return noResult(run.tool, run.ended, `its report cannot be read (${cases.error})`, run.noise)
  }
  if (cases.value !== null) return judgeTests(summarize(cases.value), run)
  if (run.ended.exitCode !== run.noTestsExitCode) {
    return noResult(run.tool, run.ended, 'wrote no report', run.noise)
  }
  return judgeTests(summarize([]), run)
}

const readCases = (xml: string, signal: AbortSignal): ResultAsync<readonly JUnitCase[], string> =>
  new ResultAsync(parseApart('junit', [xml], signal)).andThen(toResult)
