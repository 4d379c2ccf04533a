import type { DatabaseSync } from 'node:sqlite'
import { messageOf } from '../../lib/message-of.ts'
import type { StoreFailure } from '../event-store.ts'

/** Marks the file as ours in the header of the database: "rtAI". */
const APPLICATION_ID = 0x72744149

/** What an empty file gets, and the number of that in its header. Earlier formats were in no release. */
const FORMAT = 2
const TABLES = `
  BEGIN IMMEDIATE;
  CREATE TABLE streams (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
  ) STRICT;
  CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    stream_id INTEGER NOT NULL REFERENCES streams (id),
    revision INTEGER NOT NULL,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    data TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created INTEGER NOT NULL,
    UNIQUE (stream_id, revision)
  ) STRICT;
  CREATE TABLE rewritten (
    id INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    data TEXT NOT NULL,
    metadata TEXT NOT NULL
  ) STRICT;
  CREATE INDEX rewritten_by_position ON rewritten (position);
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${FORMAT};
  COMMIT;
`

/**
 * Commits survive a loss of power (FULL). The write-ahead log is copied into the file about every 4 MB. SQLite
 * overwrites what it drops or moves within the file, so that nothing is left of what is redacted later.
 */
const DURABLE = `
  PRAGMA secure_delete = ON;
  PRAGMA synchronous = FULL;
  PRAGMA wal_autocheckpoint = 1000;
  PRAGMA journal_size_limit = 67108864;
  PRAGMA cache_size = -16000;
`

/** A file of at most this many pages is checked when it is opened, which takes a moment at most. */
const CHECKED_PAGES = 65_536

/** Why a file is not opened, or not written to any more, for a person. */
export class Refused extends Error {
  override readonly name = 'Refused'
}

/**
 * Makes an event store of an empty database.
 * @throws Refused, or an error of SQLite: the file is foreign, of another version or damaged, and is left as it is
 */
export function prepareSchema(db: DatabaseSync, file: string): void {
  refuseForeign(db, file)
  refuseDamaged(db, file)
  db.exec(DURABLE)
  if (pragma(db, 'user_version') === 0) db.exec(TABLES)
  // Last, so that the mark of the file is in the file itself and not only in its log.
  if (pragma(db, 'journal_mode = WAL') !== 'wal') {
    throw new Refused(
      `the event store ${file} is in a place where SQLite cannot share memory between connections ` +
        '(a network folder?): choose a local folder',
    )
  }
}

function pragma(db: DatabaseSync, statement: string): unknown {
  const row = db.prepare(`PRAGMA ${statement}`).get()
  return row === undefined ? undefined : Object.values(row)[0]
}

/** Refuses a file that is not a log yet. @throws Refused, or an error of SQLite */
export function refuseOthers(db: DatabaseSync, file: string): void {
  refuseForeign(db, file)
  if (pragma(db, 'application_id') !== APPLICATION_ID) {
    throw new Refused(
      `${file} is empty: there is no event store in it. Name the data folder of a server`,
    )
  }
}

function refuseForeign(db: DatabaseSync, file: string): void {
  const application = pragma(db, 'application_id')
  const format = pragma(db, 'user_version')
  const empty = db.prepare('SELECT 1 FROM sqlite_schema LIMIT 1').get() === undefined
  if (empty && application === 0 && format === 0) return
  if (application === APPLICATION_ID && Number(format) > FORMAT) {
    throw new Refused(
      `the event store ${file} was written by a newer version (format ${format}, this one knows ` +
        `format ${FORMAT}): update this program`,
    )
  }
  if (application !== APPLICATION_ID || format !== FORMAT) {
    throw new Refused(
      `${file} is the database of another program, not an event store: choose another file`,
    )
  }
}

function refuseDamaged(db: DatabaseSync, file: string): void {
  const pages = pragma(db, 'page_count')
  if (typeof pages === 'number' && pages > CHECKED_PAGES) return
  // With the indexes: one that leaves rows out hides records from every reader. It takes up to twice the time of quick_check.
  const found = pragma(db, 'integrity_check(1)')
  if (found === 'ok') return
  const reason = String(found)
    .replaceAll(/\*\*\*.*\*\*\*\n|\n/g, ' ')
    .trim()
  throw new Refused(`the event store ${file} is damaged (${reason}): restore it from a backup`)
}

/** Primary result codes of SQLite for which the message gives advice. */
const [BUSY, LOCKED, CORRUPT, FULL, NOTADB] = [5, 6, 11, 13, 26]
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
  if (error instanceof Refused) return error.message
  const code = codeOf(error)
  const reason = messageOf(error)
  switch (code & 0xff) {
    case FULL:
      return `the event store ${file} has no room left (${reason}): free some disk space`
    case CORRUPT:
      return `the event store ${file} is damaged (${reason}): restore it from a backup`
    case NOTADB:
      return `${file} is not an event store (${reason}): choose another file, or move it away`
    case BUSY:
    case LOCKED:
      return `the event store ${file} is held by another program (${reason}): close that program`
    default:
      return (
        `the event store ${file} failed (${reason}, code ${code}): it needs an existing folder, ` +
        'write access to the file and the folder, and a disk that works'
      )
  }
}
