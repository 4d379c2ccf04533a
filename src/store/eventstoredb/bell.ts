/** Wakes the one who waits. A ring that nobody waits for is kept, however many there were. */
export class Bell {
  #rung = false
  #answer: (() => void) | null = null

  readonly ring = (): void => {
    this.#rung = true
    this.#answer?.()
  }

  async wait(): Promise<void> {
    if (!this.#rung) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#answer = resolve
      await promise
      this.#answer = null
    }
    this.#rung = false
  }
}
