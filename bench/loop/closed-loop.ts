import { median } from '../support/figures.ts'

export type Round = {
  /** Median time of one run from its start to its end, milliseconds. */
  readonly runMs: number
  readonly runsPerSecond: number
}

/** Keeps `atOnce` runs under way until `runs` have ended. */
export async function closedLoop(
  runOnce: () => Promise<unknown>,
  { atOnce, runs }: { readonly atOnce: number; readonly runs: number },
): Promise<Round> {
  const times: number[] = []
  let left = runs
  const keepOneUnderWay = async (): Promise<void> => {
    while (left > 0) {
      left -= 1
      const began = performance.now()
      await runOnce()
      times.push(performance.now() - began)
    }
  }
  const began = performance.now()
  await Promise.all(Array.from({ length: atOnce }, keepOneUnderWay))
  const seconds = (performance.now() - began) / 1000
  return { runMs: median(times), runsPerSecond: runs / seconds }
}
