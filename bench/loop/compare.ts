import { median } from '../support/figures.ts'
import { closedLoop, type Round } from './closed-loop.ts'

/** One side: how it does a run, and how many runs are a round. */
export type Contender = {
  readonly runOnce: () => Promise<unknown>
  /** Model calls of one run. */
  readonly steps: number
  readonly runsPerRound: (atOnce: number) => number
}

/** Medians over the rounds. */
export type Figures = { readonly msPerStep: number; readonly runsPerSecond: number }

/** The sides take turns, so that other load on the machine affects all of them. */
export async function compare(
  contenders: readonly Contender[],
  { atOnce, rounds }: { readonly atOnce: number; readonly rounds: number },
): Promise<Figures[]> {
  const entries = contenders.map((contender) => ({ contender, rounds: [] as Round[] }))
  for (let round = 0; round < rounds; round += 1) {
    for (const { contender, rounds } of entries) {
      const runs = contender.runsPerRound(atOnce)
      rounds.push(await closedLoop(contender.runOnce, { atOnce, runs }))
    }
  }
  return entries.map(({ contender, rounds }) => ({
    msPerStep: median(rounds.map(({ runMs }) => runMs / contender.steps)),
    runsPerSecond: median(rounds.map(({ runsPerSecond }) => runsPerSecond)),
  }))
}
