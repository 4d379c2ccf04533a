import { existsSync } from 'node:fs'
import { open, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { backup, DatabaseSync } from 'node:sqlite'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import * as z from 'zod'
import type { StoreFailure } from '../event-store.ts'
import { openExisting } from './existing-log.ts'
import { immutable } from './open-log.ts'
import { storeFailed } from './sqlite-failure.ts'

/** What a log holds. */
const Contents = z.object({
  streams: z.int(),
  events: z.int(),
  /** Position of the last event; 0 for none. */
  head: z.int(),
  /** Streams whose revisions have gaps. A whole log has no such stream. */
  broken: z.int(),
})
type LogContents = z.infer<typeof Contents>

const CONTENTS = `
  SELECT count(*) AS streams, coalesce(sum(events), 0) AS events,
    coalesce(max(head), 0) AS head, coalesce(sum(last <> events - 1), 0) AS broken
  FROM (
    SELECT count(*) AS events, max(revision) AS last, max(position) AS head
    FROM events GROUP BY stream_id
  )`

/** How many pages of 4 KiB are copied at once. */
const PAGES = 2_000

type BackupOptions = {
  /** The log, which a server may be writing to. */
  readonly source: string
  readonly target: string
  /** Whether an existing target is replaced. */
  readonly overwrite: boolean
}

/**
 * Copies the log as it is at one moment to another file. The file gets its name only when it is complete, checked, and
 * on the disk. It can replace a lost log.
 */
export function backupLog(options: BackupOptions): ResultAsync<LogContents, StoreFailure> {
  const target = resolve(options.target)
  const failed = (message: string) => err<LogContents, StoreFailure>(storeFailure(message))
  const run = async (): Promise<Result<LogContents, StoreFailure>> => {
    const inTheWay = await whatIsInTheWay(options.source, target)
    if (inTheWay !== null) return failed(inTheWay)
    if (existsSync(target) && !options.overwrite) {
      return failed(`${target} exists already: choose another file, or replace it with --force`)
    }
    if (!existsSync(dirname(target))) {
      return failed(`there is no folder ${dirname(target)}: make it first, or choose another file`)
    }
    const source = openExisting(options.source)
    if (source.isErr()) return err(source.error)
    const partial = join(dirname(target), `.${basename(target)}.${process.pid}.partial`)
    try {
      const contents = await copyAndCheck(source.value, options.source, partial)
      if (contents.isOk()) await giveName(partial, target)
      return contents
    } catch (cause) {
      return err(storeFailed(target, cause))
    } finally {
      if (source.value.isOpen) source.value.close()
      await rm(partial, { force: true })
    }
  }
  return new ResultAsync(run())
}

const storeFailure = (message: string): StoreFailure => ({ type: 'store_failed', message })

/** Why the target cannot be replaced, even with `overwrite`; null if it can. */
async function whatIsInTheWay(source: string, target: string): Promise<string | null> {
  const there = await stat(target).catch(() => null)
  if (there === null) return null
  if (there.isDirectory()) return `${target} is a folder: name a file in it`
  const log = await stat(source).catch(() => null)
  // Its server would continue to write to a file without a name, and all of that would be lost.
  if (log !== null && log.ino === there.ino && log.dev === there.dev) {
    return `${target} is the log itself: choose another file for the copy`
  }
  // The same holds for the log of another server. And what a killed server left there would be mixed with the copy.
  if (!existsSync(`${target}-wal`)) return null
  return `${target} is a database in use, or was when its program was killed: choose another file for the copy`
}

async function copyAndCheck(
  source: DatabaseSync,
  sourceFile: string,
  partial: string,
): Promise<Result<LogContents, StoreFailure>> {
  // For this connection, a read transaction keeps the log as it is, whatever a server writes.
  source.exec('BEGIN')
  const expected = contentsOf(source)
  await open(partial, 'wx', await modeOfCopy(sourceFile)).then((file) => file.close())
  await backup(source, partial, { rate: PAGES })
  source.exec('ROLLBACK')
  const copy = new DatabaseSync(immutable(partial), { readOnly: true })
  try {
    const check = copy.prepare('PRAGMA integrity_check(1)').get()?.integrity_check
    if (check !== 'ok') return err(storeFailure(`the copy of ${sourceFile} is damaged (${check})`))
    const contents = contentsOf(copy)
    const same = JSON.stringify(contents) === JSON.stringify(expected)
    if (same && contents.broken === 0) return ok(contents)
    const holds = `${contents.events} events in ${contents.streams} streams, ${contents.broken} broken`
    return err(storeFailure(`the copy of ${sourceFile} is not whole: it holds ${holds}`))
  } finally {
    copy.close()
  }
}

/** For those who can open the log: its folder keeps others out, who may reach the place of the copy. */
async function modeOfCopy(log: string): Promise<number> {
  const [file, folder] = await Promise.all([stat(log), stat(dirname(log))])
  // Whoever may enter the folder (1) may read and write the file (6), if the file permits that.
  return file.mode & (0o600 | ((folder.mode & 0o011) * 6))
}

function contentsOf(db: DatabaseSync): LogContents {
  return Contents.parse(db.prepare(CONTENTS).get())
}

async function giveName(partial: string, target: string): Promise<void> {
  await syncPath(partial)
  await rename(partial, target)
  await syncPath(dirname(target))
}

async function syncPath(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
