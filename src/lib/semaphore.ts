/** Lets a bounded number of jobs work at once. The others wait, in the order in which they came. */
export class Semaphore {
  #free: number
  readonly #waiting = new Map<() => void, string>()

  constructor(limit: number) {
    this.#free = limit
  }

  /** The names of the jobs that wait, the next one first. */
  get waiting(): readonly string[] {
    return [...this.#waiting.values()]
  }

  /** Resolves to a function that releases what was acquired; to null if `signal` aborts before. */
  async acquire(signal: AbortSignal, name = ''): Promise<(() => void) | null> {
    if (signal.aborted) return null
    if (this.#free > 0) this.#free -= 1
    else if (!(await this.#wait(signal, name))) return null
    return () => this.#release()
  }

  #wait(signal: AbortSignal, name: string): Promise<boolean> {
    return new Promise((resolve) => {
      const admit = (): void => {
        signal.removeEventListener('abort', leave)
        resolve(true)
      }
      const leave = (): void => {
        this.#waiting.delete(admit)
        resolve(false)
      }
      this.#waiting.set(admit, name)
      signal.addEventListener('abort', leave, { once: true })
    })
  }

  /** Admits the job that has waited longest. */
  #release(): void {
    for (const next of this.#waiting.keys()) {
      this.#waiting.delete(next)
      next()
      return
    }
    this.#free += 1
  }
}
