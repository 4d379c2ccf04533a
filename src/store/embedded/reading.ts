import { err, ok, type Result, type ResultAsync } from 'neverthrow'
import { Backoff, type PauseBoundsMs } from '../../lib/backoff.ts'
import { siblingModule } from '../../lib/paths.ts'
import { Signal } from '../../lib/signal.ts'
import {
  MAX_PAGE,
  type ReadError,
  type ReadOptions,
  type RecordedEvent,
  type StoreFailure,
  type SubscriptionItem,
} from '../event-store.ts'
import { FileThread, type LogPage, type ReaderOperations } from './messages.ts'

/** The thread that reads pages of the log. Its file must be there when it is opened. */
export type Reads = FileThread<ReaderOperations>

export const readsOf = (file: string): Reads =>
  new FileThread(siblingModule('worker-reader', import.meta.url), file)

/** One page of a stream, as the port has it. */
export function readStream(
  reads: Reads,
  stream: string,
  { from, direction, limit }: ReadOptions,
): ResultAsync<RecordedEvent[], ReadError> {
  const request = {
    stream,
    from: from === 'end' ? Number.MAX_SAFE_INTEGER : atLeast(0, from),
    backward: direction === 'backward',
    limit: Math.min(atLeast(0, limit), MAX_PAGE),
  }
  return reads.ask('stream', request).andThen((page): Result<RecordedEvent[], ReadError> => {
    return page === null ? err({ type: 'stream_not_found', stream }) : ok([...page.events])
  })
}

/** @throws RangeError unless the value is an integer of at least `least` */
export function atLeast(least: number, value: number): number {
  if (Number.isSafeInteger(value) && value >= least) return value
  throw new RangeError(`an integer of at least ${least} is needed, not ${value}`)
}

/** What is followed: one stream by its revisions, or the whole log by its positions. */
export type Followed = {
  /** Whether a commit to this stream concerns it. */
  has(stream: string): boolean
  /** What is stored after a place. */
  read(after: number): ResultAsync<LogPage, StoreFailure>
}

/** One stream, by its revisions. A stream that does not exist yet is an empty one. */
export const oneStream = (reads: Reads, stream: string): Followed => ({
  has: (changed) => changed === stream,
  read: (after) =>
    reads
      .ask('stream', { stream, from: after + 1, backward: false, limit: null })
      .map((page) => page ?? { events: [], end: true, cursor: after }),
})

/** All streams whose name begins with `prefix`, by the positions of the log. */
export const allStreams = (reads: Reads, prefix: string): Followed => ({
  has: (changed) => changed.startsWith(prefix),
  read: (after) => reads.ask('log', { after, prefix }),
})

/** The pause after a read that failed. */
const RETRY_MS: PauseBoundsMs = [100, 5000]

/** Delivers pages from the file, each event once and in order. At the end, it waits for the next commit. */
export async function* follow(
  feed: CommitFeed,
  followed: Followed,
  after: number,
  signal: AbortSignal,
): AsyncGenerator<SubscriptionItem, void, undefined> {
  const news = feed.join(followed)
  const over = AbortSignal.any([signal, feed.closed])
  try {
    let isBehind = true
    // What is committed after a read has begun may not be in its page.
    let seen = news.count
    let reading = readPatiently(followed, after, over)
    while (!over.aborted) {
      const page = await reading
      if (page === null || over.aborted) return
      const { cursor, end, events } = page
      if (!end) {
        // The thread reads the next page while the subscriber works on this one.
        isBehind = true
        seen = news.count
        reading = readPatiently(followed, cursor, over)
      }
      if (events.length > 0) yield { type: 'events', events }
      if (!end) continue
      if (isBehind && seen === news.count) {
        isBehind = false
        yield { type: 'caught_up' }
      }
      await news.wait(over, seen)
      seen = news.count
      reading = readPatiently(followed, cursor, over)
    }
  } finally {
    feed.leave(news)
  }
}

/** The next page, as soon as the file can be read; null if the subscription ends before. */
async function readPatiently(
  followed: Followed,
  after: number,
  signal: AbortSignal,
): Promise<LogPage | null> {
  const backoff = new Backoff(RETRY_MS)
  while (!signal.aborted) {
    const page = await followed.read(after)
    if (page.isOk()) return page.value
    if (signal.aborted) return null
    process.emitWarning(`a subscription waits: ${page.error.message}`)
    await backoff.wait(signal)
  }
  return null
}

/** Wakes those who follow a stream when something was committed to it. */
export class CommitFeed {
  readonly #following = new Map<Signal, Followed>()
  readonly #closing = new AbortController()

  /** Aborts when the store closes: all subscriptions end, and later ones end at once. */
  get closed(): AbortSignal {
    return this.#closing.signal
  }

  publish(stream: string): void {
    for (const [news, followed] of this.#following) if (followed.has(stream)) news.notify()
  }

  /** Notified of each commit that concerns what is followed, until it leaves. */
  join(followed: Followed): Signal {
    const news = new Signal()
    this.#following.set(news, followed)
    return news
  }

  leave(news: Signal): void {
    this.#following.delete(news)
  }

  close(): void {
    this.#closing.abort()
  }
}
