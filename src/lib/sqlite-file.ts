import { accessSync, constants, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'

/** How long another program may hold a file, in milliseconds. */
export const BUSY_TIMEOUT_MS = 5000

/** Primary result codes of SQLite. `READONLY` is also its answer to a write after its file was moved or deleted. */
export const SQLITE = {
  BUSY: 5,
  LOCKED: 6,
  READONLY: 8,
  CORRUPT: 11,
  FULL: 13,
  NOTADB: 26,
} as const

/** The extended result code of an error that SQLite raised, else 0. */
export function extendedCode(error: unknown): number {
  if (!(error instanceof Error) || !('errcode' in error)) return 0
  return typeof error.errcode === 'number' ? error.errcode : 0
}

/** The primary result code of an error that SQLite raised, else 0. */
export const resultCode = (error: unknown): number => extendedCode(error) & 0xff

/** What a pragma answers first. */
export function pragma(db: DatabaseSync, statement: string): unknown {
  const row = db.prepare(`PRAGMA ${statement}`).get()
  return row === undefined ? undefined : Object.values(row)[0]
}

const READER_PRAGMAS = 'PRAGMA cache_size = -16000; PRAGMA query_only = ON;'

/**
 * Locks `file` for this process: an empty database beside it, in a transaction that never ends. The lock belongs to the
 * open file, so the kernel releases it however the process ends, and nothing stale is ever left. (The file itself
 * cannot be locked, because connections that read it need it.)
 * @throws SQLite's "database is locked" while another one has it
 */
export function lockFile(file: string): DatabaseSync {
  const held = new DatabaseSync(`${file}-lock`)
  try {
    held.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    held.close()
    throw error
  }
  return held
}

/** A connection for reading, beside one that writes. @throws why the file cannot be read */
export function openForReading(file: string): DatabaseSync {
  try {
    return connect(file)
  } catch (error) {
    if (canWriteBeside(file)) throw error
    if (isAtRest(file)) return connect(immutable(file))
  }
  throw new Error(
    `a part of it is in ${file}-wal, and nothing can be written in its folder: copy the folder to a place where it can be written`,
  )
}

function connect(file: string | URL): DatabaseSync {
  const db = new DatabaseSync(file, { readOnly: true, timeout: BUSY_TIMEOUT_MS })
  try {
    db.exec(READER_PRAGMAS)
    // The first access to the file.
    db.exec('PRAGMA schema_version')
    return db
  } catch (error) {
    db.close()
    throw error
  }
}

/** On a read-only disk, SQLite cannot make the files that it needs beside a database. */
function canWriteBeside(file: string): boolean {
  try {
    accessSync(dirname(file), constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** Whether all of a database is in its file, and nothing in its write-ahead log. */
function isAtRest(file: string): boolean {
  return (statSync(`${file}-wal`, { throwIfNoEntry: false })?.size ?? 0) === 0
}

/** Opens a file that nobody changes, without creating the files of a shared one beside it. */
export function immutable(file: string): URL {
  const url = pathToFileURL(file)
  url.searchParams.set('immutable', '1')
  return url
}
