/**
 * Lets a bounded number of jobs work at once. The others wait, in the order in which they came, but those of one owner
 * take turns with those of the others: a hundred jobs of one do not keep the first job of another waiting.
 */
export class Semaphore {
  #free: number
  /** By owner. The owner whose turn is next comes first. */
  readonly #waiting = new Map<string, (() => void)[]>()

  constructor(limit: number) {
    this.#free = limit
  }

  /** Resolves to a function that releases what was acquired; to null if `signal` aborts before. */
  async acquire(signal: AbortSignal, owner = ''): Promise<(() => void) | null> {
    if (signal.aborted) return null
    if (this.#free > 0) this.#free -= 1
    else if (!(await this.#wait(signal, owner))) return null
    return () => this.#release()
  }

  #wait(signal: AbortSignal, owner: string): Promise<boolean> {
    return new Promise((resolve) => {
      const admit = (): void => {
        signal.removeEventListener('abort', leave)
        resolve(true)
      }
      const leave = (): void => {
        const left = this.#waiting.get(owner)?.filter((job) => job !== admit) ?? []
        if (left.length > 0) this.#waiting.set(owner, left)
        else this.#waiting.delete(owner)
        resolve(false)
      }
      const jobs = this.#waiting.get(owner)
      if (jobs === undefined) this.#waiting.set(owner, [admit])
      else jobs.push(admit)
      signal.addEventListener('abort', leave, { once: true })
    })
  }

  /** Admits the job that has waited longest, of the owner whose turn it is. */
  #release(): void {
    for (const [owner, jobs] of this.#waiting) {
      const next = jobs.shift()
      this.#waiting.delete(owner)
      if (jobs.length > 0) this.#waiting.set(owner, jobs)
      next?.()
      return
    }
    this.#free += 1
  }
}
