/** The time for which a caller may go on with what it was let in for. */
export class Lease {
  readonly #expiresAt: number | null
  readonly #clock: () => number
  readonly #listeners = new Set<() => void>()
  #ended = false

  /**
   * @param expiresAt seconds since the epoch, as `clock` tells them; null for never
   */
  constructor(expiresAt: number | null, clock: () => number) {
    this.#expiresAt = expiresAt
    this.#clock = clock
  }

  get ended(): boolean {
    return this.#ended || (this.#expiresAt !== null && this.#clock() >= this.#expiresAt)
  }

  /** Calls `listener` once when it ends, or at once if it has. @returns what makes it forget that */
  onEnd(listener: () => void): () => void {
    if (this.ended) listener()
    else this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  end(): void {
    this.#ended = true
    const listeners = [...this.#listeners]
    this.#listeners.clear()
    for (const listener of listeners) listener()
  }
}
