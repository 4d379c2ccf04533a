import { messageOf } from '../../lib/message-of.ts'
import type { StoreFailure } from '../event-store.ts'
import { FilesLost } from './file-guard.ts'
import { Refused } from './schema.ts'

/** Primary result codes of SQLite for which the message gives advice. */
const [PERM, BUSY, LOCKED, READONLY, IOERR] = [3, 5, 6, 8, 10]
const [CORRUPT, FULL, CANTOPEN, AUTH, NOTADB] = [11, 13, 14, 23, 26]
/** Extended code: written, but it is unknown whether it reached the disk. */
const IOERR_FSYNC = 1034

/** The extended result code of an error that SQLite raised, else 0. */
function codeOf(error: unknown): number {
  if (!(error instanceof Error) || !('errcode' in error)) return 0
  return typeof error.errcode === 'number' ? error.errcode : 0
}

export function isBusy(error: unknown): boolean {
  return (codeOf(error) & 0xff) === BUSY
}

/** Whether a commit that failed with this error may still be there after a loss of power. */
export function leavesOutcomeUnknown(error: unknown): boolean {
  return codeOf(error) === IOERR_FSYNC
}

/** What failed with `file`, and what to do about it. */
export function storeFailed(file: string, error: unknown): StoreFailure {
  return { type: 'store_failed', message: describe(file, error) }
}

function describe(file: string, error: unknown): string {
  if (error instanceof FilesLost || error instanceof Refused) return error.message
  const code = codeOf(error)
  const reason = messageOf(error)
  switch (code & 0xff) {
    case FULL:
      return `the event store ${file} has no room left (${reason}): free some disk space`
    case PERM:
    case READONLY:
    case CANTOPEN:
    case AUTH:
      return (
        `the event store ${file} cannot be opened for writing (${reason}): ` +
        'it needs an existing folder, and write access to the file and the folder'
      )
    case IOERR:
      return (
        `the disk failed under the event store ${file} (${reason}, code ${code}): ` +
        'check the disk, its free space and its quota'
      )
    case CORRUPT:
      return (
        `the event store ${file} is damaged (${reason}): restore it from a backup, ` +
        'or save what is left of it with the .recover command of sqlite3'
      )
    case NOTADB:
      return `${file} is not an event store (${reason}): choose another file, or move it away`
    case BUSY:
    case LOCKED:
      return `the event store ${file} is held by another program (${reason}): close that program`
    default:
      return `the event store ${file} failed (${reason})`
  }
}
