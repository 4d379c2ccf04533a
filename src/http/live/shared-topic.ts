import { setImmediate as nextTurn } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import type { Form } from '../../api/event-query.ts'
import { Backoff } from '../../lib/backoff.ts'
import { Signal } from '../../lib/signal.ts'
import type { ReadModel } from '../../projections/read-model.ts'
import type { RecordedEvent, Subscription } from '../../store/event-store.ts'
import type { LiveLimits } from './limits.ts'
import { type Places, Ring } from './ring.ts'
import type { PageDeps } from './run-pages.ts'

export type TopicDeps = PageDeps & {
  readonly readModel: Pick<ReadModel, 'waitFor'>
  readonly limits: LiveLimits
  readonly log: FastifyBaseLogger
  /** An event as it is now: strings may have been redacted since it was delivered. */
  readonly asOfNow?: (event: RecordedEvent) => RecordedEvent
}

/** How a topic reads its items, and finds them again. */
export type TopicSource<Cursor, Item> = {
  /** Fields of log lines. */
  readonly logFields: Readonly<Record<string, string>>
  /**
   * The items after a cursor as they are stored, page by page; null when the end of what is stored is
   * reached. Returns early if the store has trouble.
   */
  stored(after: Cursor, form: Form, signal: AbortSignal): AsyncGenerator<readonly Item[] | null>
  subscribe(after: Cursor, signal: AbortSignal): Subscription
  itemsOf(events: readonly RecordedEvent[], form: Form): readonly Item[]
  cursorOf(item: Item): Cursor
  cursorOfEvent(event: RecordedEvent): Cursor
  sizeOf(item: Item): number
  placesAfter(cursor: Cursor): Places<Cursor>
  /** Nobody follows the topic in this form any more; `isIdle`: nobody follows it in any form. */
  released?(form: Form, isIdle: boolean): void
}

/** About how many bytes of items a reader gets at once. */
const PART_BYTES = 128 * 1024

/** A reader of a topic. While there is nothing new, this is all that the topic holds for it. */
export type Follower<Cursor> = {
  readonly form: Form
  /** The cursor of the last item that it took. */
  cursor: Cursor
  /** There may be something new to take. Must not throw. */
  onNews(): void
}

/** The one subscription of a topic, and a ring for each form that somebody follows. */
type Shared<Cursor, Item> = {
  readonly rings: Map<Form, Ring<Cursor, Item>>
  readonly stop: AbortController
  /** The last event that the subscription has delivered. */
  delivered: Cursor
}

/**
 * A part of the log as its followers in this process read it. A follower reads the store until it reaches the end. From
 * there on, one subscription feeds a ring for each form that somebody wants, and serves all followers whose cursor is in
 * the ring. A follower whose cursor leaves the ring reads the store again.
 */
export class SharedTopic<Cursor, Item> {
  readonly #source: TopicSource<Cursor, Item>
  readonly #deps: Pick<TopicDeps, 'limits' | 'log' | 'asOfNow'>
  readonly #followers = new Set<Follower<Cursor>>()
  #forgotten = 0
  #shared: Shared<Cursor, Item> | null = null

  constructor(
    source: TopicSource<Cursor, Item>,
    deps: Pick<TopicDeps, 'limits' | 'log' | 'asOfNow'>,
  ) {
    this.#source = source
    this.#deps = deps
  }

  /** How often `forget` was called. What a reader took before the last call is not to be sent any more. */
  get forgotten(): number {
    return this.#forgotten
  }

  /** Adds a reader, which begins after its cursor and calls `take` and `catchUp` until it calls `leave`. */
  join(follower: Follower<Cursor>): void {
    this.#followers.add(follower)
  }

