const FEWEST = 8
const MOST = 1024

/** How many records to read at once so that a page is of about the wanted size. Learns from page to page. */
export class PageSize {
  readonly #bytes: number
  #records = 64

  constructor(bytes: number) {
    this.#bytes = bytes
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
