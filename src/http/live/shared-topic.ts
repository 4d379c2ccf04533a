import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Form } from '../../api/event-query.ts'
import { Backoff } from '../../lib/backoff.ts'
import type { Position, RecordedEvent, Subscription } from '../../store/event-store.ts'
import type { LiveLimits, TopicDeps } from './deps.ts'
import { type Frame, framesOf, sizeOf } from './frame.ts'

/** How a topic reads its frames, and finds them again. */
export type TopicSource<Cursor> = {
  /** Fields of log lines. */
  readonly logFields: Readonly<Record<string, string>>
  /** Frames of all runs have a cursor. */
  readonly ofAll: boolean
  /**
   * The frames after a cursor as they are stored, page by page; null when the end of what is stored is
   * reached. Returns early if the store has trouble.
   */
  stored(after: Cursor, form: Form, signal: AbortSignal): AsyncGenerator<readonly Frame[] | null>
  subscribe(after: Cursor, signal: AbortSignal): Subscription
  cursorOf(record: { readonly seq: number; readonly position: Position }): Cursor
  /** Nobody follows the topic any more. */
  onIdle(): void
}

/** A reader of a topic. While there is nothing new, this is all that the topic holds for it. */
export type Follower<Cursor> = {
  readonly form: Form
  /** The cursor of the last frame that it has read. The follower moves it. */
  readonly cursor: Cursor
  /** It has read everything that was stored when it looked. The topic sets it. */
  isCaughtUp: boolean
  /** Nothing that it waits for will come: it leaves when it has read what is stored. */
  readonly isOver?: boolean
  /** There may be something new to take. Must not throw. */
  onNews(): void
}

/** The newest frames of a topic, without gaps, bounded in number and in bytes. */
class Ring<Cursor> {
  readonly #limits: Pick<LiveLimits, 'ringFrames' | 'ringBytes'>
  readonly #frames: Frame[] = []
  /** How many frames were added before the one after a cursor, for every cursor that is known: the oldest comes first. */
  readonly #places: Map<Cursor, number>
  #dropped = 0
  #bytes = 0

  /** An empty ring. Its first frame will be the one after `after`. */
  constructor(after: Cursor, limits: Pick<LiveLimits, 'ringFrames' | 'ringBytes'>) {
    this.#places = new Map([[after, 0]])
    this.#limits = limits
  }

  /** Adds the next frame. One that was added before is ignored: a subscription that broke may repeat it. */
  push(cursor: Cursor, frame: Frame): void {
    if (this.#places.has(cursor)) return
    this.#frames.push(frame)
    this.#places.set(cursor, this.#dropped + this.#frames.length)
    this.#bytes += sizeOf(frame)
    const { ringFrames, ringBytes } = this.#limits
    while (this.#frames.length > ringFrames || this.#bytes > ringBytes) this.#dropFirst()
  }

  /** All frames after a cursor; null if the first of them is not kept, or not known. */
  after(cursor: Cursor): readonly Frame[] | null {
    const place = this.#places.get(cursor)
    return place === undefined ? null : this.#frames.slice(place - this.#dropped)
  }

  #dropFirst(): void {
    const frame = this.#frames.shift()
    if (frame !== undefined) this.#bytes -= sizeOf(frame)
    this.#dropped += 1
    const [oldest] = this.#places.keys()
    if (oldest !== undefined) this.#places.delete(oldest)
  }
}

/** The one subscription of a topic, and a ring for each form that somebody follows. */
type Shared<Cursor> = {
  readonly rings: Map<Form, Ring<Cursor>>
  readonly stop: AbortController
  /** The last event that the subscription has delivered. */
  delivered: Cursor
}

/**
 * A part of the log (one run, or all) as its followers in this process read it. A follower reads the store until it
 * reaches the end. From there on, one subscription feeds a ring for each form that somebody wants, and serves all followers
 * whose cursor is in the ring. A follower whose cursor leaves the ring reads the store again.
 */
export class SharedTopic<Cursor> {
  readonly cursorOf: TopicSource<Cursor>['cursorOf']
  readonly stored: TopicSource<Cursor>['stored']
  /** How often `forget` was called. What a reader took before the last call is not to be sent any more. */
  forgotten = 0
  readonly #source: TopicSource<Cursor>
  readonly #deps: TopicDeps
  readonly #followers = new Set<Follower<Cursor>>()
  #shared: Shared<Cursor> | null = null

