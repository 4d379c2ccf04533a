import { mkdir, mkdtemp } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { StringDecoder } from 'node:string_decoder'
import { setImmediate } from 'node:timers/promises'
import { err, ok, okAsync, type Result, ResultAsync } from 'neverthrow'
import { codeOf, messageOf } from '../../lib/message-of.ts'
import { readRegular } from '../../lib/read-regular.ts'
import { removeFolder } from '../../lib/remove-folder.ts'
import { processMask } from '../../log/masking.ts'
import type { GoalVerdict } from './goal.ts'
import type { JUnitCase } from './junit.ts'
import { parseApart, toResult } from './parse-apart.ts'
import { cannotCheck, noResult } from './run-check.ts'
import { judgeTests, type TestRun, type TestSummary } from './test-summary.ts'
import { oneLine } from './text.ts'

const MAX_REPORT_BYTES = 16 * 1024 * 1024
const PIECE_BYTES = 256 * 1024

/** Removes the reports of checks that ended with their server. Rejects if it cannot. */
export const clearReports: (reportsDir: string) => Promise<void> = removeFolder

/**
 * Makes a folder below `reportsDir` for what a tool writes during one check, so that a check leaves no trace in the
 * project and never reads the report of an earlier one. Tests print secrets into reports, so the folder is for this
 * user alone, and a start finds what a crash left there.
 */
export async function withReportFolder(
  reportsDir: string,
  check: (folder: string) => Promise<GoalVerdict>,
): Promise<GoalVerdict> {
  let folder: string
  try {
    await mkdir(reportsDir, { mode: 0o700 }).catch((cause) => {
      if (codeOf(cause) !== 'EEXIST') throw cause
    })
    folder = await mkdtemp(join(reportsDir, 'check-'))
  } catch (cause) {
    const reason = `The folder for the report of the check cannot be made: ${oneLine(messageOf(cause))}`
    return cannotCheck(reason)
  }
  try {
    return await check(folder)
  } finally {
    // If the folder cannot be removed, the verdict still counts: the next start removes the folder.
    await removeFolder(folder).catch(() => undefined)
  }
}

/**
 * Reads a report, with secrets masked; null if the tool wrote none, an error for people if it cannot be read. If the
 * project puts something else in its place, such as a pipe or a link, that is not read.
 */
export async function readReport(path: string): Promise<Result<string | null, string>> {
  const content = await readRegular(path, MAX_REPORT_BYTES).catch((cause) => cause)
  if (content instanceof Buffer) return ok(content.length === 0 ? null : await masked(content))
  if (codeOf(content) === 'ENOENT') return ok(null)
  return err(`${JSON.stringify(basename(path))} ${messageOf(content)}`)
}

/** Masks piece by piece, so that other work can run in between. */
async function masked(content: Buffer): Promise<string> {
  const decoder = new StringDecoder('utf8')
  const pieces = processMask.pieces()
  let text = ''
  for (let at = 0; at < content.length; at += PIECE_BYTES) {
    text += pieces.write(decoder.write(content.subarray(at, at + PIECE_BYTES)))
    await setImmediate()
  }
  return text + pieces.write(decoder.end()) + pieces.end()
}

/** Judges a test run by the JUnit report at `path`. A missing or broken report is a verdict too. */
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
