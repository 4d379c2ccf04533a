import { setTimeout as delay } from 'node:timers/promises'

/** Milliseconds to wait after `failures` failures in a row (0 for the first). */
export type Backoff = (failures: number) => number

/** Doubles from `firstMs` to at most `maxMs`. */
export function exponential(firstMs: number, maxMs: number): Backoff {
  return (failures) => Math.min(maxMs, firstMs * 2 ** failures)
}

/** Waits; false as soon as `signal` aborts. */
export async function untilAborted(ms: number, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return false
  try {
    await delay(ms, undefined, { signal })
    return true
  } catch {
    return false
  }
}
