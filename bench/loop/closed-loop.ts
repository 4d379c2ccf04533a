import { median } from '../support/figures.ts'

export type Round = {
  /** Median time of one run from its start to its end, milliseconds. */
  readonly runMs: number
  readonly runsPerSecond: number
}

/** No round of any bench takes as long on a machine that works. */
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
  const signal = AbortSignal.timeout(Math.max(1, Math.round(limitMs)))
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
  const late = new Promise<never>((_, reject) => {
    const tooLate = () => new Error(`only ${times.length} of ${runs} runs ended in ${limitMs} ms`)
    signal.addEventListener('abort', () => reject(tooLate()), { once: true })
  })
  await Promise.race([Promise.all(Array.from({ length: atOnce }, keepOneUnderWay)), late])
  const seconds = (performance.now() - began) / 1000
  return { runMs: median(times), runsPerSecond: runs / seconds }
}
