const FEWEST = 8
const MOST = 1024

/** How many records to read at once so that a page is of about the wanted size. Learns from page to page. */
export class PageSize {
  readonly #bytes: number
  #records: number

  /** @param first how many records to read before anything is known of their size */
  constructor(bytes: number, first = 64) {
    this.#bytes = bytes
    this.#records = first
  }

  get records(): number {
    return this.#records
  }

  /** @param bytes of all records of the page together */
  learn(records: number, bytes: number): void {
    if (records === 0) return
    const fitting = Math.floor((this.#bytes * records) / (bytes + 1))
    this.#records = Math.max(FEWEST, Math.min(fitting, this.#records * 4, MOST))
  }
}
