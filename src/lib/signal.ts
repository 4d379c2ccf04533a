/** Wakes all that wait for something new. */
export class Signal {
  readonly #waiting = new Set<() => void>()
  #count = 0

  /** How often it was notified so far. */
  get count(): number {
    return this.#count
  }

  notify(): void {
    this.#count += 1
    for (const wake of this.#waiting) wake()
  }

  /**
   * Resolves at the next notification, or when `abort` aborts.
   * @param seen the count when the waiter last looked, if it has awaited anything since: a later
   *   notification wakes it at once
   */
  wait(abort: AbortSignal, seen = this.#count): Promise<void> {
    if (abort.aborted || seen !== this.#count) return Promise.resolve()
    return new Promise((resolve) => {
      const wake = (): void => {
        abort.removeEventListener('abort', wake)
        this.#waiting.delete(wake)
        resolve()
      }
      this.#waiting.add(wake)
      abort.addEventListener('abort', wake)
    })
  }
}
