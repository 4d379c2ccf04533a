import { err, errAsync, ok, okAsync, type Result, type ResultAsync } from 'neverthrow'
import { CommitFeed, type Followed, follow } from '../../src/store/embedded/reading.ts'
import {
  type AppendError,
  type Appended,
  appendBytes,
  type EventStore,
  type ExpectedRevision,
  MAX_APPEND_BYTES,
  MAX_PAGE,
  type NewEvent,
  type Overwrite,
  type OverwriteError,
  type ReadError,
  type ReadOptions,
  type RecordedEvent,
  type StoreFailure,
} from '../../src/store/event-store.ts'

/** A store in memory, which opens at once: for tests of what stands on a store. */
export function memoryStore(): EventStore {
  const store = new MemoryStore()
  const feed = new CommitFeed()
  const unlessClosed = <T, E>(answer: () => Result<T, E>): ResultAsync<T, E | StoreFailure> =>
    feed.closed.aborted
      ? errAsync({ type: 'store_unavailable', message: 'the store is closed' })
      : answer().asyncMap(async (value) => value)
  const all = (followed: Followed, after: number, signal: AbortSignal) =>
    follow(feed, followed, after, signal)
  return {
    append: (stream, events, { expectedRevision }) =>
      unlessClosed(() =>
        store.append(stream, events, expectedRevision).map((appended) => {
          feed.publish(stream)
          return appended
        }),
      ),
    readStream: (stream, options) => unlessClosed(() => store.read(stream, options)),
    subscribeStream: (stream, { after, signal }) => {
      const read = (seen: number) =>
        pageOf(store.of(stream).slice(seen + 1), store.of(stream).length - 1)
      return all({ has: (changed) => changed === stream, read }, after, signal)
    },
    subscribeAll: ({ after, prefix, signal }) => {
      const has = (stream: string) => stream.startsWith(prefix)
      const read = (seen: number) =>
        pageOf(
          store.log.slice(seen).filter(({ stream }) => has(stream) && store.of(stream).length > 0),
          store.log.length,
        )
      return all({ has, read }, Number(after ?? 0), signal)
    },
    overwrite: (events) => unlessClosed(() => store.overwrite(events)),
    removeStream: (stream, last) => unlessClosed(() => store.remove(stream, last)),
    ping: () => unlessClosed(() => ok()),
    close: async () => feed.close(),
  }
}

const pageOf = (events: readonly RecordedEvent[], cursor: number) =>
  okAsync({ events, cursor, end: true })

class MemoryStore {
  readonly log: RecordedEvent[] = []
  readonly #streams = new Map<string, RecordedEvent[]>()
  readonly #removed = new Set<string>()

  of(stream: string): readonly RecordedEvent[] {
    return this.#streams.get(stream) ?? []
  }

  append(
    stream: string,
    events: readonly NewEvent[],
    expected: ExpectedRevision,
  ): Result<Appended, AppendError> {
    const bytes = appendBytes(events)
    if (bytes > MAX_APPEND_BYTES) {
      return err({ type: 'append_too_large', bytes, limit: MAX_APPEND_BYTES })
    }
    if (this.#removed.has(stream)) return err({ type: 'store_failed', message: 'removed' })
    const before = this.of(stream)
    return isRepeated(before, events, expected).map((repeated) => {
      if (repeated) return { revision: firstRevision(expected) + events.length - 1 }
      const added = events.map((event, at): RecordedEvent => {
        const revision = before.length + at
        const position = String(this.log.length + at + 1)
        return { ...event, stream, revision, position, created: Date.now() }
      })
      this.log.push(...added)
      this.#streams.set(stream, [...before, ...added])
      return { revision: before.length + events.length - 1 }
    })
  }

  read(
    stream: string,
    { from, direction, limit }: ReadOptions,
  ): Result<RecordedEvent[], ReadError> {
    const events = this.of(stream)
    if (events.length === 0) return err({ type: 'stream_not_found', stream })
    const first = from === 'end' ? events.length : from
    const found =
      direction === 'forward' ? events.slice(first) : events.slice(0, first + 1).reverse()
    return ok(found.slice(0, Math.min(limit, MAX_PAGE)))
  }

  remove(stream: string, last: number): Result<void, AppendError> {
    const { length } = this.of(stream)
    if (this.#removed.has(stream)) return ok()
    if (length !== last + 1) {
      const actual = length === 0 ? 'no_stream' : length - 1
      return err({ type: 'wrong_expected_revision', expected: last, actual })
    }
    this.#removed.add(stream)
    this.#streams.delete(stream)
    return ok()
  }

  overwrite(events: readonly Overwrite[]): Result<void, OverwriteError> {
    const other = events.find(({ stream, revision, id }) => this.of(stream)[revision]?.id !== id)
    if (other !== undefined) {
      return err({ type: 'other_event', stream: other.stream, revision: other.revision })
    }
    for (const { stream, revision, data, metadata } of events) {
      const stored = this.of(stream)[revision]
      if (stored === undefined) continue
      const replaced = { ...stored, data, metadata }
      this.log[Number(stored.position) - 1] = replaced
      this.#streams.set(stream, this.of(stream).with(revision, replaced))
    }
    return ok()
  }
}

const firstRevision = (expected: ExpectedRevision): number =>
  expected === 'no_stream' ? 0 : Number(expected) + 1

/** Whether an append adds nothing, because it repeats one. */
function isRepeated(
  before: readonly RecordedEvent[],
  events: readonly NewEvent[],
  expected: ExpectedRevision,
): Result<boolean, AppendError> {
  const actual = before.length === 0 ? 'no_stream' : before.length - 1
  if (expected === 'any' || expected === actual) return ok(false)
  const first = firstRevision(expected)
  const repeats = events.every(({ id }, at) => before[first + at]?.id === id)
  return repeats ? ok(true) : err({ type: 'wrong_expected_revision', expected, actual })
}
