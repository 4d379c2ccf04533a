/** Keeps the `capacity` items that were used most recently. */
export class LruCache<T> {
  readonly #items = new Map<string, T>()
  readonly #capacity: number

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  get(key: string): T | undefined {
    const item = this.#items.get(key)
    if (item !== undefined) this.set(key, item)
    return item
  }

  set(key: string, item: T): void {
    // A Map keeps the order of insertion: the first key is the least recently used.
    this.#items.delete(key)
    this.#items.set(key, item)
    const [oldest] = this.#items.keys()
    if (this.#items.size > this.#capacity && oldest !== undefined) this.#items.delete(oldest)
  }

  /** Drops an item, unless another one has taken its place. */
  delete(key: string, item: T): void {
    if (this.#items.get(key) === item) this.#items.delete(key)
  }

  clear(): void {
    this.#items.clear()
  }
}
