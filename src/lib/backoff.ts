/** The first and the longest pause of a backoff, in milliseconds. */
export type PauseBoundsMs = readonly [first: number, longest: number]

/**
 * The pause after `failures` failures in a row (0 for the first), in milliseconds. It doubles up to the longest.
 * Half of it is random, so that the clients of a server that was restarted do not all return at once.
 */
export function pauseMs([first, longest]: PauseBoundsMs, failures: number): number {
  return Math.min(longest, first * 2 ** failures) * (0.5 + Math.random() / 2)
}

/** Waits; resolves to false as soon as `signal` aborts. */
export function sleep(ms: number, signal?: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve(false)
    const abort = (): void => {
      clearTimeout(timer)
      resolve(false)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort)
      resolve(true)
    }, ms)
    signal?.addEventListener('abort', abort, { once: true })
  })
}

/** Waits longer after each failure, until it is reset. */
export class Backoff {
  readonly #bounds: PauseBoundsMs
  #failures = 0

  constructor(bounds: PauseBoundsMs) {
    this.#bounds = bounds
  }

  /** Failures since the start or the last reset. */
  get failures(): number {
    return this.#failures
  }

  /** Waits for the next pause; resolves to false as soon as `signal` aborts. */
  wait(signal?: AbortSignal): Promise<boolean> {
    const pause = pauseMs(this.#bounds, this.#failures)
    this.#failures += 1
    return sleep(pause, signal)
  }

  reset(): void {
    this.#failures = 0
  }
}

/**
 * Runs a loop until `signal` aborts: if `loop` ends or throws, it starts again after a pause. Never rejects.
 * @param onFailure called with what `loop` has thrown
 */
export async function keepRunning(
  loop: () => Promise<void>,
  { signal, retryMs, onFailure }: KeepRunningOptions,
): Promise<void> {
  const backoff = new Backoff(retryMs)
  while (!signal.aborted) {
    try {
      await loop()
    } catch (cause) {
      if (!signal.aborted) onFailure(cause)
    }
    await backoff.wait(signal)
  }
}

type KeepRunningOptions = {
  readonly signal: AbortSignal
  readonly retryMs: PauseBoundsMs
  readonly onFailure: (cause: unknown) => void
}
