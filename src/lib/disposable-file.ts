import { rmSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import * as z from 'zod'
import { pragma, resultCode, SQLITE } from './sqlite-file.ts'

/** What marks a file as ours, and which version of it this is. Files of other versions are begun again. */
export type FileKind = {
  /** In the header of the database. */
  readonly applicationId: number
  readonly version: number
  /** What an empty file gets, and what is set at each opening. */
  readonly tables: string
  readonly pragmas: string
}

/** How long somebody who reads the file may keep it, in milliseconds. */
const TIMEOUT_MS = 1000
/** A power loss may cost the last commits, which are then made again. */
const PRAGMAS = 'PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL'

/** The file is a database of another program, so it must not be deleted. */
class Foreign extends Error {
  override readonly name = 'Foreign'
}

/**
 * Opens the file if this version made it, and makes a missing one.
 * @throws Foreign, or why the file cannot be used
 */
export function openDisposable(file: string, kind: FileKind): DatabaseSync {
  const db = new DatabaseSync(file, { timeout: TIMEOUT_MS })
  try {
    const isEmpty = db.prepare('SELECT 1 FROM sqlite_schema LIMIT 1').get() === undefined
    if (!isEmpty && pragma(db, 'application_id') !== kind.applicationId) {
      throw new Foreign(
        'it is the database of another program: move it away, or choose another data folder',
      )
    }
    db.exec(`${PRAGMAS}; ${kind.pragmas}`)
    db.exec('BEGIN IMMEDIATE')
    if (isEmpty) {
      const { applicationId, version } = kind
      db.exec(kind.tables)
      db.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${version}`)
    } else if (!isOfKind(db, kind)) throw new Error('another version made it')
    db.exec('COMMIT')
    return db
  } catch (cause) {
    db.close()
    throw cause
  }
}

/** Whether the database is a file of this kind and version. */
export function isOfKind(db: DatabaseSync, { applicationId, version }: FileKind): boolean {
  return pragma(db, 'application_id') === applicationId && pragma(db, 'user_version') === version
}

/** Removes the file with all that SQLite has beside it. */
export function removeDisposable(file: string): void {
  // Earlier versions had a key.
  for (const suffix of ['', '-wal', '-shm', '-journal', '.key'])
    rmSync(`${file}${suffix}`, { force: true })
}

/** Does the work in a transaction: all of it, or nothing. */
export function transact(db: DatabaseSync, work: () => void): void {
  db.exec('BEGIN IMMEDIATE')
  try {
    work()
    db.exec('COMMIT')
  } catch (cause) {
    // SQLite ends the transaction by itself after some errors, such as a full disk.
    if (db.isTransaction) db.exec('ROLLBACK')
    throw cause
  }
}

const DAMAGE: ReadonlySet<number> = new Set([SQLITE.READONLY, SQLITE.CORRUPT, SQLITE.NOTADB])

/** Whether another process has the file open. */
export function isInUse(cause: unknown): boolean {
  return resultCode(cause) === SQLITE.BUSY
}

/** Whether the file must stay: another process has it open, or it is of another program. */
export function isOfOthers(cause: unknown): boolean {
  return isInUse(cause) || cause instanceof Foreign
}

/** Whether the file cannot be read, does not hold what was written, or is gone. */
export function isDamage(cause: unknown): boolean {
  if (cause instanceof SyntaxError || cause instanceof z.ZodError) return true
  return DAMAGE.has(resultCode(cause))
}
