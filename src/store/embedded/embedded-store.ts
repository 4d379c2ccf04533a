import { err, errAsync, ResultAsync } from 'neverthrow'
import type {
  AppendError,
  Appended,
  EventStore,
  ExpectedRevision,
  NewEvent,
  Overwrite,
  OverwriteError,
  Position,
  ReadError,
  ReadOptions,
  RecordedEvent,
  Revision,
  StoreFailure,
  Subscription,
} from '../event-store.ts'
import { AppendQueue } from './append-queue.ts'
import { CommitFeed } from './commit-feed.ts'
import { follow, followedLog, followedStream } from './follow.ts'
import { atLeast, ReadQueue, readStream } from './read-queue.ts'

/**
 * Opens the event store in one SQLite file. Creates the file if it does not exist, but not its folder. An acknowledged
 * append survives the death of the process and a loss of power. Only one store can have the file open: any other is
 * refused with `store_failed`, and so are foreign, newer and damaged files.
 */
export function openEmbeddedStore(options: {
  readonly file: string
}): ResultAsync<EventStore, StoreFailure> {
  const feed = new CommitFeed()
  // Both threads start at the same time. The one that reads opens the file after the other has made it.
  const appends = new AppendQueue(options.file, feed)
  const reads = new ReadQueue(options.file)
  return appends
    .opened()
    .andThen(() => reads.open())
    .map((): EventStore => new EmbeddedStore(options.file, appends, reads, feed))
    .orElse((failure) => {
      const closed = Promise.all([reads.close(), appends.close()])
      return ResultAsync.fromSafePromise(closed).andThen(() => err(failure))
    })
}

class EmbeddedStore implements EventStore {
  readonly #file: string
  readonly #appends: AppendQueue
  readonly #reads: ReadQueue
  readonly #feed: CommitFeed
  #closing: Promise<void> | null = null

  constructor(file: string, appends: AppendQueue, reads: ReadQueue, feed: CommitFeed) {
    this.#file = file
    this.#appends = appends
    this.#reads = reads
    this.#feed = feed
  }

  append(
    stream: string,
    events: readonly NewEvent[],
    options: { readonly expectedRevision: ExpectedRevision },
  ): ResultAsync<Appended, AppendError> {
    if (this.#closing !== null) return errAsync(this.#closed())
    return this.#appends.append(stream, events, options.expectedRevision)
  }

  readStream(stream: string, options: ReadOptions): ResultAsync<RecordedEvent[], ReadError> {
    if (this.#closing !== null) return errAsync(this.#closed())
    return readStream(this.#reads, stream, options)
  }

  subscribeStream(
    stream: string,
    options: { readonly after: Revision; readonly signal: AbortSignal },
  ): Subscription {
    const after = atLeast(-1, options.after)
    return follow(followedStream(this.#feed, this.#reads, stream), after, options.signal)
  }

  subscribeAll(options: {
    readonly after: Position | null
    readonly prefix: string
    readonly signal: AbortSignal
  }): Subscription {
    const after = options.after === null ? 0 : atLeast(0, Number(options.after))
    return follow(followedLog(this.#feed, this.#reads, options.prefix), after, options.signal)
  }

  overwrite(events: readonly Overwrite[]): ResultAsync<void, OverwriteError> {
    if (this.#closing !== null) return errAsync(this.#closed())
    return this.#appends.overwrite(events)
  }

  ping(): ResultAsync<void, StoreFailure> {
    if (this.#closing !== null) return errAsync(this.#closed())
    return this.#appends
      .ping()
      .andThen(() => this.#reads.ask(null, (id) => ({ op: 'ping', id })))
      .map(() => undefined)
  }

  close(): Promise<void> {
    this.#closing ??= this.#finish()
    return this.#closing
  }

  /** The writer closes last: it copies the write-ahead log into the file after all reads have ended. */
  async #finish(): Promise<void> {
    this.#feed.close()
    await this.#reads.close()
    await this.#appends.close()
  }

  #closed(): StoreFailure {
    return { type: 'store_unavailable', message: `the event store ${this.#file} is closed` }
  }
}
