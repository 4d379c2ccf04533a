import { once } from 'node:events'
import { Backoff, type PauseBoundsMs } from '../../lib/backoff.ts'
import { Signal } from '../../lib/signal.ts'
import type { Subscription, SubscriptionItem } from '../event-store.ts'
import { clientMessageOf, isTombstone } from './calls.ts'
import { isSystemEvent, type Message, type StoredEvent } from './event-format.ts'
import { cancel, type ReadCall } from './protocol.ts'
import { CatchingUp, type Source } from './sources.ts'

/** How many messages are read ahead before the server has to wait. */
const READ_AHEAD = 512

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
      if (!signal.aborted) await once(signal, 'abort')
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
      if (catchingUp.isDue(cursor.reached)) {
        cursor.heard = true
        yield { type: 'caught_up' }
      }
      if (!catchingUp.isAsking) {
        const { head } = catchingUp
        const messages = connection.take(head)
        // An event after the head, which is not taken yet, shows that the server has passed the head.
        const { hasMore } = connection
        const events = messages.flatMap((message) =>
          message.type === 'event' && isNew(source, cursor, message.event)
            ? [message.event.recorded]
            : [],
        )
        if (events.length > 0) yield { type: 'events', events }
        const places = messages.flatMap((message) =>
          message.type === 'passed' ? [source.placeInLog(message.place)] : [],
        )
        if (hasMore) places.push(head)
        for (const place of places) advance(source, cursor, place)
        if (messages.some(({ type }) => type === 'fell_behind')) catchingUp.restart()
        if (messages.length > 0 || hasMore) continue
      }
      if (connection.end !== null) return connection.end.cause
      await news.wait(signal, seen)
    }
    return null
  } finally {
    connection.close()
    catchingUp.close()
  }
}

/** Whether an event comes after the cursor, which advances to it. */
const isNew = <P>(source: Source<P>, cursor: Cursor<P>, event: StoredEvent): boolean =>
  !isSystemEvent(event) && advance(source, cursor, source.placeOf(event))

function advance<P>(source: Source<P>, cursor: Cursor<P>, place: P | null): boolean {
  if (place === null || !source.isAfter(place, cursor.reached)) return false
  cursor.reached = place
  cursor.heard = true
  return true
}

/** One call, until it ends. What is not taken stays with the server, except for a few messages. */
class Connection<P> {
  readonly #source: Source<P>
  readonly #news: Signal
  #call: ReadCall | null = null
  #messages: Message[] = []
  #isClosed = false
  #end: { readonly cause: unknown } | null = null

  /** @param news notified whenever there is something new to take */
  constructor(source: Source<P>, after: P | null, news: Signal) {
    this.#source = source
    this.#news = news
    source.connect(after).then(
      (call) => this.#begin(call),
      (cause) => this.#ended(cause),
    )
  }

  /** Why the call ended, once all that arrived before is taken; null until then. */
  get end(): { readonly cause: unknown } | null {
    return this.hasMore ? null : this.#end
  }

  /** Whether something has arrived that was not taken. */
  get hasMore(): boolean {
    return this.#messages.length > 0
  }

  /** What has arrived since the last call. @param to events after this place stay, and what follows; null takes all */
  take(to: P | null): Message[] {
    const { placeOf, isAfter } = this.#source
    const end = this.#messages.findIndex(
      (message) => to !== null && message.type === 'event' && isAfter(placeOf(message.event), to),
    )
    const taken = this.#messages.splice(0, end === -1 ? this.#messages.length : end)
    if (this.#messages.length < READ_AHEAD) this.#call?.resume()
    return taken
  }

  close(): void {
    this.#isClosed = true
    this.#messages = []
    if (this.#call !== null) cancel(this.#call.resume())
  }

  #begin(call: ReadCall): void {
    this.#call = call
    call
      .on('error', (cause) => this.#ended(cause))
      .on('end', () => this.#ended(new Error('the server ended the subscription')))
      .on('data', (message: Message) => this.#add(message, call))
    if (this.#isClosed) cancel(call)
  }

  #add(message: Message, call: ReadCall): void {
    if (this.#isClosed) return
    this.#messages.push(message)
    if (this.#messages.length >= READ_AHEAD) call.pause()
    this.#news.notify()
  }

  #ended(cause: unknown): void {
    this.#end ??= { cause }
    this.#news.notify()
  }
}
