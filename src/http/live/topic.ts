import { setImmediate as nextTurn } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import type { Form } from '../../api/event-query.ts'
import { Backoff } from '../../lib/backoff.ts'
import { Signal } from '../../lib/signal.ts'
import { streamOf } from '../../log/run-log.ts'
import type { ReadModel } from '../../projections/read-model.ts'
import type { RecordedEvent } from '../../store/event-store.ts'
import { type Entry, entriesOf, sizeOf } from './entry.ts'
import type { LiveLimits } from './limits.ts'
import type { PageDeps } from './page.ts'
import { PageSize } from './page-size.ts'
import type { Pages } from './pages.ts'
import { Ring } from './ring.ts'

export type TopicDeps = PageDeps & {
  readonly readModel: Pick<ReadModel, 'waitFor'>
  readonly limits: LiveLimits
  readonly log: FastifyBaseLogger
  /** An event as it is now: strings may have been taken out of it since it was delivered. */
  readonly asOfNow?: (event: RecordedEvent) => RecordedEvent
}

/** The subscription is ahead of the projector, as a rule. */
const NOT_PROJECTED = -1

/**
 * One run as its observers in this process read it. They read pages from the store until one of them
 * reaches the end; from there on one subscription feeds a ring for each form that somebody wants, and
 * whoever is within the ring is served from it. An observer is nothing but a cursor: it can fall out of
 * the ring and catch up again.
 */
export class Topic {
  readonly #runId: string
  readonly #deps: TopicDeps
  readonly #pages: Pages
  readonly #stop = new AbortController()
  readonly #news = new Signal()
  readonly #pageSize: PageSize
  readonly #rings = new Map<Form, Ring>()
  /** seq of the last record that the subscription has delivered; null while there is none. */
  #delivered: number | null = null

  constructor(runId: string, pages: Pages, deps: TopicDeps) {
    this.#runId = runId
    this.#deps = deps
    this.#pages = pages
    this.#pageSize = new PageSize(deps.limits.pageBytes)
  }

  /**
   * Some entries right behind `cursor`, in order and without gaps; waits while there are none.
   * Store trouble is waited out. Empty only when `signal` has aborted.
   */
  async next(cursor: number, form: Form, signal: AbortSignal): Promise<readonly Entry[]> {
    const backoff = new Backoff(this.#deps.limits.retryMs)
    while (!signal.aborted) {
      const kept = this.#rings.get(form)?.behind(cursor) ?? null
      if (kept !== null && kept.length > 0) return kept
      if (kept !== null) {
        await this.#news.wait(signal)
        continue
      }
      const page = await this.#readPage(cursor, form)
      if (page !== null && page.length > 0) return page
      if (page !== null && !this.#rings.has(form)) this.#follow(cursor, form)
      // A store that is in trouble, or that reads behind its own subscription.
      else await backoff.wait(signal)
    }
    return []
  }

  /** What is kept is not as it should be any more: it is read from the store again. */
  forgetAll(): void {
    this.#rings.clear()
    this.#news.notify()
  }

  /** To be called when nobody wants this form any more. */
  forget(form: Form): void {
    this.#rings.delete(form)
  }

  /** Ends the subscription. Nobody may be waiting any more. */
  stop(): void {
    this.#stop.abort()
  }

  async #readPage(cursor: number, form: Form): Promise<readonly Entry[] | null> {
    const asked = this.#pageSize.records
    const page = await this.#pages.behind(this.#runId, cursor, asked, form)
    if (page.isErr()) {
      this.#deps.log.warn(
        { run_id: this.#runId, error: page.error },
        'cannot read a watched run, trying again',
      )
      return null
    }
    const { length } = page.value
    this.#pageSize.learn(
      length,
      page.value.reduce((sum, entry) => sum + sizeOf(entry), 0),
    )
    if (length >= asked) {
      this.#pages.readAhead(this.#runId, cursor + length, this.#pageSize.records, form)
    }
    return page.value
  }

  /** Has the ring of a form fed; it goes on from where the subscription is, if there is one already. */
  #follow(after: number, form: Form): void {
    const begins = this.#delivered === null
    this.#delivered ??= after
    this.#rings.set(form, new Ring(this.#delivered, this.#deps.limits))
    if (begins) void this.#feed(after)
  }

  async #feed(from: number): Promise<void> {
    const { store, limits, log, asOfNow } = this.#deps
    const { signal } = this.#stop
    const backoff = new Backoff(limits.retryMs)
    while (!signal.aborted) {
      try {
        const subscription = store.subscribeStream(streamOf(this.#runId), {
          after: this.#delivered ?? from,
          signal,
        })
        for await (const item of subscription) {
          if (item.type !== 'events') continue
          // Who has just appended goes first, and hands its next append to the store at the end of this
          // turn: only in the turn behind that does watching a run not hold it up.
          await nextTurn()
          await nextTurn()
          this.#push(asOfNow === undefined ? item.events : item.events.map(asOfNow))
          backoff.reset()
          this.#news.notify()
        }
      } catch (error) {
        log.error({ run_id: this.#runId, err: error }, 'the subscription of a watched run broke')
      }
      if (!signal.aborted) await backoff.wait(signal)
    }
  }

  #push(events: readonly RecordedEvent[]): void {
    for (const [form, ring] of this.#rings) {
      for (const entry of entriesOf(events, NOT_PROJECTED, form)) {
        // Where a subscription broke in the middle, what it had delivered comes again.
        if (entry.seq > ring.last) ring.push(entry)
      }
    }
    this.#delivered = events.at(-1)?.revision ?? this.#delivered
  }
}
