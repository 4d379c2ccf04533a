/** Lets a bounded number of jobs work at once; the others wait, in the order they came. */
export class Semaphore {
  #free: number
  readonly #waiting: (() => void)[] = []

  constructor(limit: number) {
    this.#free = limit
  }

  /** Resolves to a function that releases what was acquired; to null if `signal` aborts before. */
  async acquire(signal: AbortSignal): Promise<(() => void) | null> {
    if (signal.aborted) return null
    if (this.#free > 0) this.#free -= 1
    else if (!(await this.#wait(signal))) return null
    return () => this.#release()
  }

  #wait(signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const admit = (): void => {
        signal.removeEventListener('abort', leave)
        resolve(true)
      }
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(admit), 1)
        resolve(false)
      }
      this.#waiting.push(admit)
      signal.addEventListener('abort', leave, { once: true })
    })
  }

  /** Admits the job that has waited longest. */
  #release(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#free += 1
    else next()
  }
}
