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
  stored(
    after: Cursor,
    form: Form,
    signal: AbortSignal,
  ): AsyncGenerator<readonly Item[] | null, void, void>
  subscribe(after: Cursor, signal: AbortSignal): Subscription
  itemsOf(events: readonly RecordedEvent[], form: Form): readonly Item[]
  cursorOf(item: Item): Cursor
  cursorOfEvent(event: RecordedEvent): Cursor
  sizeOf(item: Item): number
  placesAfter(cursor: Cursor): Places<Cursor>
  /** Nobody follows the topic in this form any more; `isIdle`: nor in another. */
  released?(form: Form, isIdle: boolean): void
}

/** The one subscription of a topic, and a ring for each form that somebody follows. */
type Shared<Cursor, Item> = {
  readonly rings: Map<Form, Ring<Cursor, Item>>
  readonly stop: AbortController
  /** The last event that the subscription has delivered. */
  delivered: Cursor
}

/**
 * A part of the log as its followers in this process read it. A follower reads what is stored until it
 * reaches the end. From there on one subscription feeds a ring for each form that somebody wants, and
 * serves all followers whose cursor is within the ring. A follower that falls out of the ring reads what
 * is stored again.
 */
export class SharedTopic<Cursor, Item> {
  readonly #source: TopicSource<Cursor, Item>
  readonly #deps: Pick<TopicDeps, 'limits' | 'log' | 'asOfNow'>
  readonly #news = new Signal()
  readonly #followers: Record<Form, number> = { record: 0, with_meta: 0 }
  #shared: Shared<Cursor, Item> | null = null

  constructor(
    source: TopicSource<Cursor, Item>,
    deps: Pick<TopicDeps, 'limits' | 'log' | 'asOfNow'>,
  ) {
    this.#source = source
    this.#deps = deps
  }

  /**
   * The items after a cursor: history, then live, in order, each once, until `signal` aborts. Yields no
   * items once, at the end of the history. Waits while the store has trouble.
   */
  async *follow(
    after: Cursor,
    form: Form,
    signal: AbortSignal,
  ): AsyncGenerator<readonly Item[], void, void> {
    let cursor = after
    let inHistory = true
    this.#followers[form] += 1
    try {
      let backoff: Backoff | null = null
      while (!signal.aborted) {
        const live = this.#live(cursor, form)
        if (live !== null) {
          backoff = null
          if (live.length > 0 || inHistory) {
            inHistory &&= live.length > 0
            cursor = this.#lastOf(live, cursor)
            yield live
          } else await this.#news.wait(signal)
          continue
        }
        const before = cursor
        try {
          for await (const page of this.#source.stored(cursor, form, signal)) {
            if (page === null) {
              this.#openRing(cursor, form)
              if (inHistory) {
                inHistory = false
                yield []
              }
            } else if (!this.#isLive(cursor, form)) {
              cursor = this.#lastOf(page, cursor)
              yield page
            }
            if (this.#isLive(cursor, form)) break
          }
        } catch (error) {
          this.#deps.log.error({ ...this.#source.logFields, err: error }, 'reading a topic failed')
        }
        if (cursor !== before || this.#isLive(cursor, form)) continue
        // The store has trouble, or its reads lag behind its subscription.
        backoff ??= new Backoff(this.#deps.limits.retryMs)
        await backoff.wait(signal)
      }
    } finally {
      this.#release(form)
    }
  }

  /** Drops all that is kept, because a part of it was redacted. Followers read the store again. */
  forget(): void {
    this.#shared?.rings.clear()
    this.#news.notify()
  }

  #release(form: Form): void {
    const followers = this.#followers
    followers[form] -= 1
    if (followers[form] > 0) return
    this.#shared?.rings.delete(form)
    const isIdle = followers.record + followers.with_meta === 0
    if (isIdle) {
      this.#shared?.stop.abort()
      this.#shared = null
    }
    this.#source.released?.(form, isIdle)
  }

  /** What the ring has after a cursor; null if the cursor is not within it. */
  #live(cursor: Cursor, form: Form): readonly Item[] | null {
    return this.#shared?.rings.get(form)?.after(cursor) ?? null
  }

  #isLive(cursor: Cursor, form: Form): boolean {
    return this.#shared?.rings.get(form)?.has(cursor) === true
  }

  #lastOf(items: readonly Item[], cursor: Cursor): Cursor {
    const last = items.at(-1)
    return last === undefined ? cursor : this.#source.cursorOf(last)
  }

  /** Opens the ring of a form. It begins where the subscription is, if there is one already. */
  #openRing(after: Cursor, form: Form): void {
    this.#shared ??= this.#subscribe(after)
    const { rings, delivered } = this.#shared
    if (rings.has(form)) return
    const { cursorOf, sizeOf, placesAfter } = this.#source
    const contents = { cursorOf, sizeOf, places: placesAfter(delivered) }
    rings.set(form, new Ring(delivered, contents, this.#deps.limits))
  }

  #subscribe(after: Cursor): Shared<Cursor, Item> {
    const shared = { rings: new Map(), stop: new AbortController(), delivered: after }
    void this.#feed(shared)
    return shared
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
          this.#news.notify()
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
}
