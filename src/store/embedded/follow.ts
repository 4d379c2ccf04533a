import type { ResultAsync } from 'neverthrow'
import { Backoff, type PauseBoundsMs } from '../../lib/backoff.ts'
import type { RecordedEvent, StoreFailure, SubscriptionItem } from '../event-store.ts'
import type { CommitFeed, Inbox } from './commit-feed.ts'
import type { ReadQueue } from './read-queue.ts'

/** What is stored after a cursor, up to a bounded size. */
type CatchUpPage = {
  readonly events: readonly RecordedEvent[]
  /** Everything up to here has been seen. */
  readonly cursor: number
  /** Nothing was stored after it when the page was read. */
  readonly end: boolean
}

/** What is followed: a stream by its revisions, or the whole log by its positions. */
export type Followed = {
  join(): Inbox
  leave(inbox: Inbox): void
  placeOf(event: RecordedEvent): number
  read(after: number): ResultAsync<CatchUpPage, StoreFailure>
}

/** The pause after a read that failed. */
const RETRY_MS: PauseBoundsMs = [100, 5000]

/**
 * Delivers pages from the file, then commits from memory, each event once and in order. The inbox is joined before the
 * first page is read, so the inbox gets what a page does not hold, and the cursor drops what both hold. A subscriber
 * whose inbox overflowed reads pages again.
 */
export async function* follow(
  followed: Followed,
  after: number,
  signal: AbortSignal,
): AsyncGenerator<SubscriptionItem, void, undefined> {
  const inbox = followed.join()
  const close = (): void => inbox.close()
  signal.addEventListener('abort', close)
  if (signal.aborted) close()
  let cursor = after
  const readOn = (): Promise<CatchUpPage | null> => {
    inbox.reset()
    return readPatiently(followed, cursor, inbox, signal)
  }
  let ahead: Promise<CatchUpPage | null> | null = null
  try {
    while (!inbox.closed) {
      const page: CatchUpPage | null = await (ahead ?? readOn())
      if (page === null || inbox.closed) return
      cursor = page.cursor
      // The thread reads the next page while the subscriber works on this one.
      ahead = page.end ? null : readOn()
      if (page.events.length > 0) yield { type: 'events', events: page.events }
      if (page.end) cursor = yield* live(followed, inbox, cursor, signal)
    }
  } finally {
    signal.removeEventListener('abort', close)
    followed.leave(inbox)
  }
}

/** Delivers what comes to the inbox, until it overflows or closes; returns the last place seen. */
async function* live(
  followed: Followed,
  inbox: Inbox,
  after: number,
  signal: AbortSignal,
): AsyncGenerator<SubscriptionItem, number, undefined> {
  let cursor = after
  let caughtUp = false
  while (!inbox.overflowed && !inbox.closed) {
    const events = inbox.take().filter((event) => followed.placeOf(event) > cursor)
    const last = events.at(-1)
    if (last !== undefined) {
      cursor = followed.placeOf(last)
      yield { type: 'events', events }
    } else if (caughtUp) {
      await inbox.changed(signal)
    } else {
      caughtUp = true
      yield { type: 'caught_up' }
    }
  }
  return cursor
}

/** The next page, as soon as the file can be read; null if the subscription ends before. */
async function readPatiently(
  followed: Followed,
  after: number,
  inbox: Inbox,
  signal: AbortSignal,
): Promise<CatchUpPage | null> {
  const backoff = new Backoff(RETRY_MS)
  while (!inbox.closed) {
    const page = await followed.read(after)
    if (page.isOk()) return page.value
    if (inbox.closed) return null
    process.emitWarning(`a subscription waits: ${page.error.message}`)
    await backoff.wait(signal)
  }
  return null
}

/** One stream, by its revisions. A stream that does not exist yet is an empty one. */
export function followedStream(feed: CommitFeed, reads: ReadQueue, stream: string): Followed {
  const page = { op: 'stream', stream, backward: false, limit: null } as const
  return {
    join: () => feed.joinStream(stream),
    leave: (inbox) => feed.leaveStream(stream, inbox),
    placeOf: (event) => event.revision,
    read: (after) =>
      reads
        .ask(stream, (id) => ({ ...page, id, from: after + 1 }))
        .map(({ events, end }) => ({ events, end, cursor: events.at(-1)?.revision ?? after })),
  }
}

/** All streams whose name begins with `prefix`, by the positions of the log. */
export function followedLog(feed: CommitFeed, reads: ReadQueue, prefix: string): Followed {
  return {
    join: () => feed.joinAll(prefix),
    leave: (inbox) => feed.leaveAll(inbox),
    placeOf: (event) => Number(event.position),
    read: (after) => reads.ask(null, (id) => ({ op: 'all', id, after, prefix })),
  }
}
