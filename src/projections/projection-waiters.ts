type Waiter = { readonly seq: number; readonly settle: (reached: boolean) => void }

/** Calls that wait until a record of a run is projected. */
export class ProjectionWaiters {
  readonly #byRun = new Map<string, Set<Waiter>>()
  #wake: () => void = () => {}

  /** Resolves to true once the run has reached `seq`, to false after `timeoutMs` or when `giveUp` is called. */
  wait(runId: string, seq: number, timeoutMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const settle = (reached: boolean): void => {
        clearTimeout(timer)
        this.#forget(runId, waiter)
        resolve(reached)
      }
      const waiter: Waiter = { seq, settle }
      const timer = setTimeout(settle, timeoutMs, false)
      const waiters = this.#byRun.get(runId)
      if (waiters === undefined) this.#byRun.set(runId, new Set([waiter]))
      else waiters.add(waiter)
      this.#wake()
    })
  }

  /** Resolves after `ms` milliseconds, or as soon as a call waits for a record. */
  idleFor(ms: number): Promise<void> {
    if (this.#byRun.size > 0) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  reached(runId: string, seq: number): void {
    for (const waiter of [...(this.#byRun.get(runId) ?? [])]) {
      if (waiter.seq <= seq) waiter.settle(true)
    }
  }

  giveUp(): void {
    for (const waiters of [...this.#byRun.values()]) {
      for (const waiter of [...waiters]) waiter.settle(false)
    }
  }

  #forget(runId: string, waiter: Waiter): void {
    const waiters = this.#byRun.get(runId)
    waiters?.delete(waiter)
    if (waiters?.size === 0) this.#byRun.delete(runId)
  }
}
