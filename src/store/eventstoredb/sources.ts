import type { EventStoreDBClient } from '@eventstore/db-client'
import type { Signal } from '../../lib/signal.ts'
import { call, readError } from './calls.ts'
import { isSystemEvent, type LogPosition, type StoredEvent } from './event-format.ts'
import {
  filtered,
  ofAll,
  ofStream,
  openRead,
  page,
  protocolOf,
  type ReadCall,
  readPage,
  subscription,
} from './protocol.ts'

/** What a subscription follows: one stream, or $all. `P` is a place in it. */
export type Source<P> = {
  /** What is followed, for log lines. */
  readonly name: string
  /** Subscribes after `after` (null is the start). */
  connect(after: P | null): Promise<ReadCall>
  placeOf(event: StoredEvent): P
  /** The place that is meant by a position in $all; null if there is none. */
  placeInLog(position: LogPosition): P | null
  isAfter(place: P, other: P | null): boolean
  /**
   * The place of the last event that is stored now, or a later one; null if there is nothing to wait for. Rejects if
   * the server does not answer.
   * @param attempt how often it was asked before without being reached in time: then it looks more closely
   */
  head(attempt: number): Promise<P | null>
}

/** One stream. A place is a revision. */
export function streamSource(
  client: EventStoreDBClient,
  stream: string,
  timeoutMs: number,
): Source<bigint> {
  const protocol = protocolOf(client)
  return {
    name: stream,
    connect: (after) => openRead(protocol, subscription(ofStream(stream, after ?? 'start'))),
    placeOf: ({ recorded }) => BigInt(recorded.revision),
    placeInLog: () => null,
    isAfter: (place, other) => other === null || place > other,
    head: async () => {
      const last = () => page(ofStream(stream, 'end'), 'backward', 1)
      try {
        const [event] = await call(() => readPage(protocol, last(), timeoutMs))
        return event === undefined ? null : BigInt(event.recorded.revision)
      } catch (cause) {
        if (readError(cause, stream).type === 'stream_not_found') return null
        throw cause
      }
    },
  }
}

/** After this many events that the filter drops, the server reports the place that it has passed. */
const SEARCH_WINDOW = 32
/** How far back the last event that passes the filter is looked for: more than one window. */
const LOOK_BACK = 4 * SEARCH_WINDOW
/** The factor by which that grows each time, if the server does not report where it is. */
const FURTHER = 8
const MAX_LOOK_BACK = LOOK_BACK * FURTHER ** 3

function isAfter(place: LogPosition, other: LogPosition | null): boolean {
  if (other === null || place.commit > other.commit) return true
  return place.commit === other.commit && place.prepare > other.prepare
}

const isOfSystem = (stream: string): boolean => stream.startsWith('$')

/** $all, filtered by the names of streams. A place is a position in the log. */
export function allSource(
  client: EventStoreDBClient,
  prefix: string,
  timeoutMs: number,
): Source<LogPosition> {
  const protocol = protocolOf(client)
  const names = prefix === '' ? { regex: '^[^$]' } : { prefix }
  const passes = ({ recorded: { stream } }: StoredEvent) => {
    return stream.startsWith(prefix) && (isOfSystem(prefix) || !isOfSystem(stream))
  }
  const newest = (limit: number): Promise<StoredEvent[]> =>
    call(() => readPage(protocol, page(ofAll('end'), 'backward', limit), timeoutMs))
  return {
    name: `$all (${prefix}…)`,
    connect: (after) => {
      const options = filtered(ofAll(after ?? 'start'), names, SEARCH_WINDOW)
      return openRead(protocol, subscription(options))
    },
    placeOf: ({ place }) => place,
    placeInLog: (position) => position,
    isAfter,
    head: async (attempt) => {
      const furthest = Math.min(LOOK_BACK * FURTHER ** attempt, MAX_LOOK_BACK)
      for (let limit = LOOK_BACK; ; limit *= FURTHER) {
        const events = await newest(limit)
        const last = events.find((event) => passes(event) && !isSystemEvent(event))
        if (last !== undefined) return last.place
        if (events.length < limit) return null
        // None of these passes the filter: the server will report that it has passed the first of them.
        if (limit >= furthest) return events.at(-1)?.place ?? null
      }
    },
  }
}

/**
 * An older answer about the head of the log is not used, but asked for again: the consumer was busy meanwhile. A
 * consumer that waits uses an answer at once, however long it was under way.
 */
const FRESH_MS = 50
/** How long to wait before the head is asked for again, if it is not reached or no answer came. */
const AGAIN_MS = 1000

/**
 * Finds out when a subscription has caught up: asks which event is the last one that is stored, and compares. The
 * server's own report is not used, because not all versions send it, nor for streams that do not exist yet.
 */
export class CatchingUp<P> {
  readonly #source: Source<P>
  readonly #news: Signal
  #state:
    | { readonly type: 'asking' }
    | { readonly type: 'known'; readonly head: P | null; readonly knownAt: number }
    | { readonly type: 'said' } = { type: 'asking' }
  #timer: NodeJS.Timeout | undefined
  #questions = 0
  #attempt = 0
  #closed = false

  constructor(source: Source<P>, news: Signal) {
    this.#source = source
    this.#news = news
    this.#ask()
  }

  /** True once, when all that is stored is delivered up to `reached`. */
  isDue(reached: P | null): boolean {
    if (this.#state.type !== 'known') return false
    const { head, knownAt } = this.#state
    if (head !== null && this.#source.isAfter(head, reached)) return false
    this.#attempt = 0
    if (performance.now() - knownAt > FRESH_MS) {
      this.#ask()
      return false
    }
    clearTimeout(this.#timer)
    this.#state = { type: 'said' }
    return true
  }

  /** The subscription fell behind. */
  restart(): void {
    this.#attempt = 0
    this.#ask()
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  #ask(): void {
    clearTimeout(this.#timer)
    this.#state = { type: 'asking' }
    this.#questions += 1
    const question = this.#questions
    const answered = (head: P | null) => {
      if (question !== this.#questions) return
      this.#state = { type: 'known', head, knownAt: performance.now() }
      this.#news.notify()
    }
    this.#source
      .head(this.#attempt)
      .then(answered, () => {})
      .finally(() => this.#askAgainLater(question))
  }

  #askAgainLater(question: number): void {
    if (this.#closed || question !== this.#questions || this.#state.type === 'said') return
    this.#timer = setTimeout(() => {
      this.#attempt += 1
      this.#ask()
    }, AGAIN_MS)
  }
}
