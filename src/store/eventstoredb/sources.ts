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
  /** The place that is meant by a position in $all; null: a stream knows no such place. */
  placeInLog(position: LogPosition): P | null
  isAfter(place: P, other: P | null): boolean
  /**
   * The place of the last event that is stored now, or a later one; null if there is nothing to wait for. Rejects if
   * the server does not answer.
   */
  head(): Promise<P | null>
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
  const newest = () => page(ofAll('end'), 'backward', LOOK_BACK)
  return {
    name: `$all (${prefix}…)`,
    connect: (after) => {
      const options = filtered(ofAll(after ?? 'start'), names, SEARCH_WINDOW)
      return openRead(protocol, subscription(options))
    },
    placeOf: ({ place }) => place,
    placeInLog: (position) => position,
    isAfter,
    head: async () => {
      const events = await call(() => readPage(protocol, newest(), timeoutMs))
      const last = events.find((event) => passes(event) && !isSystemEvent(event))
      if (last !== undefined || events.length < LOOK_BACK) return last?.place ?? null
      // None of these passes the filter: the server will report that it has passed the first of them.
      return events.at(-1)?.place ?? null
    },
  }
}

/** If delivering all up to the head takes longer, milliseconds, the head is asked for again: more may be stored by then. */
const FRESH_MS = 50
/** But only so often, or a subscription would never have caught up while others write all the time. */
const MOST_QUESTIONS = 5
/** How long to wait before the head is asked for again, if no answer came, milliseconds. */
const AGAIN_MS = 1000

/**
 * Finds out when a subscription has caught up: asks which event is the last one that is stored, and compares. The
 * server's own report is not used, because not all versions send it, nor for streams that do not exist yet.
 *
 * While a question is open, nothing is delivered, and after the answer no event beyond the head before `caught_up`. So
 * `caught_up` comes at the end of an append, and never within one.
 */
export class CatchingUp<P> {
  readonly #source: Source<P>
  readonly #news: Signal
  #state: 'asking' | 'unknown' | 'said' | { readonly head: P | null; readonly at: number } =
    'asking'
  #questions = 0
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(source: Source<P>, news: Signal) {
    this.#source = source
    this.#news = news
    this.#ask()
  }

  get isAsking(): boolean {
    return this.#state === 'asking'
  }

  /** No event after this one is delivered before `caught_up`; null if `caught_up` is not due next, or at once. */
  get head(): P | null {
    return typeof this.#state === 'string' ? null : this.#state.head
  }

  /** True once, when all that is stored is delivered up to `reached`. */
  isDue(reached: P | null): boolean {
    if (typeof this.#state === 'string') return false
    const { head, at } = this.#state
    if (head !== null && this.#source.isAfter(head, reached)) return false
    if (performance.now() - at > FRESH_MS && this.#questions < MOST_QUESTIONS) {
      this.#ask()
      return false
    }
    this.#state = 'said'
    return true
  }

  /** The subscription fell behind. */
  restart(): void {
    clearTimeout(this.#timer)
    this.#questions = 0
    this.#ask()
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  #ask(): void {
    this.#state = 'asking'
    this.#questions += 1
    this.#source
      .head()
      .then(
        (head) => {
          this.#state = { head, at: performance.now() }
        },
        () => {
          this.#state = 'unknown'
          if (!this.#closed) this.#timer = setTimeout(() => this.#ask(), AGAIN_MS)
        },
      )
      .finally(() => this.#news.notify())
  }
}
