import { Semaphore } from '../lib/semaphore.ts'

/** Limits how many runs are worked on at once. */
export class Turns {
  readonly limit: number
  readonly all: Semaphore
  /** Limits how many runs that wait for a turn are read at once. */
  readonly reading = new Semaphore(4)

  constructor(maxRunsAtWork: number) {
    this.limit = maxRunsAtWork
    this.all = new Semaphore(maxRunsAtWork)
  }
}

/** The turn of one run, until the work on it is stopped. */
export class Turn {
  readonly #turns: Turns
  readonly #signal: AbortSignal
  /** Gives its turn to another run; null while it has none. */
  #release: (() => void) | null = null
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

  /** While the run waits for sub-agents, it is not at work. Each of them may wait for its turn. */
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
    this.#release?.()
    this.#release = null
  }
}
