/** Pauses that double from one failure to the next, and differ from client to client. */
export class Backoff {
  readonly #bounds: readonly [first: number, longest: number]
  #next: number

  /** @param bounds the first and the longest pause, milliseconds */
  constructor(bounds: readonly [first: number, longest: number]) {
    this.#bounds = bounds
    this.#next = bounds[0]
  }

  /** Ends early when `signal` aborts. */
  wait(signal: AbortSignal | undefined): Promise<void> {
    const longest = this.#next
    this.#next = Math.min(longest * 2, this.#bounds[1])
    // Half of it is chance, so that all clients of a server that was restarted do not come at once.
    return sleep(longest * (0.5 + Math.random() / 2), signal)
  }

  reset(): void {
    this.#next = this.#bounds[0]
  }
}

function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve()
    const wake = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', wake)
      resolve()
    }
    const timer = setTimeout(wake, ms)
    signal?.addEventListener('abort', wake)
  })
}
