/** Wakes those who wait for something new. */
export class Bell {
  #waiting = new Map<AbortSignal, () => void>()
  /** Signals that are listened to: once each, since listening anew for every wait is not cheap. */
  readonly #heeded = new WeakSet<AbortSignal>()

  ring(): void {
    const waiting = this.#waiting
    this.#waiting = new Map()
    for (const wake of waiting.values()) wake()
  }

  /** Resolves at the next ring, or when `signal` aborts. One may wait at a time with each signal. */
  wait(signal: AbortSignal): Promise<void> {
    if (this.#waiting.has(signal)) throw new Error('somebody waits with this signal already')
    return new Promise((resolve) => {
      this.#waiting.set(signal, resolve)
      if (signal.aborted) this.#leave(signal)
      else this.#heed(signal)
    })
  }

  #heed(signal: AbortSignal): void {
    if (this.#heeded.has(signal)) return
    this.#heeded.add(signal)
    signal.addEventListener('abort', () => this.#leave(signal), { once: true })
  }

  #leave(signal: AbortSignal): void {
    const wake = this.#waiting.get(signal)
    this.#waiting.delete(signal)
    wake?.()
  }
}
