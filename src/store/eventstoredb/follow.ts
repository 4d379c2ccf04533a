import { setTimeout } from 'node:timers/promises'
import type { Subscription, SubscriptionItem } from '../event-store.ts'
import { Bell } from './bell.ts'
import { CatchingUp } from './catching-up.ts'
import { Connection } from './connection.ts'
import { isSystemEvent, type StoredEvent, toRecordedEvent } from './events.ts'
import { isTombstone, messageOf } from './failures.ts'
import type { Source } from './source.ts'

const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 5000

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
  for (let failures = 0; !signal.aborted; failures += 1) {
    const before = cursor.reached
    const cause = yield* connected(source, cursor, signal)
    if (signal.aborted) return
    if (isTombstone(cause)) {
      yield { type: 'caught_up' }
      await aborted(signal)
      return
    }
    if (cursor.reached !== before) failures = 0
    // One line for an outage, however often it takes to come back.
    if (cursor.heard) {
      log(
        `EventStoreDB: the subscription to ${source.name} broke off, and is made again until it ` +
          `holds: ${messageOf(cause)}`,
      )
    }
    cursor.heard = false
    await pause(failures, signal)
  }
}

/** One connection: moves the cursor on with every delivery, returns why the connection ended. */
async function* connected<P>(
  source: Source<P>,
  cursor: Cursor<P>,
  signal: AbortSignal,
): AsyncGenerator<SubscriptionItem, unknown, void> {
  const bell = new Bell()
  const connection = new Connection(source, cursor.reached, bell)
  const catchingUp = new CatchingUp(source, bell)
  signal.addEventListener('abort', bell.ring)
  try {
    while (!signal.aborted) {
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
      await bell.wait()
    }
    return null
  } finally {
    signal.removeEventListener('abort', bell.ring)
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

/** Doubles from one failure to the next, with a random share, so that clients do not move in step. */
async function pause(failures: number, signal: AbortSignal): Promise<void> {
  const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures)
  await setTimeout(longest * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => {})
}

function aborted(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  if (signal.aborted) resolve()
  else signal.addEventListener('abort', () => resolve(), { once: true })
  return promise
}
