import { existsSync, statSync } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { backup, DatabaseSync } from 'node:sqlite'
import { err, errAsync, ok, type Result, ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { immutable, openForReading } from '../../lib/sqlite-file.ts'
import { counted } from '../../lib/text.ts'
import { syncFolder } from '../../lib/write-durably.ts'
import type { EventStore, RecordedEvent, StoreFailure } from '../event-store.ts'
import { type Reads, readStream, readsOf } from './reading.ts'
import { refuseOthers, storeFailed } from './schema.ts'

const failed = (message: string): StoreFailure => ({ type: 'store_failed', message })

/** A connection to an existing log, for reading only. A server may be writing to it. */
function openExisting(file: string): Result<DatabaseSync, StoreFailure> {
  if (!existsSync(file)) {
    return err(failed(`there is no event store ${file}: name the data folder of a server`))
  }
  let db: DatabaseSync | undefined
  try {
    db = openForReading(file)
    refuseOthers(db, file)
    return ok(db)
  } catch (error) {
    db?.close()
    return err(storeFailed(file, error))
  }
}

/** A log to read: `pages` is all of it, in the order of the appends, up to what is stored when the end is reached. */
export type ReadableLog = Pick<EventStore, 'readStream'> & {
  pages(): AsyncGenerator<Result<readonly RecordedEvent[], StoreFailure>>
  close(): Promise<void>
}

/** Opens an existing log, for reading only. A server may be writing to it. */
export function openReadableLog(file: string): ResultAsync<ReadableLog, StoreFailure> {
  const found = openExisting(file)
  if (found.isErr()) return errAsync(found.error)
  found.value.close()
  const reads = readsOf(file)
  return reads.ask('open', file).map(() => ({
    pages: () => pages(reads),
    readStream: (stream, options) => readStream(reads, stream, options),
    close: () => reads.end(),
  }))
}

async function* pages(
  reads: Reads,
): AsyncGenerator<Result<readonly RecordedEvent[], StoreFailure>> {
  // The next page is read while the caller works on one.
  for (let reading = reads.ask('log', { after: 0, prefix: '' }); ; ) {
    const page = await reading
    if (page.isErr()) {
      yield err(page.error)
      return
    }
    const { events, end, cursor } = page.value
    if (!end) reading = reads.ask('log', { after: cursor, prefix: '' })
    if (events.length > 0) yield ok(events)
    if (end) return
  }
}

/** How many streams of others are named. */
const MAX_NAMED = 20

/** The first append of a stream makes it, together with its events. Only retention removes these. */
const STREAMS = `
  SELECT name, NOT EXISTS (SELECT 1 FROM events e WHERE e.stream_id = s.id) AS isEmpty
  FROM streams s`

/** A server counts the positions of its events from 1, and leaves only those of removed runs out. */
const SKIPPED = 'SELECT coalesce(max(position), 0) - count(*) AS skipped FROM events'

/**
 * What the records of a log do not show: damage, such as an index that leaves some of them out, skipped positions,
 * bytes after the end of the database, and streams that no server makes. Each part is a sentence without its full stop. A server may be writing to the log.
 * @param isOurs whether a server makes a stream with this name
 * @param removed how many events retention has removed of a stream
 */
export function foreignParts(
  file: string,
  isOurs: (stream: string) => boolean,
  removed: (stream: string) => number = () => 0,
): Result<readonly string[], StoreFailure> {
  return openExisting(file).andThen((db) => {
    try {
      const damage = damageOf(db)
      if (damage.length > 0) return ok(damage)
      return ok([...streamParts(db, isOurs, removed), ...trailingParts(db, file)])
    } catch (error) {
      return err(storeFailed(file, error))
    } finally {
      db.close()
    }
  })
}

/** What SQLite finds wrong with its tables, or with indexes that do not hold what is in these. */
function damageOf(db: DatabaseSync): string[] {
  const found = db.prepare(`PRAGMA integrity_check(${MAX_NAMED})`).all()
  const lines = found.map(({ integrity_check: line }) => String(line).replaceAll('\n', ' '))
  return lines[0] === 'ok' ? [] : lines.map((line) => `SQLite finds that it is damaged: ${line}`)
}

function skippedParts(db: DatabaseSync, removed: number): string[] {
  const skipped = Number(db.prepare(SKIPPED).get()?.skipped) - removed
  if (skipped === 0) return []
  return [`its events skip ${counted(skipped, 'position')}, which no server does`]
}

function trailingParts(db: DatabaseSync, file: string): string[] {
  // Before the pages are counted, which a server may add meanwhile.
  const { size } = statSync(file)
  const pages = db.prepare(
    'SELECT page_count * page_size AS bytes FROM pragma_page_count, pragma_page_size',
  )
  const trailing = size - Number(pages.get()?.bytes)
  if (trailing <= 0) return []
  return [`${counted(trailing, 'byte')} that are not of the database come after its end`]
}

function streamParts(
  db: DatabaseSync,
  isOurs: (stream: string) => boolean,
  removedOf: (stream: string) => number,
): string[] {
  const named: string[] = []
  let more = 0
  let removed = 0
  for (const { name, isEmpty } of db.prepare(STREAMS).iterate()) {
    const stream = String(name)
    if (isOurs(stream) && isEmpty === 0) continue
    if (removedOf(stream) > 0) {
      removed += removedOf(stream)
      continue
    }
    const why = isOurs(stream) ? 'without its events' : 'which no server makes'
    if (named.length < MAX_NAMED) named.push(`it has the stream ${JSON.stringify(stream)}, ${why}`)
    else more += 1
  }
  const others = more === 0 ? [] : [`it has ${more} more such streams`]
  return [...named, ...others, ...skippedParts(db, removed)]
}

/** What a log holds. */
const Contents = z.object({
  streams: z.int(),
  events: z.int(),
  /** Position of the last event; 0 for none. */
  head: z.int(),
})
type LogContents = z.infer<typeof Contents>

const CONTENTS = `
  SELECT (SELECT count(*) FROM streams) AS streams, count(*) AS events,
    coalesce(max(position), 0) AS head
  FROM events`

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
 * Copies the log as it is at one moment to another file, for this user alone. The file gets its name only when it is
 * complete, checked, and on the disk. It can replace a lost log.
 */
export function backupLog(options: BackupOptions): ResultAsync<LogContents, StoreFailure> {
  const target = resolve(options.target)
  const run = async (): Promise<Result<LogContents, StoreFailure>> => {
    const why = refusalOf(target, options.overwrite)
    if (why !== null) return err(failed(why))
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

/** Why a copy does not replace the target; null if it does. */
function refusalOf(target: string, overwrite: boolean): string | null {
  // A server would continue to write to a file without a name. And what a killed one left there would be mixed with the copy.
  if (existsSync(`${target}-wal`)) {
    return `${target} is a database in use, or was when its program was killed: choose another file for the copy`
  }
  if (overwrite || !existsSync(target)) return null
  return `${target} exists already: choose another file, or replace it with --force`
}

async function copyAndCheck(
  source: DatabaseSync,
  sourceFile: string,
  partial: string,
): Promise<Result<LogContents, StoreFailure>> {
  // For this connection, a read transaction keeps the log as it is, whatever a server writes.
  source.exec('BEGIN')
  source.prepare(CONTENTS).get()
  await open(partial, 'wx', 0o600).then((file) => file.close())
  await backup(source, partial, { rate: PAGES })
  source.exec('ROLLBACK')
  const copy = new DatabaseSync(immutable(partial), { readOnly: true })
  try {
    const check = copy.prepare('PRAGMA integrity_check(1)').get()?.integrity_check
    if (check === 'ok') return ok(Contents.parse(copy.prepare(CONTENTS).get()))
    return err(failed(`the copy of ${sourceFile} is damaged (${check})`))
  } finally {
    copy.close()
  }
}

async function giveName(partial: string, target: string): Promise<void> {
  await using file = await open(partial, 'r')
  await file.sync()
  await rename(partial, target)
  await syncFolder(dirname(target))
}
