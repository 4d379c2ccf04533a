import { setTimeout as sleep } from 'node:timers/promises'

/** Waits ever longer from one call to the next, until `signal` aborts. */
export class Backoff {
  readonly #bounds: readonly [number, number]
  #next: number

  /** @param bounds the first and the longest pause, milliseconds */
  constructor(bounds: readonly [number, number]) {
    this.#bounds = bounds
    this.#next = bounds[0]
  }

  async wait(signal: AbortSignal): Promise<void> {
    const pause = this.#next
    this.#next = Math.min(pause * 2, this.#bounds[1])
    // The only way this can reject is the abort, which the caller looks for itself.
    await sleep(pause, undefined, { signal, ref: false }).catch(() => {})
  }

  reset(): void {
    this.#next = this.#bounds[0]
  }
}
