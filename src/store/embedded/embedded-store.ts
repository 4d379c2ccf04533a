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
  type StoreFailure,
} from '../event-store.ts'
import { type Append, FileThread, type WriterOperations, type Written } from './messages.ts'
import {
  allStreams,
  atLeast,
  CommitFeed,
  follow,
  oneStream,
  readStream,
  readsOf,
} from './reading.ts'

const WRITER = siblingModule('worker-writer', import.meta.url)

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
  const writer: Writer = new FileThread(WRITER, file)
  const reads = readsOf(file)
  const appends = new AppendQueue(writer, feed)
  let closing: Promise<void> | null = null
  const close = async (): Promise<void> => {
    feed.close()
    // The writer closes last: it copies the write-ahead log into the file after all reads have ended.
    await reads.end()
    await appends.settled()
    await writer.end()
  }
  const message = `the event store ${file} is closed`
  const unlessClosed = <T, E>(act: () => ResultAsync<T, E>): ResultAsync<T, E | StoreFailure> =>
    closing === null ? act() : errAsync({ type: 'store_unavailable', message })
  const store: EventStore = {
    append: (stream, events, { expectedRevision }) =>
      unlessClosed(() => appends.append(stream, events, expectedRevision)),
    readStream: (stream, options) => unlessClosed(() => readStream(reads, stream, options)),
    subscribeStream: (stream, { after, signal }) =>
      follow(feed, oneStream(reads, stream), atLeast(-1, after), signal),
    subscribeAll: ({ after, prefix, signal }) => {
      const place = after === null ? 0 : atLeast(0, Number(after))
      return follow(feed, allStreams(reads, prefix), place, signal)
    },
    overwrite: (events) => unlessClosed(() => writer.ask('overwrite', events)),
    removeStream: (stream, last) => unlessClosed(() => writer.ask('remove', { stream, last })),
    ping: () =>
      unlessClosed(() => writer.ask('probe', null).andThen(() => reads.ask('ping', null))),
    close: () => {
      closing ??= close()
      return closing
    },
  }
  return writer
    .ask('open', file)
    .andThen(() => reads.ask('open', file))
    .map(() => store)
    .orElse((failure) => ResultAsync.fromSafePromise(close()).andThen(() => err(failure)))
}

type Writer = FileThread<WriterOperations>

type Pending = Append & {
  readonly bytes: number
  readonly settle: (result: Result<Appended, AppendError>) => void
}

/** A group takes no more appends once it has this many bytes, so that a commit stays short. */
const GROUP_BYTES = 8_000_000

/** Appends in groups: what arrives while a group is written is the next one, with one commit. */
class AppendQueue {
  readonly #writer: Writer
  readonly #feed: CommitFeed
  #gathered: Pending[] = []
  /** Null while nothing is written. */
  #writing: Promise<void> | null = null

  constructor(writer: Writer, feed: CommitFeed) {
    this.#writer = writer
    this.#feed = feed
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

  /** Resolves when what is under way is written. No append may follow. */
  async settled(): Promise<void> {
    await this.#writing
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
    const { lost } = this.#writer
    if (lost !== null) return group.map(() => lost)
    const appends = group.map(({ stream, expected, events }) => ({ stream, expected, events }))
    return this.#writer.ask('append', appends).match<readonly Written[]>(
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
