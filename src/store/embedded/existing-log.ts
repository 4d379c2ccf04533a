import { existsSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'
import { err, errAsync, ok, type Result, type ResultAsync } from 'neverthrow'
import { oneAhead } from '../../lib/one-ahead.ts'
import type { EventStore, RecordedEvent, StoreFailure } from '../event-store.ts'
import { CommitFeed } from './commit-feed.ts'
import { followedLog } from './follow.ts'
import { openForReading } from './open-log.ts'
import { ReadQueue, readStream } from './read-queue.ts'
import { refuseOthers } from './schema.ts'
import { storeFailed } from './sqlite-failure.ts'

/** A connection to an existing log, for reading only. A server may be writing to it. */
export function openExisting(file: string): Result<DatabaseSync, StoreFailure> {
  if (!existsSync(file)) {
    return err({
      type: 'store_failed',
      message: `there is no event store ${file}: name the data folder of a server`,
    })
  }
  return openForReading(file).andThen((db): Result<DatabaseSync, StoreFailure> => {
    try {
      refuseOthers(db, file)
      return ok(db)
    } catch (error) {
      db.close()
      return err(storeFailed(file, error))
    }
  })
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
  const reads = new ReadQueue(file)
  return reads.open().map(() => ({
    pages: () => oneAhead(pages(reads)),
    readStream: (stream, options) => readStream(reads, stream, options),
    close: () => reads.close(),
  }))
}

async function* pages(
  reads: ReadQueue,
): AsyncGenerator<Result<readonly RecordedEvent[], StoreFailure>> {
  const log = followedLog(new CommitFeed(), reads, '')
  for (let after = 0; ; ) {
    const page = await log.read(after)
    if (page.isErr()) {
      yield err(page.error)
      return
    }
    const { events, end, cursor } = page.value
    if (events.length > 0) yield ok(events)
    if (end) return
    after = cursor
  }
}
