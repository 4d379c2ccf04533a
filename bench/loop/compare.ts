import { err, ok, type Result } from 'neverthrow'
import { messageOf } from '../../src/lib/message-of.ts'
import { median } from '../support/figures.ts'
import { closedLoop, type Round } from './closed-loop.ts'

/** One side: how it does a run, and how many runs are a round. */
export type Contender = {
  readonly runOnce: (signal: AbortSignal) => Promise<unknown>
  /** Model calls of one run. */
  readonly steps: number
  readonly runsPerRound: (atOnce: number) => number
}

/** Medians over the rounds. */
export type Figures = {
  readonly msPerStep: number
  readonly runsPerSecond: number
  readonly rounds: number
}

/** The limit for all rounds of a side in one comparison. A slower side has fewer rounds, or fails. */
const LIMIT_MS = 60_000

/**
 * The sides take turns, so that other load on the machine affects all of them. A side that fails is left out from then
 * on, and the others are measured without it.
 * @returns the figures of each side, or the reason why there are none
 */
export async function compare(
  contenders: readonly Contender[],
  { atOnce, rounds }: { readonly atOnce: number; readonly rounds: number },
): Promise<Result<Figures, string>[]> {
  const sides = contenders.map((contender) => new Side(contender, atOnce))
  for (let round = 0; round < rounds; round += 1) for (const side of sides) await side.round()
  return sides.map((side) => side.figures())
}

class Side {
  readonly #contender: Contender
  readonly #atOnce: number
  readonly #rounds: Round[] = []
  #leftMs = LIMIT_MS
  #failure: string | null = null

  constructor(contender: Contender, atOnce: number) {
    this.#contender = contender
    this.#atOnce = atOnce
  }

  async round(): Promise<void> {
    if (this.#failure !== null) return
    const { runOnce, runsPerRound } = this.#contender
    const atOnce = this.#atOnce
    const began = performance.now()
    try {
      const options = { atOnce, runs: runsPerRound(atOnce), limitMs: this.#leftMs }
      this.#rounds.push(await closedLoop(runOnce, options))
    } catch (cause) {
      this.#failure = messageOf(cause)
    }
    this.#leftMs -= performance.now() - began
  }

  /** A side that only ran out of time keeps the figures of its earlier rounds. */
  figures(): Result<Figures, string> {
    const rounds = this.#rounds
    if (this.#failure !== null && (rounds.length === 0 || this.#leftMs > 0))
      return err(this.#failure)
    return ok({
      msPerStep: median(rounds.map(({ runMs }) => runMs / this.#contender.steps)),
      runsPerSecond: median(rounds.map(({ runsPerSecond }) => runsPerSecond)),
      rounds: rounds.length,
    })
  }
}
