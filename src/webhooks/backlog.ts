import type { DeliveryView } from '../api/webhooks.ts'
import { pauseMs } from '../lib/backoff.ts'
import type { DeliveryBook, Due, Held } from './delivery-book.ts'

/** The pause before a delivery is tried again. */
const RETRY_MS = [5_000, 3_600_000] as const
/** The pause between two tries of different runs while nothing gets through. */
const SPACING_MS = [1_000, 60_000] as const
/** Runs that are tried at once while deliveries get through. */
const AT_ONCE = 8

/** A run with records that are pending. */
type Run = {
  pending: number
  /** Set while its first record was tried and not received. */
  held: Held | null
  /** When the try that is under way began; null if none is. */
  triedSince: number | null
}

/** A run whose first pending record is tried now, for the first time or again. */
export type Begun = { readonly runId: string; readonly attempt: number }

/**
 * What is pending for one webhook, and when which run is tried. The records of a run are tried one after the other, and a
 * run whose record is not received waits alone. While nothing gets through, one run at a time is tried. All changes are
 * noted in the book first. Times are in seconds since the epoch.
 */
export class Backlog {
  readonly #book: DeliveryBook
  readonly #webhook: string
  /** The run that has waited longest for its turn comes first. */
  readonly #runs = new Map<string, Run>()
  #underWay = 0
  /** Tries in a row that failed, without those that began before the last of them had failed. */
  #failures = 0
  #failedAt = 0
  #pauseUntil = 0

  /** Begins with what the book has of a webhook. */
  constructor(book: DeliveryBook, webhook: string) {
    this.#book = book
    this.#webhook = webhook
    for (const { run_id, ...run } of book.runs(webhook)) {
      this.#runs.set(run_id, { ...run, triedSince: null })
      if (run.held !== null) this.#failures = 1
    }
  }

  /** How many records are pending. */
  get pending(): number {
    return this.#runs.values().reduce((sum, { pending }) => sum + pending, 0)
  }

  /** When the first of the runs that are held is tried again; null if none is held. */
  get nextTry(): number | null {
    const times = this.#runs.values().flatMap(({ held }) => (held === null ? [] : [held.next_try]))
    const first = times.reduce((one, other) => Math.min(one, other), Infinity)
    return first === Infinity ? null : first
  }

  /** Adds records, after the log was read up to a cursor. */
  add(cursor: string, due: readonly Due[]): void {
    this.#book.add(this.#webhook, cursor, due)
    for (const { run_id } of due) {
      const run = this.#runs.get(run_id)
      if (run !== undefined) run.pending += 1
      else this.#runs.set(run_id, { pending: 1, held: null, triedSince: null })
    }
  }

  get #isFull(): boolean {
    return this.#underWay >= (this.#failures === 0 ? AT_ONCE : 1)
  }

  /** The run to try now; null if none. */
  begin(now: number): Begun | null {
    if (this.#isFull || now < this.#pauseUntil) return null
    for (const [runId, run] of this.#runs) {
      if (run.triedSince !== null || (run.held?.next_try ?? 0) > now) continue
      run.triedSince = now
      this.#underWay += 1
      return { runId, attempt: (run.held?.tries ?? 0) + 1 }
    }
    return null
  }

  /** How long nothing can begin, in seconds, unless something ends or is added. */
  waitFrom(now: number): number {
    if (this.#isFull) return Infinity
    const idle = this.#runs.values().filter(({ triedSince }) => triedSince === null)
    const first = idle.reduce((time, { held }) => Math.min(time, held?.next_try ?? now), Infinity)
    return Math.max(0, first - now, this.#pauseUntil - now)
  }

  /** @param n the record, as the book names it */
  received(n: number, delivery: DeliveryView): void {
    const { run_id } = delivery
    this.#book.received(this.#webhook, n, delivery)
    const pending = (this.#runs.get(run_id)?.pending ?? 1) - 1
    this.#runs.delete(run_id)
    if (pending > 0) this.#runs.set(run_id, { pending, held: null, triedSince: null })
    this.#underWay -= 1
    // Deliveries get through again, so no run waits any longer.
    if (this.#failures >= 2) this.release(false)
    this.#failures = 0
    this.#pauseUntil = 0
  }

  /** @returns since when the record is tried */
  refused(delivery: DeliveryView, now: number): number {
    const run = this.#runs.get(delivery.run_id)
    const { tries, since } = run?.held ?? { tries: 0, since: now }
    const held = { tries: tries + 1, since, next_try: now + pauseMs(RETRY_MS, tries) / 1000 }
    this.#book.refused(this.#webhook, held, delivery)
    if ((run?.triedSince ?? now) >= this.#failedAt) {
      this.#failures += 1
      this.#failedAt = now
      const pause = this.#failures < 2 ? 0 : pauseMs(SPACING_MS, this.#failures - 2) / 1000
      this.#pauseUntil = now + pause
    }
    if (run !== undefined) Object.assign(run, { held, triedSince: null })
    this.#underWay -= 1
    return since
  }

  /** Lets all runs that are held be tried now. @param isFresh as if they had not been tried */
  release(isFresh: boolean): void {
    this.#book.release(this.#webhook, isFresh)
    for (const run of this.#runs.values()) {
      if (run.held !== null) run.held = isFresh ? null : { ...run.held, next_try: 0 }
    }
    this.#pauseUntil = 0
  }
}
