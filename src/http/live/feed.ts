import { Backoff } from '../../lib/backoff.ts'
import { Signal } from '../../lib/signal.ts'
import { RUN_STREAM_PREFIX } from '../../log/run-log.ts'
import type { Position, Subscription } from '../../store/event-store.ts'
import { type FeedEntry, feedEntries } from './feed-entry.ts'
import { FeedRing } from './feed-ring.ts'
import type { TopicDeps } from './topic.ts'

type Entries = readonly FeedEntry[]

/** One subscription that feeds a ring, for as long as somebody reads the feed. */
type Tail = { readonly ring: FeedRing; readonly news: Signal; readonly stop: AbortController }

/**
 * All runs as their observers in this process read them, in the order of the log. An observer catches
 * up by a subscription of its own; from the end on, one subscription feeds a ring, and whoever is
 * within the ring is served from it. Who falls out of it catches up again.
 */
export class Feed {
  readonly #deps: TopicDeps
  #tail: Tail | null = null
  #observers = 0

  constructor(deps: TopicDeps) {
    this.#deps = deps
  }

  /** What is in the log now behind `after`; ends there, or when `signal` aborts. */
  async *history(after: Position | null, signal: AbortSignal): AsyncGenerator<Entries, void, void> {
    for await (const item of this.#subscribe(after, signal)) {
      if (item.type === 'caught_up') return
      const entries = feedEntries(item.events, this.#deps)
      if (entries.length > 0) yield entries
    }
  }

  /**
   * All behind `after`: history, then live, each record once, until `signal` aborts. Nothing is yielded
   * once, where the history ends.
   */
  async *follow(after: Position | null, signal: AbortSignal): AsyncGenerator<Entries, void, void> {
    const backoff = new Backoff(this.#deps.limits.retryMs)
    this.#observers += 1
    try {
      let cursor = after
      const history = { over: false }
      while (!signal.aborted) {
        const before = cursor
        cursor = yield* this.#catchUp(cursor, history, signal)
        cursor = yield* this.#live(cursor, history, signal)
        if (cursor !== before) backoff.reset()
        else if (!signal.aborted) await backoff.wait(signal)
      }
    } finally {
      this.#observers -= 1
      if (this.#observers === 0) {
        this.#tail?.stop.abort()
        this.#tail = null
      }
    }
  }

  /** Lets go of all that is kept: something was taken out of it. Observers catch up from the store. */
  forget(): void {
    const tail = this.#tail
    this.#tail = null
    tail?.stop.abort()
    tail?.news.notify()
  }

  /** Reads from the store until the ring goes on from there; makes the ring where there is none. */
  async *#catchUp(
    after: Position | null,
    history: { over: boolean },
    signal: AbortSignal,
  ): AsyncGenerator<Entries, Position | null, void> {
    let cursor = after
    if (this.#isWithinRing(cursor)) return cursor
    try {
      for await (const item of this.#subscribe(cursor, signal)) {
        if (item.type === 'caught_up') {
          this.#tail ??= this.#follow(cursor)
          // The ring may not be as far yet, and may not get there before something happens.
          if (!history.over) {
            history.over = true
            yield []
          }
        } else {
          const entries = feedEntries(item.events, this.#deps)
          cursor = entries.at(-1)?.position ?? cursor
          if (entries.length > 0) yield entries
        }
        if (this.#isWithinRing(cursor)) break
      }
    } catch (error) {
      this.#deps.log.error({ err: error }, 'a subscription to all runs broke')
    }
    return cursor
  }

  /** Serves from the ring for as long as it holds what is behind the cursor. */
  async *#live(
    after: Position | null,
    history: { over: boolean },
    signal: AbortSignal,
  ): AsyncGenerator<Entries, Position | null, void> {
    const tail = this.#tail
    let index = tail?.ring.indexBehind(after)
    let cursor = after
    while (tail !== null && tail === this.#tail && index !== undefined && !signal.aborted) {
      const entries = tail.ring.from(index)
      if (entries === null) break
      index += entries.length
      cursor = entries.at(-1)?.position ?? cursor
      if (entries.length > 0 || !history.over) yield entries
      else await tail.news.wait(signal)
      history.over ||= entries.length === 0
    }
    return cursor
  }

  #isWithinRing(cursor: Position | null): boolean {
    return this.#tail?.ring.indexBehind(cursor) !== undefined
  }

  #subscribe(after: Position | null, signal: AbortSignal): Subscription {
    return this.#deps.store.subscribeAll({ after, prefix: RUN_STREAM_PREFIX, signal })
  }

  #follow(after: Position | null): Tail {
    const ring = new FeedRing(after, this.#deps.limits)
    const tail = { ring, news: new Signal(), stop: new AbortController() }
    void this.#feed(tail)
    return tail
  }

  async #feed({ ring, news, stop }: Tail): Promise<void> {
    const { limits, log } = this.#deps
    const { signal } = stop
    const backoff = new Backoff(limits.retryMs)
    while (!signal.aborted) {
      try {
        for await (const item of this.#subscribe(ring.last, signal)) {
          if (item.type !== 'events') continue
          for (const entry of feedEntries(item.events, this.#deps)) ring.push(entry)
          backoff.reset()
          news.notify()
        }
      } catch (error) {
        log.error({ err: error }, 'the subscription to all runs broke')
      }
      if (!signal.aborted) await backoff.wait(signal)
    }
  }
}
