import { type Entry, sizeOf } from './entry.ts'

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

  learn(page: readonly Entry[]): void {
    if (page.length === 0) return
    const average = page.reduce((sum, entry) => sum + sizeOf(entry), 1) / page.length
    const fitting = Math.floor(this.#bytes / average)
    this.#records = Math.max(FEWEST, Math.min(fitting, this.#records * 4, MOST))
  }
}
