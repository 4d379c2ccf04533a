import { realpathSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { err, ok, type Result } from 'neverthrow'
import { messageOf } from '../../lib/message-of.ts'
import {
  BUSY_TIMEOUT_MS,
  extendedCode,
  lockFile,
  pragma,
  resultCode,
  SQLITE,
} from '../../lib/sqlite-file.ts'
import type { StoreFailure } from '../event-store.ts'

export type OpenedLog = {
  /** The file by its real name: two names of one file are one store. */
  readonly file: string
  readonly db: DatabaseSync
  close(): void
}

/** Locks the file, checks it, and creates or upgrades it. The lock holds until `close`. */
export function openLog(wanted: string): Result<OpenedLog, StoreFailure> {
  const opened: DatabaseSync[] = []
  const close = (): void => {
    // The lock is released last, when nothing uses the file any more.
    for (const db of opened.toReversed()) db.close()
  }
  try {
    const file = realName(wanted)
    opened.push(lockFile(file))
    const db = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS })
    opened.push(db)
    prepareSchema(db, file)
    return ok({ file, db, close })
  } catch (error) {
    close()
    return err(resultCode(error) === SQLITE.BUSY ? inUse(wanted) : storeFailed(wanted, error))
  }
}

function realName(file: string): string {
  const path = resolve(file)
  try {
    return realpathSync(path)
  } catch {
    return join(realpathSync(dirname(path)), basename(path))
  }
}

const inUse = (file: string): StoreFailure => ({
  type: 'store_failed',
  message:
    `the event store ${file} is in use already, by another server or another part of this one: ` +
    'stop that one, or choose another file (for a server: another --data-dir)',
})

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

/** Extended code: written, but it is unknown whether it reached the disk. */
const IOERR_FSYNC = 1034

/** Whether a commit that failed with this error may still be there after a loss of power. */
export const leavesOutcomeUnknown = (error: unknown): boolean => extendedCode(error) === IOERR_FSYNC

/** What failed with `file`, and what to do about it. */
export function storeFailed(file: string, error: unknown): StoreFailure {
  const isOurs = error instanceof Refused
  return { type: 'store_failed', message: isOurs ? error.message : describe(file, error) }
}

function describe(file: string, error: unknown): string {
  const reason = messageOf(error)
  switch (resultCode(error)) {
    case SQLITE.FULL:
      return `the event store ${file} has no room left (${reason}): free some disk space`
    case SQLITE.CORRUPT:
      return `the event store ${file} is damaged (${reason}): restore it from a backup`
    case SQLITE.NOTADB:
      return `${file} is not an event store (${reason}): choose another file, or move it away`
    case SQLITE.BUSY:
    case SQLITE.LOCKED:
      return `the event store ${file} is held by another program (${reason}): close that program`
    default:
      return (
        `the event store ${file} failed (${reason}, code ${extendedCode(error)}): it needs an ` +
        'existing folder, write access to the file and the folder, file descriptors, and a disk that works'
      )
  }
}
