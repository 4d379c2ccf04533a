/** Keeps what was used most recently, and no more than `capacity` of it. */
export class Recent<T> {
  readonly #items = new Map<string, T>()
  readonly #capacity: number
  #newest: string | null = null

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  get(key: string): T | undefined {
    const item = this.#items.get(key)
    if (item !== undefined && key !== this.#newest) this.set(key, item)
    return item
  }

  set(key: string, item: T): void {
    // A Map keeps the order of insertion: the first key is the one longest unused.
    this.#items.delete(key)
    this.#items.set(key, item)
    this.#newest = key
    if (this.#items.size <= this.#capacity) return
    for (const oldest of this.#items.keys()) {
      this.#items.delete(oldest)
      return
    }
  }

  /** All that is kept; looking at it does not count as use. */
  values(): Iterable<T> {
    return this.#items.values()
  }

  clear(): void {
    this.#items.clear()
  }
}
