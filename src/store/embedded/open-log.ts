import { realpathSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { err, ok, type Result } from 'neverthrow'
import { BUSY_TIMEOUT_MS, lockFile, openForReading as openFile } from '../../lib/sqlite-file.ts'
import type { StoreFailure } from '../event-store.ts'
import { isBusy, prepareSchema, storeFailed } from './schema.ts'

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
    return err(refusal(wanted, error))
  }
}

/** A connection for reading, beside the one that writes. */
export function openForReading(file: string): Result<DatabaseSync, StoreFailure> {
  try {
    return ok(openFile(file))
  } catch (error) {
    return err(storeFailed(file, error))
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

function refusal(file: string, error: unknown): StoreFailure {
  if (!isBusy(error)) return storeFailed(file, error)
  const message =
    `the event store ${file} is in use already, by another server or another part of this one: ` +
    'stop that one, or choose another file (for a server: another --data-dir)'
  return { type: 'store_failed', message }
}
