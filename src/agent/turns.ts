import { Semaphore } from '../lib/semaphore.ts'

/** Limits how many runs are worked on at once: of all runs, and of those that more than one crash interrupted. */
export class Turns {
  readonly all: Semaphore
  readonly suspects = new Semaphore(1)

  constructor(maxRunsAtWork: number) {
    this.all = new Semaphore(maxRunsAtWork)
  }
}

/** The turn of one run, until the work on it is stopped. */
export class Turn {
  readonly #turns: Turns
  readonly #signal: AbortSignal
  /** Gives its turn to another run; null while it has none. */
  #release: (() => void) | null = null
  /** Gives its turn to the next suspect, if this run is one. */
  #releaseSuspects: (() => void) | null = null
  /** How many sub-agents it waits for. */
  #waits = 0

  constructor(turns: Turns, signal: AbortSignal) {
    this.#turns = turns
    this.#signal = signal
  }

  /** Waits for the turn; false if the work is stopped before. */
  async take(): Promise<boolean> {
    this.#release = await this.#turns.all.acquire(this.#signal)
    return this.#release !== null
  }

  /** Suspects are claimed and worked on one at a time, so a crash counts against only one of them. */
  async takeAsSuspect(): Promise<boolean> {
    this.#releaseSuspects = await this.#turns.suspects.acquire(this.#signal)
    return this.#releaseSuspects !== null
  }

  /** The check or call that was interrupted by crashes is over, so it was not their cause. */
  clear(): void {
    this.#releaseSuspects?.()
    this.#releaseSuspects = null
  }

  /** While the run waits for sub-agents, it is neither at work nor the cause of a crash. Each of them may wait for it. */
  async give<T>(wait: () => Promise<T>): Promise<T> {
    this.#waits += 1
    this.end()
    const result = await wait()
    this.#waits -= 1
    // Until the last of them has ended, the run only records their results.
    if (this.#waits === 0) await this.take()
    return result
  }

  end(): void {
    this.clear()
    this.#release?.()
    this.#release = null
  }
}
