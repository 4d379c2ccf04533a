/** Less than the time limit of a test, so the test fails with what it waited for. */
export const PATIENCE_MS = 120_000

// Also when a test has fake timers.
const { setTimeout, clearTimeout } = globalThis

/**
 * Waits for a promise that may never be settled.
 * @param awaited describes what is awaited, and what there is of it so far
 */
export async function within<T>(
  promise: PromiseLike<T>,
  awaited: () => string,
  patienceMs = PATIENCE_MS,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    const giveUp = () => reject(new Error(`waited ${patienceMs / 1000} s for ${awaited()}`))
    timer = setTimeout(giveUp, patienceMs)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
