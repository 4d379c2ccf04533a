import { accessSync, constants, realpathSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'
import { err, ok, type Result } from 'neverthrow'
import type { StoreFailure } from '../event-store.ts'
import { isBusy, prepareSchema, READER_PRAGMAS, storeFailed } from './schema.ts'

/** How long another program may hold the file before a write fails, in milliseconds. */
const BUSY_TIMEOUT_MS = 5000

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
    opened.push(lock(file))
    const db = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS })
    opened.push(db)
    prepareSchema(db, file)
    return ok({ file, db, close })
  } catch (error) {
    close()
    return err(refusal(wanted, error))
  }
}

/** A connection for reading, beside the one that writes. */
export function openForReading(file: string): Result<DatabaseSync, StoreFailure> {
  const opened = connect(file)
  if (opened.isOk() || canWriteBeside(file)) {
    return opened.mapErr((error) => storeFailed(file, error))
  }
  if (!isAtRest(file)) {
    const message = `a part of the event store ${file} is in ${file}-wal, and nothing can be written in its folder: copy the folder to a place where it can be written`
    return err({ type: 'store_failed', message })
  }
  return connect(immutable(file)).mapErr((error) => storeFailed(file, error))
}

function connect(file: string | URL): Result<DatabaseSync, unknown> {
  let db: DatabaseSync | null = null
  try {
    db = new DatabaseSync(file, { readOnly: true, timeout: BUSY_TIMEOUT_MS })
    db.exec(READER_PRAGMAS)
    // The first access to the file.
    db.exec('PRAGMA schema_version')
    return ok(db)
  } catch (error) {
    db?.close()
    return err(error)
  }
}

/** On a read-only disk, SQLite cannot make the files that it needs beside a log. */
function canWriteBeside(file: string): boolean {
  try {
    accessSync(dirname(file), constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** Whether all of the log is in its file, and nothing in its write-ahead log. */
function isAtRest(file: string): boolean {
  return (statSync(`${file}-wal`, { throwIfNoEntry: false })?.size ?? 0) === 0
}

/** Opens a file that nobody changes, without creating the files of a shared one beside it. */
export function immutable(file: string): URL {
  const url = pathToFileURL(file)
  url.searchParams.set('immutable', '1')
  return url
}

function realName(file: string): string {
  const path = resolve(file)
  try {
    return realpathSync(path)
  } catch {
    return join(realpathSync(dirname(path)), basename(path))
  }
}

function refusal(file: string, error: unknown): StoreFailure {
  if (!isBusy(error)) return storeFailed(file, error)
  const message =
    `the event store ${file} is in use already, by another server or another part of this one: ` +
    'stop that one, or choose another file (for a server: another --data-dir)'
  return { type: 'store_failed', message }
}

/**
 * Locks `file` for this store: an empty database beside it, in a transaction that never ends. The lock belongs to the
 * open file, so the kernel releases it however the process ends, and nothing stale is ever left. (The log itself
 * cannot be locked, because the connection of the reading thread needs it.)
 * @throws SQLite's "database is locked" while another store has it
 */
function lock(file: string): DatabaseSync {
  const held = new DatabaseSync(`${file}-lock`)
  try {
    held.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    held.close()
    throw error
  }
  return held
}
