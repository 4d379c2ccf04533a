/** Wakes all that wait for something new. */
export class Signal {
  #waiting = new Map<AbortSignal, () => void>()
  /** Listened to once each: a new listener for every wait is not cheap. */
  readonly #listenedTo = new WeakSet<AbortSignal>()
  #count = 0

  /** How often it was notified so far. */
  get count(): number {
    return this.#count
  }

  notify(): void {
    this.#count += 1
    const waiting = this.#waiting
    this.#waiting = new Map()
    for (const wake of waiting.values()) wake()
  }

  /**
   * Resolves at the next notification, or when `abort` aborts. Each `abort` has one waiter at a time.
   * @param seen the count when the waiter last looked, if it has awaited anything since: a later
   *   notification wakes it at once
   */
  wait(abort: AbortSignal, seen = this.#count): Promise<void> {
    if (this.#waiting.has(abort)) throw new Error('one waiter at a time for each AbortSignal')
    if (abort.aborted || seen !== this.#count) return Promise.resolve()
    return new Promise((resolve) => {
      this.#waiting.set(abort, resolve)
      this.#listenTo(abort)
    })
  }

  #listenTo(abort: AbortSignal): void {
    if (this.#listenedTo.has(abort)) return
    this.#listenedTo.add(abort)
    abort.addEventListener('abort', () => this.#leave(abort), { once: true })
  }

  #leave(abort: AbortSignal): void {
    const wake = this.#waiting.get(abort)
    this.#waiting.delete(abort)
    wake?.()
  }
}
