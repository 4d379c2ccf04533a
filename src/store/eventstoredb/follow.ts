import type { ResolvedEvent } from '@eventstore/db-client'
import { Backoff, type PauseBoundsMs } from '../../lib/backoff.ts'
import { Signal } from '../../lib/signal.ts'
import type { Subscription, SubscriptionItem } from '../event-store.ts'
import { clientMessageOf, isTombstone } from './calls.ts'
import { CatchingUp } from './catching-up.ts'
import { isSystemEvent, type StoredEvent, toRecordedEvent } from './event-format.ts'
import { type ClientSubscription, READ_AHEAD, type Source } from './sources.ts'

const RETRY_MS: PauseBoundsMs = [50, 5000]

type FollowOptions = {
  readonly signal: AbortSignal
  readonly log: (message: string) => void
}

type Cursor<P> = {
  reached: P | null
  /** Whether anything was delivered since the last connection ended. */
  heard: boolean
}

/** Delivers the events of a source after `after`, through as many connections as that takes. */
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
    // One line for each outage, however many attempts it takes.
    if (cursor.heard) {
      log(
        `EventStoreDB: the subscription to ${source.name} ended, and is retried until it ` +
          `works: ${clientMessageOf(cause)}`,
      )
    }
    if (cursor.heard) yield { type: 'interrupted' }
    cursor.heard = false
    await backoff.wait(signal)
  }
}

/** One connection: advances the cursor with each delivery, and returns why the connection ended. */
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

/** The events after the cursor, which advances. */
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
  if (place === null || !source.isAfter(place, cursor.reached)) return false
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

const ignore = (): void => {}

/**
 * One subscription of the client, until it ends. What is not taken stays in the stream's buffer, and when that is full,
 * with the server.
 */
class Connection<P> {
  readonly #source: Source<P>
  readonly #subscription: ClientSubscription
  readonly #passed: { readonly place: P; readonly takenBefore: number }[] = []
  #taken = 0
  #fellBehind = false
  #end: { readonly cause: unknown } | null = null

  /** @param news notified whenever there is something new to take */
  constructor(source: Source<P>, after: P | null, news: Signal) {
    this.#source = source
    this.#subscription = source.connect(after, (place) => {
      // Events before this place may still be in the buffer.
      this.#passed.push({ place, takenBefore: this.#taken + this.#subscription.readableLength })
      news.notify()
    })
    const ended = (cause: unknown) => this.#ended(cause, news)
    this.#subscription.on('error', ended)
    this.#subscription.on('end', () => ended(new Error('the server ended the subscription')))
    this.#subscription.on('close', () => ended(new Error('the subscription was closed')))
    this.#subscription.on('readable', () => news.notify())
    this.#subscription.on('fellBehind', () => {
      this.#fellBehind = true
      news.notify()
    })
  }

  /** Why the subscription ended, once all that arrived before is taken; null until then. */
  get end(): { readonly cause: unknown } | null {
    return this.#subscription.readableLength === 0 ? this.#end : null
  }

  /** Whether the server has reported since the last call that it sends history again. */
  fellBehind(): boolean {
    const fell = this.#fellBehind
    this.#fellBehind = false
    return fell
  }

  /** What has arrived, oldest first. */
  takeEvents(): StoredEvent[] {
    const events: StoredEvent[] = []
    while (events.length < READ_AHEAD) {
      const resolved: ResolvedEvent | null = this.#subscription.read()
      if (resolved === null) break
      this.#taken += 1
      if (resolved.event !== undefined) events.push(resolved.event)
    }
    return events
  }

  /** The last place that the server has passed, if all events before it are taken. */
  takePassed(): P | null {
    let last: P | null = null
    while (this.#passed[0] !== undefined && this.#passed[0].takenBefore <= this.#taken) {
      const place = this.#passed.shift()?.place ?? null
      if (place !== null && this.#source.isAfter(place, last)) last = place
    }
    return last
  }

  close(): void {
    this.#subscription.unsubscribe().catch(ignore)
    // What is still on its way is dropped. The error listener stays, because errors may come late.
    this.#subscription.removeAllListeners('readable').resume()
  }

  #ended(cause: unknown, news: Signal): void {
    this.#end ??= { cause }
    news.notify()
  }
}
