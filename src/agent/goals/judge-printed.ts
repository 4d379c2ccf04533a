import type { GoalVerdict } from './goal.ts'
import { readPrintedSummary } from './printed-summary.ts'
import { endedWith } from './run-check.ts'
import { judgeTests, type TestRun } from './test-summary.ts'
import { lastLine, tail } from './text.ts'

/** Judges a command that runs tests of some kind by the totals it printed, else by its exit code. */
export function judgePrinted(run: TestRun): GoalVerdict {
  const { output, exitCode } = run.ended
  const summary = readPrintedSummary(output)
  if (summary !== null) return judgeTests(summary, run)
  const achieved = exitCode === 0
  const ending = achieved ? 'passed' : endedWith(exitCode)
  const said = lastLine(output, run.noise)
  const reason = [`${run.tool} ${ending}`, said].filter(Boolean).join(': ')
  return { achieved, reason, details: tail(output, achieved ? 1024 : undefined) }
}
