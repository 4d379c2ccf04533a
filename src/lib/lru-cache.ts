/** Keeps the `capacity` items that were used most recently. */
export class LruCache<T> {
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
    // A Map keeps the order of insertion: the first key is the least recently used.
    this.#items.delete(key)
    this.#items.set(key, item)
    this.#newest = key
    if (this.#items.size <= this.#capacity) return
    for (const oldest of this.#items.keys()) {
      this.#items.delete(oldest)
      return
    }
  }

  /** All items; reading them here does not count as use. */
  values(): Iterable<T> {
    return this.#items.values()
  }

  clear(): void {
    this.#items.clear()
  }
}
