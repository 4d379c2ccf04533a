import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import { processMask } from '../../store/masking.ts'
import type { GoalVerdict } from './goal.ts'
import { oneLine } from './text.ts'

const MAX_REPORT_BYTES = 16 * 1024 * 1024

const messageOf = (cause: unknown): string =>
  oneLine(cause instanceof Error ? cause.message : String(cause))

/**
 * Lends a fresh folder outside the project for what a tool writes during one check, so that a check
 * leaves no trace in the project and never reads the report of an earlier one.
 */
export async function withReportFolder(
  check: (folder: string) => Promise<GoalVerdict>,
): Promise<GoalVerdict> {
  let folder: string
  try {
    folder = await mkdtemp(join(tmpdir(), 'retrai-check-'))
  } catch (cause) {
    const reason = `No folder for the report of the check could be made: ${messageOf(cause)}`
    return { achieved: false, reason, details: '' }
  }
  try {
    return await check(folder)
  } finally {
    // What cannot be removed is the system's to clear: it must not undo a verdict.
    await rm(folder, { recursive: true, force: true }).catch(() => undefined)
  }
}

/**
 * Reads a report, with secrets masked; null where the tool wrote none, an error for people where it
 * cannot be read.
 */
export async function readReport(path: string): Promise<Result<string | null, string>> {
  try {
    const { size } = await stat(path)
    if (size > MAX_REPORT_BYTES) return err(`it has ${size} bytes, too many to read`)
    return ok(size === 0 ? null : processMask.text(await readFile(path, 'utf8')))
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return ok(null)
    return err(messageOf(cause))
  }
}
