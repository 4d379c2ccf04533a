import { median } from '../support/figures.ts'

export type Round = {
  /** Median time of one run from its start to its end, milliseconds. */
  readonly runMs: number
  readonly runsPerSecond: number
}

/** Far more than any round takes on a healthy machine. */
const LIMIT_MS = 120_000

/**
 * Keeps `atOnce` runs under way until `runs` have ended.
 * @throws if a run throws, or if not all of them have ended within `limitMs`; the signal of the runs then aborts
 */
export async function closedLoop(
  runOnce: (signal: AbortSignal) => Promise<unknown>,
  options: { readonly atOnce: number; readonly runs: number; readonly limitMs?: number },
): Promise<Round> {
  const { atOnce, runs, limitMs = LIMIT_MS } = options
  const stop = new AbortController()
  const { signal } = stop
  const times: number[] = []
  let left = runs
  const keepOneUnderWay = async (): Promise<void> => {
    while (left > 0 && !signal.aborted) {
      left -= 1
      const began = performance.now()
      await runOnce(signal)
      times.push(performance.now() - began)
    }
  }
  const began = performance.now()
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => {
    stop.abort()
    reject(new Error(`only ${times.length} of ${runs} runs ended in ${Math.round(limitMs)} ms`))
  }, limitMs)
  try {
    await Promise.race([Promise.all(Array.from({ length: atOnce }, keepOneUnderWay)), late])
  } finally {
    clearTimeout(timer)
  }
  const seconds = (performance.now() - began) / 1000
  return { runMs: median(times), runsPerSecond: runs / seconds }
}
