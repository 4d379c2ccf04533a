import { err, errAsync, ok, type Result, ResultAsync } from 'neverthrow'
import { siblingModule } from '../../lib/paths.ts'
import {
  type AppendError,
  type Appended,
  appendBytes,
  type EventStore,
  type ExpectedRevision,
  MAX_APPEND_BYTES,
  type NewEvent,
  type Overwrite,
  type OverwriteError,
  type StoreFailure,
} from '../event-store.ts'
import { type Append, FileThread, type WriterOperations, type Written } from './messages.ts'
import {
  allStreams,
  atLeast,
  CommitFeed,
  follow,
  oneStream,
  type Reads,
  readStream,
  readsOf,
} from './reading.ts'

/**
 * Opens the event store in one SQLite file. Creates the file if it does not exist, but not its folder. An acknowledged
 * append survives the death of the process and a loss of power. Only one store can have the file open: any other is
 * refused with `store_failed`, and so are foreign, newer and damaged files.
 */
export function openEmbeddedStore({
  file,
}: {
  readonly file: string
}): ResultAsync<EventStore, StoreFailure> {
  const feed = new CommitFeed()
  // Both threads start at the same time. The one that reads opens the file after the other has made it.
  const appends = new AppendQueue(file, feed)
  const reads = readsOf(file)
  const close = async (): Promise<void> => {
    feed.close()
    // The writer closes last: it copies the write-ahead log into the file after all reads have ended.
    await reads.end()
    await appends.close()
  }
  return appends
    .open()
    .andThen(() => reads.ask('open', file))
    .map(() => storeOf(file, appends, reads, feed, close))
    .orElse((failure) => ResultAsync.fromSafePromise(close()).andThen(() => err(failure)))
}

function storeOf(
  file: string,
  appends: AppendQueue,
  reads: Reads,
  feed: CommitFeed,
  close: () => Promise<void>,
): EventStore {
  let closing: Promise<void> | null = null
  const message = `the event store ${file} is closed`
  const unlessClosed = <T, E>(act: () => ResultAsync<T, E>): ResultAsync<T, E | StoreFailure> =>
    closing === null ? act() : errAsync({ type: 'store_unavailable', message })
  return {
    append: (stream, events, { expectedRevision }) =>
      unlessClosed(() => appends.append(stream, events, expectedRevision)),
    readStream: (stream, options) => unlessClosed(() => readStream(reads, stream, options)),
    subscribeStream: (stream, { after, signal }) =>
      follow(feed, oneStream(reads, stream), atLeast(-1, after), signal),
    subscribeAll: ({ after, prefix, signal }) => {
      const place = after === null ? 0 : atLeast(0, Number(after))
      return follow(feed, allStreams(reads, prefix), place, signal)
    },
    overwrite: (events) => unlessClosed(() => appends.overwrite(events)),
    removeStream: (stream, last) => unlessClosed(() => appends.remove(stream, last)),
    ping: () => unlessClosed(() => appends.ping().andThen(() => reads.ask('ping', null))),
    close: () => {
      closing ??= close()
      return closing
    },
  }
}

type Pending = Append & {
  readonly bytes: number
  readonly settle: (result: Result<Appended, AppendError>) => void
}

/** A group takes no more appends once it has this many bytes, so that a commit stays short. */
const GROUP_BYTES = 8_000_000

const WRITER = siblingModule('worker-writer', import.meta.url)

/** Appends in groups: what arrives while a group is written is the next one, with one commit. */
class AppendQueue {
  readonly #file: string
  readonly #feed: CommitFeed
  readonly #thread: FileThread<WriterOperations>
  #gathered: Pending[] = []
  /** Null while nothing is written. */
  #writing: Promise<void> | null = null

  /** Starts the thread. */
  constructor(file: string, feed: CommitFeed) {
    this.#file = file
    this.#feed = feed
    this.#thread = new FileThread(WRITER, file)
  }

  /** Creates the file if it is missing, and locks it. No append may come before. */
  open(): ResultAsync<null, StoreFailure> {
    return this.#thread.ask('open', this.#file)
  }

  append(
    stream: string,
    events: readonly NewEvent[],
    expected: ExpectedRevision,
  ): ResultAsync<Appended, AppendError> {
    if (events.length === 0) throw new RangeError('an append holds at least one event')
    assertRevision(expected)
    const bytes = appendBytes(events)
    if (bytes > MAX_APPEND_BYTES) {
      return errAsync({ type: 'append_too_large', bytes, limit: MAX_APPEND_BYTES })
    }
    return new ResultAsync(
      new Promise((settle) => {
        this.#gathered.push({ stream, events, expected, bytes, settle })
        this.#writing ??= this.#write()
      }),
    )
  }

  overwrite(events: readonly Overwrite[]): ResultAsync<void, OverwriteError> {
    return this.#thread.ask('overwrite', events)
  }

  remove(stream: string, last: number): ResultAsync<void, AppendError> {
    return this.#thread.ask('remove', { stream, last })
  }

  /** Whether the file takes a write now. */
  ping(): ResultAsync<void, StoreFailure> {
    return this.#thread.ask('probe', null)
  }

  /** Finishes what is under way, and closes the file. No append may follow. */
  async close(): Promise<void> {
    await this.#writing
    await this.#thread.end()
  }

  async #write(): Promise<void> {
    // The appends of one turn of the event loop are one group.
    await new Promise(setImmediate)
    while (this.#gathered.length > 0) {
      const group = this.#takeGroup()
      this.#settle(group, await this.#written(group))
      // Those whose appends are settled make the next ones.
      await new Promise(setImmediate)
    }
    this.#writing = null
  }

  #takeGroup(): Pending[] {
    let bytes = 0
    const full = this.#gathered.findIndex((pending) => {
      bytes += pending.bytes
      return bytes >= GROUP_BYTES
    })
    return this.#gathered.splice(0, full === -1 ? this.#gathered.length : full + 1)
  }

  async #written(group: readonly Pending[]): Promise<readonly Written[]> {
    const { lost } = this.#thread
    if (lost !== null) return group.map(() => lost)
    const appends = group.map(({ stream, expected, events }) => ({ stream, expected, events }))
    return this.#thread.ask('append', appends).match<readonly Written[]>(
      (written) => written,
      ({ message }) => group.map(() => ({ type: 'outcome_unknown', message })),
    )
  }

  #settle(group: readonly Pending[], written: readonly Written[]): void {
    for (const [index, { stream, settle }] of group.entries()) {
      const outcome = written[index]
      if (outcome === undefined) continue
      if ('revision' in outcome) {
        this.#feed.publish(stream)
        settle(ok(outcome))
      } else settle(err(outcome))
    }
  }
}

/** @throws RangeError if it is not a revision at all: the caller's mistake */
function assertRevision(expected: ExpectedRevision): void {
  if (typeof expected === 'string' || (Number.isSafeInteger(expected) && expected >= 0)) return
  throw new RangeError(`an expected revision is an integer of at least 0, not ${expected}`)
}