  constructor(source: TopicSource<Cursor>, deps: TopicDeps) {
    this.cursorOf = source.cursorOf
    this.stored = source.stored
    this.#source = source
    this.#deps = deps
  }

  /** Adds a reader, which calls `take` and `catchUp` until it calls `leave`. */
  join(follower: Follower<Cursor>): void {
    this.#followers.add(follower)
  }

  leave(follower: Follower<Cursor>): void {
    const { form } = follower
    if (!this.#followers.delete(follower)) return
    for (const other of this.#followers) if (other.form === form) return
    this.#shared?.rings.delete(form)
    if (this.#followers.size > 0) return
    this.#shared?.stop.abort()
    this.#shared = null
    this.#source.onIdle()
  }

  /** The frames after the cursor of a follower; null if it must catch up first. */
  take({ isCaughtUp, form, cursor }: Follower<Cursor>): readonly Frame[] | null {
    return isCaughtUp ? (this.#shared?.rings.get(form)?.after(cursor) ?? null) : null
  }

  /**
   * What is stored after the cursor of a follower, page by page, until `take` has what comes next. Yields no frames at the
   * end of what is stored. Waits while the store has trouble. If the follower does not read a page to its end, the rest
   * comes again.
   */
  async *catchUp(
    follower: Follower<Cursor>,
    signal: AbortSignal,
  ): AsyncGenerator<readonly Frame[]> {
    const backoff = new Backoff(this.#deps.limits.retryMs)
    while (!signal.aborted && this.take(follower) === null) {
      const { cursor } = follower
      try {
        for await (const page of this.stored(cursor, follower.form, signal)) {
          if (page === null && follower.isOver !== true) this.#openRing(follower)
          yield page ?? []
          const last = page?.at(-1)
          const isPartlyRead = last !== undefined && this.cursorOf(last) !== follower.cursor
          if (isPartlyRead || this.take(follower) !== null) break
        }
      } catch (error) {
        this.#deps.log.error({ ...this.#source.logFields, err: error }, 'reading a topic failed')
      }
      // The store has trouble, or its reads are ahead of its subscription.
      if (follower.cursor === cursor && this.take(follower) === null) await backoff.wait(signal)
    }
  }

  /** Drops all that is kept, because a part of it was redacted. Followers read the store again. */
  forget(): void {
    this.forgotten += 1
    this.#shared?.rings.clear()
    this.#notify()
  }

  /** Opens the ring of a form. It begins where the subscription is, if there is one already. */
  #openRing(follower: Follower<Cursor>): void {
    // A follower that has left may still be reading. A subscription for it would never end.
    if (!this.#followers.has(follower)) return
    follower.isCaughtUp = true
    const { cursor, form } = follower
    if (this.#shared === null) {
      this.#shared = { rings: new Map(), stop: new AbortController(), delivered: cursor }
      void this.#feed(this.#shared)
    }
    const { rings, delivered } = this.#shared
    if (!rings.has(form)) rings.set(form, new Ring(delivered, this.#deps.limits))
  }

  async #feed(shared: Shared<Cursor>): Promise<void> {
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
          this.#push(item.events.map(asOfNow), shared)
          backoff.reset()
          this.#notify()
        }
      } catch (error) {
        log.error({ ...this.#source.logFields, err: error }, 'the subscription of a topic failed')
      }
      if (!signal.aborted) await backoff.wait(signal)
    }
  }

  #push(events: readonly RecordedEvent[], shared: Shared<Cursor>): void {
    const { ofAll } = this.#source
    const { readModel } = this.#deps
    for (const [form, ring] of shared.rings) {
      for (const frame of framesOf(events, { form, ofAll, readModel })) {
        ring.push(this.cursorOf(frame), frame)
      }
    }
    const last = events.at(-1)
    if (last !== undefined) shared.delivered = this.cursorOf({ ...last, seq: last.revision })
  }

  #notify(): void {
    for (const follower of this.#followers) follower.onNews()
  }
}
