import { Backoff, type PauseBoundsMs } from '../../lib/backoff.ts'
import { Signal } from '../../lib/signal.ts'
import type { Subscription, SubscriptionItem } from '../event-store.ts'
import { CatchingUp } from './catching-up.ts'
import { Connection } from './connection.ts'
import { isSystemEvent, type StoredEvent, toRecordedEvent } from './events.ts'
import { clientMessageOf, isTombstone } from './failures.ts'
import type { Source } from './source.ts'

const RETRY_MS: PauseBoundsMs = [50, 5000]

export type FollowOptions = {
  readonly signal: AbortSignal
  readonly log: (message: string) => void
}

type Cursor<P> = {
  reached: P | null
  /** Whether anything was delivered since the subscription last broke off. */
  heard: boolean
}

/** Delivers the events of a source behind `after`, through as many connections as that takes. */
export async function* follow<P>(
  source: Source<P>,
  after: P | null,
  options: FollowOptions,
): Subscription {
  const { signal, log } = options
  const cursor: Cursor<P> = { reached: after, heard: true }
  const backoff = new Backoff(RETRY_MS)
  const news = new Signal()
  while (!signal.aborted) {
    const before = cursor.reached
    const cause = yield* connected(source, cursor, news, signal)
    if (signal.aborted) return
    if (isTombstone(cause)) {
      yield { type: 'caught_up' }
      await aborted(signal)
      return
    }
    if (cursor.reached !== before) backoff.reset()
    // One line for an outage, however often it takes to come back.
    if (cursor.heard) {
      log(
        `EventStoreDB: the subscription to ${source.name} broke off, and is made again until it ` +
          `holds: ${clientMessageOf(cause)}`,
      )
    }
    cursor.heard = false
    await backoff.wait(signal)
  }
}

/** One connection: moves the cursor on with every delivery, returns why the connection ended. */
async function* connected<P>(
  source: Source<P>,
  cursor: Cursor<P>,
  news: Signal,
  signal: AbortSignal,
): AsyncGenerator<SubscriptionItem, unknown, void> {
  const connection = new Connection(source, cursor.reached, news)
  const catchingUp = new CatchingUp(source, news)
  try {
    while (!signal.aborted) {
      const seen = news.count
      const events = fresh(source, cursor, connection.takeEvents())
      if (events.length > 0) yield { type: 'events', events: events.map(toRecordedEvent) }
      advance(source, cursor, connection.takePassed())
      if (connection.fellBehind()) catchingUp.restart()
      if (catchingUp.isDue(cursor.reached)) {
        cursor.heard = true
        yield { type: 'caught_up' }
      }
      if (events.length > 0) continue
      if (connection.end !== null) return connection.end.cause
      await news.wait(signal, seen)
    }
    return null
  } finally {
    connection.close()
    catchingUp.close()
  }
}

/** The events that are really behind the cursor, which moves on. */
function fresh<P>(
  source: Source<P>,
  cursor: Cursor<P>,
  events: readonly StoredEvent[],
): StoredEvent[] {
  return events.filter((event) => {
    if (isSystemEvent(event)) return false
    return advance(source, cursor, source.placeOf(event))
  })
}

function advance<P>(source: Source<P>, cursor: Cursor<P>, place: P | null): boolean {
  if (place === null || !source.isBehind(place, cursor.reached)) return false
  cursor.reached = place
  cursor.heard = true
  return true
}

function aborted(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  if (signal.aborted) resolve()
  else signal.addEventListener('abort', () => resolve(), { once: true })
  return promise
}
