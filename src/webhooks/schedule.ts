import { pauseMs } from '../lib/backoff.ts'
import type { Held } from './delivery-book.ts'

/** The pause before a delivery is tried again. */
const RETRY_MS = [5_000, 3_600_000] as const
/** The pause between two tries of different runs while nothing gets through. */
const SPACING_MS = [1_000, 60_000] as const
/** Runs that are tried at once while deliveries get through. */
const AT_ONCE = 8

/**
 * When which run of a webhook is tried. Its records are tried one after the other, and a run whose record is not received
 * waits alone. While nothing gets through, one run at a time is tried. Times are in seconds since the epoch.
 */
export class Schedule {
  /** How many records of each run are pending. */
  readonly #left = new Map<string, number>()
  readonly #ready = new Set<string>()
  readonly #held: Map<string, Held>
  /** With the times when they were begun. */
  readonly #trying = new Map<string, number>()
  /** Tries in a row that failed, without those that began before the last of them had failed. */
  #failures: number
  #failedAt = 0
  #pauseUntil = 0

  constructor(
    waiting: readonly { readonly run_id: string; readonly count: number }[],
    held: ReadonlyMap<string, Held>,
  ) {
    this.#held = new Map(held)
    this.#failures = held.size > 0 ? 1 : 0
    for (const { run_id, count } of waiting) this.add(run_id, count)
  }

  /** How many records are pending. */
  get pending(): number {
    return this.#left.values().reduce((sum, count) => sum + count, 0)
  }

  /** When the first of the runs that are held is tried again; null if none is held. */
  get nextTry(): number | null {
    if (this.#held.size === 0) return null
    return this.#held.values().reduce((first, { next_try }) => Math.min(first, next_try), Infinity)
  }

  add(runId: string, count = 1): void {
    this.#left.set(runId, (this.#left.get(runId) ?? 0) + count)
    if (!this.#held.has(runId) && !this.#trying.has(runId)) this.#ready.add(runId)
  }

  get #isFull(): boolean {
    return this.#trying.size >= (this.#failures === 0 ? AT_ONCE : 1)
  }

  /** The run to try now, which has begun then; null if none. */
  begin(now: number): string | null {
    if (this.#isFull || now < this.#pauseUntil) return null
    const [runId = this.#ready.values().next().value] = this.#idle(
      ({ next_try }) => next_try <= now,
    )
    if (runId === undefined) return null
    this.#ready.delete(runId)
    this.#trying.set(runId, now)
    return runId
  }

  /** How long nothing can begin, in seconds, unless something ends or is added. */
  waitFrom(now: number): number {
    if (this.#isFull) return Number.POSITIVE_INFINITY
    const idle = this.#idle(() => true).map((runId) => this.#held.get(runId)?.next_try ?? 0)
    const first = this.#ready.size > 0 ? now : Math.min(Infinity, ...idle)
    return Math.max(0, first - now, this.#pauseUntil - now)
  }

  #idle(isWanted: (held: Held) => boolean): string[] {
    const idle = [...this.#held].filter(([id, held]) => !this.#trying.has(id) && isWanted(held))
    return idle.map(([runId]) => runId)
  }

  /** @returns whether all others that are held may be tried now, because deliveries get through again */
  received(runId: string): boolean {
    const isBack = this.#failures >= 2
    ;[this.#failures, this.#pauseUntil] = [0, 0]
    this.#trying.delete(runId)
    this.#held.delete(runId)
    const left = (this.#left.get(runId) ?? 1) - 1
    if (left === 0) this.#left.delete(runId)
    else {
      this.#left.set(runId, left)
      this.#ready.add(runId)
    }
    if (isBack) for (const [id, held] of this.#held) this.#held.set(id, { ...held, next_try: 0 })
    return isBack
  }

  /** All runs that are held may be tried now, as if they had not been tried. */
  release(): void {
    for (const runId of this.#held.keys()) if (!this.#trying.has(runId)) this.#ready.add(runId)
    this.#held.clear()
    this.#pauseUntil = 0
  }

  /** How often the first pending record of a run was tried. */
  triesOf = (runId: string): number => this.#held.get(runId)?.tries ?? 0

  refused(runId: string, now: number): Held {
    const { tries, since } = this.#held.get(runId) ?? { tries: 0, since: now }
    const held = { tries: tries + 1, since, next_try: now + pauseMs(RETRY_MS, tries) / 1000 }
    this.#held.set(runId, held)
    if ((this.#trying.get(runId) ?? now) >= this.#failedAt) {
      this.#failures += 1
      this.#failedAt = now
      const pause = this.#failures < 2 ? 0 : pauseMs(SPACING_MS, this.#failures - 2) / 1000
      this.#pauseUntil = now + pause
    }
    this.#trying.delete(runId)
    return held
  }
}
