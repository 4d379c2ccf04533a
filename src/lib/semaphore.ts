/** Lets a bounded number of jobs work at once; the others wait their turn, in the order they came. */
export class Turns {
  #free: number
  readonly #waiting: (() => void)[] = []

  constructor(limit: number) {
    this.#free = limit
  }

  /**
   * Resolves when it is the caller's turn, to a function that gives the turn back; to null when
   * `signal` aborts before.
   */
  async take(signal: AbortSignal): Promise<(() => void) | null> {
    if (signal.aborted) return null
    if (this.#free > 0) this.#free -= 1
    else if (!(await this.#wait(signal))) return null
    return () => this.#pass()
  }

  #wait(signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const called = (): void => {
        signal.removeEventListener('abort', left)
        resolve(true)
      }
      const left = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(called), 1)
        resolve(false)
      }
      this.#waiting.push(called)
      signal.addEventListener('abort', left, { once: true })
    })
  }

  /** Hands the turn straight to who has waited longest. */
  #pass(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#free += 1
    else next()
  }
}
