import { setImmediate as nextTurn } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import { streamOf } from '../../store/run-log.ts'
import { Backoff } from './backoff.ts'
import { Bell } from './bell.ts'
import { type Entry, entriesOf, sizeOf } from './entry.ts'
import type { LiveLimits } from './limits.ts'
import type { PageDeps } from './page.ts'
import { PageSize } from './page-size.ts'
import type { Pages } from './pages.ts'
import { Ring } from './ring.ts'

export type TopicDeps = PageDeps & {
  readonly limits: LiveLimits
  readonly log: FastifyBaseLogger
}

/** The subscription is ahead of the projector, as a rule. */
const NOT_PROJECTED = -1

/**
 * One run as its observers in this process read it. They read pages from the store until one of them
 * reaches the end; from there on one subscription feeds a ring, and whoever is within the ring is
 * served from it. An observer is nothing but a cursor: it can fall out of the ring and catch up again.
 */
export class Topic {
  readonly #runId: string
  readonly #deps: TopicDeps
  readonly #pages: Pages
  readonly #stop = new AbortController()
  readonly #news = new Bell()
  readonly #pageSize: PageSize
  #ring: Ring | null = null

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
  async next(cursor: number, signal: AbortSignal): Promise<readonly Entry[]> {
    const backoff = new Backoff(this.#deps.limits.retryMs)
    while (!signal.aborted) {
      const kept = this.#ring?.behind(cursor) ?? null
      if (kept !== null && kept.length > 0) return kept
      if (kept !== null) {
        await this.#news.wait(signal)
        continue
      }
      const page = await this.#readPage(cursor)
      if (page !== null && page.length > 0) return page
      if (page !== null && this.#ring === null) this.#follow(cursor)
      // A store that is in trouble, or that reads behind its own subscription.
      else await backoff.wait(signal)
    }
    return []
  }

  /** Ends the subscription. Nobody may be waiting any more. */
  stop(): void {
    this.#stop.abort()
  }

  async #readPage(cursor: number): Promise<readonly Entry[] | null> {
    const asked = this.#pageSize.records
    const page = await this.#pages.behind(this.#runId, cursor, asked)
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
      this.#pages.readAhead(this.#runId, cursor + length, this.#pageSize.records)
    }
    return page.value
  }

  #follow(after: number): void {
    const ring = new Ring(after, this.#deps.limits)
    this.#ring = ring
    void this.#feed(ring)
  }

  async #feed(ring: Ring): Promise<void> {
    const { store, limits, log } = this.#deps
    const { signal } = this.#stop
    const backoff = new Backoff(limits.retryMs)
    while (!signal.aborted) {
      try {
        const subscription = store.subscribeStream(streamOf(this.#runId), {
          after: ring.last,
          signal,
        })
        for await (const item of subscription) {
          if (item.type !== 'events') continue
          // Who has just appended goes first: watching a run must not hold it up.
          await nextTurn()
          for (const entry of entriesOf(item.events, NOT_PROJECTED)) ring.push(entry)
          backoff.reset()
          this.#news.ring()
        }
      } catch (error) {
        log.error({ run_id: this.#runId, err: error }, 'the subscription of a watched run broke')
      }
      if (!signal.aborted) await backoff.wait(signal)
    }
  }
}