  leave(follower: Follower<Cursor>): void {
    const { form } = follower
    if (!this.#followers.delete(follower)) return
    for (const other of this.#followers) if (other.form === form) return
    this.#shared?.rings.delete(form)
    const isIdle = this.#followers.size === 0
    if (isIdle) {
      this.#shared?.stop.abort()
      this.#shared = null
    }
    this.#source.released?.(form, isIdle)
  }

  /** The items after the cursor of a follower; null if it must catch up first. Moves the cursor. */
  take(follower: Follower<Cursor>): readonly Item[] | null {
    const items = this.#shared?.rings.get(follower.form)?.after(follower.cursor) ?? null
    if (items !== null) this.#advance(follower, items)
    return items
  }

  /**
   * What is stored after the cursor of a follower, page by page, until `take` has what comes next. Moves the
   * cursor. Yields no items at the end of what is stored. Waits while the store has trouble.
   */
  async *catchUp(follower: Follower<Cursor>, signal: AbortSignal): AsyncGenerator<readonly Item[]> {
    const backoff = new Backoff(this.#deps.limits.retryMs)
    while (!signal.aborted && !this.#isLive(follower)) {
      const { cursor } = follower
      try {
        for await (const page of this.#source.stored(cursor, follower.form, signal)) {
          if (page === null) {
            this.#openRing(follower)
            yield []
          } else if (!this.#isLive(follower)) {
            this.#advance(follower, page)
            yield page
          }
          if (this.#isLive(follower)) break
        }
      } catch (error) {
        this.#deps.log.error({ ...this.#source.logFields, err: error }, 'reading a topic failed')
      }
      // The store has trouble, or its reads lag behind its subscription.
      if (follower.cursor === cursor && !this.#isLive(follower)) await backoff.wait(signal)
    }
  }

  /**
   * The items after a cursor: history, then live, in order, each once, until `signal` aborts. Yields no
   * items once, at the end of the history. Waits while the store has trouble. After a call of `forget`, only the items
   * that were yielded last are from before it.
   */
  async *follow(after: Cursor, form: Form, signal: AbortSignal): AsyncGenerator<readonly Item[]> {
    const news = new Signal()
    const follower = { form, cursor: after, onNews: () => news.notify() }
    let inHistory = true
    this.join(follower)
    try {
      while (!signal.aborted) {
        const seen = news.count
        const live = this.take(follower)
        const pages = live === null ? this.catchUp(follower, signal) : [live]
        for await (const page of pages) {
          if (page.length > 0) yield* this.#parts(page, follower)
          else if (inHistory) {
            inHistory = false
            yield page
          }
          const last = page.at(-1)
          if (last !== undefined && this.#source.cursorOf(last) !== follower.cursor) break
        }
        if (live?.length === 0) await news.wait(signal, seen)
      }
    } finally {
      this.leave(follower)
    }
  }

  /** A page in parts. It ends after a call of `forget`, and moves the cursor of the follower back to there. */
  *#parts(page: readonly Item[], follower: Follower<Cursor>): Generator<readonly Item[]> {
    const { sizeOf } = this.#source
    const forgotten = this.#forgotten
    for (let at = 0, end = 0; at < page.length && forgotten === this.#forgotten; at = end) {
      let bytes = 0
      while (end < page.length && bytes < PART_BYTES) bytes += sizeOf(page[end++] as Item)
      const part = page.slice(at, end)
      this.#advance(follower, part)
      yield part
    }
  }

  /** Drops all that is kept, because a part of it was redacted. Followers read the store again. */
  forget(): void {
    this.#forgotten += 1
    this.#shared?.rings.clear()
    this.#notify()
  }

  #isLive({ form, cursor }: Follower<Cursor>): boolean {
    return this.#shared?.rings.get(form)?.has(cursor) === true
  }

  #advance(follower: Follower<Cursor>, items: readonly Item[]): void {
    const last = items.at(-1)
    if (last !== undefined) follower.cursor = this.#source.cursorOf(last)
  }

  /** Opens the ring of a form. It begins where the subscription is, if there is one already. */
  #openRing(follower: Follower<Cursor>): void {
    // A follower that has left may still be reading. A subscription for it would never end.
    if (!this.#followers.has(follower)) return
    const { cursor, form } = follower
    if (this.#shared === null) {
      this.#shared = { rings: new Map(), stop: new AbortController(), delivered: cursor }
      void this.#feed(this.#shared)
    }
    const { rings, delivered } = this.#shared
    if (rings.has(form)) return
    const { cursorOf, sizeOf, placesAfter } = this.#source
    const contents = { cursorOf, sizeOf, places: placesAfter(delivered) }
    rings.set(form, new Ring(delivered, contents, this.#deps.limits))
  }

  async #feed(shared: Shared<Cursor, Item>): Promise<void> {
    const { limits, log, asOfNow } = this.#deps
    const { signal } = shared.stop
    const backoff = new Backoff(limits.retryMs)
    while (!signal.aborted) {
      try {
        for await (const item of this.#source.subscribe(shared.delivered, signal)) {
          if (item.type !== 'events') continue
          // A writer hands its next append to the store at the end of the turn in which its last one was
          // answered. Only in the turn after that do followers not delay it.
          await nextTurn()
          await nextTurn()
          this.#push(asOfNow === undefined ? item.events : item.events.map(asOfNow), shared)
          backoff.reset()
          this.#notify()
        }
      } catch (error) {
        log.error({ ...this.#source.logFields, err: error }, 'the subscription of a topic failed')
      }
      if (!signal.aborted) await backoff.wait(signal)
    }
  }

  #push(events: readonly RecordedEvent[], shared: Shared<Cursor, Item>): void {
    for (const [form, ring] of shared.rings) {
      for (const item of this.#source.itemsOf(events, form)) ring.push(item)
    }
    const last = events.at(-1)
    if (last !== undefined) shared.delivered = this.#source.cursorOfEvent(last)
  }

  #notify(): void {
    for (const follower of this.#followers) follower.onNews()
  }
}
