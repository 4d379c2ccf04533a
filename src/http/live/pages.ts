import type { Result } from 'neverthrow'
import type { Form } from '../../api/event-query.ts'
import type { ReadError } from '../../store/event-store.ts'
import { type Entry, sizeOf } from './entry.ts'
import { type PageDeps, readPage } from './page.ts'

type Read = Result<readonly Entry[], ReadError>

/** Some records of a run, from `from` on; how many, and how large, is known once they are read. */
type Page = {
  readonly runId: string
  readonly form: Form
  readonly from: number
  readonly read: Promise<Read>
  /** seq of the last record, which is the last that was asked for until they are read. */
  last: number
  bytes: number
}

/** However small the pages are, there are no more of them. */
const MOST_PAGES = 256

/**
 * Reads pages of runs, and keeps the last of them for others who come the same way a moment later: who
 * joins a long run late is seldom alone. A record never changes, so a page that is kept stays right.
 */
export class Pages {
  readonly #deps: PageDeps
  readonly #bytes: number
  /** In the order in which they were last used. */
  #pages: Page[] = []

  /** @param bytes how much is kept, of all runs together */
  constructor(deps: PageDeps, bytes: number) {
    this.#deps = deps
    this.#bytes = bytes
  }

  /** Records of a run right behind `cursor`, up to `limit` or more; empty where there are none. */
  async behind(runId: string, cursor: number, limit: number, form: Form = 'record'): Promise<Read> {
    const from = cursor + 1
    // Who finds none must have begun to read before anybody else looks.
    const page = this.#find(runId, from, form)
    if (page === undefined) return this.#read(runId, from, limit, form)
    const kept = (await page.read).map((entries) => entries.slice(from - page.from))
    return kept.isOk() && kept.value.length > 0 ? kept : this.#read(runId, from, limit, form)
  }

  /** Begins to read what is behind `cursor`, for one who will ask for it when it has sent the rest. */
  readAhead(runId: string, cursor: number, limit: number, form: Form): void {
    if (this.#find(runId, cursor + 1, form) !== undefined) return
    void this.#read(runId, cursor + 1, limit, form)
  }

  /** To be called when nobody watches the run in this form any more. */
  forget(runId: string, form: Form = 'record'): void {
    this.#pages = this.#pages.filter((page) => page.runId !== runId || page.form !== form)
  }

  /** A page that is kept, or is being read for somebody else. */
  #find(runId: string, from: number, form: Form): Page | undefined {
    const index = this.#pages.findLastIndex(
      (page) =>
        page.runId === runId && page.form === form && page.from <= from && from <= page.last,
    )
    const [page] = index < 0 ? [] : this.#pages.splice(index, 1)
    if (page !== undefined) this.#pages.push(page)
    return page
  }

  #read(runId: string, from: number, limit: number, form: Form): Promise<Read> {
    const options = { from, direction: 'forward', limit } as const
    const read = Promise.resolve(readPage(runId, options, this.#deps, form))
    const page = { runId, form, from, read, last: from + limit - 1, bytes: 0 }
    this.#pages.push(page)
    return read.then((result) => {
      this.#settle(page, result.unwrapOr([]))
      return result
    })
  }

  #settle(page: Page, entries: readonly Entry[]): void {
    page.last = page.from + entries.length - 1
    page.bytes = entries.reduce((sum, entry) => sum + sizeOf(entry), 0)
    if (entries.length === 0) this.#pages = this.#pages.filter((other) => other !== page)
    let bytes = this.#pages.reduce((sum, { bytes }) => sum + bytes, 0)
    while (bytes > this.#bytes || this.#pages.length > MOST_PAGES) {
      bytes -= this.#pages.shift()?.bytes ?? 0
    }
  }
}
