import type { Result } from 'neverthrow'
import type { Form } from '../../api/event-query.ts'
import type { ReadError } from '../../store/event-store.ts'
import { type RunFrame, sizeOf } from './frame.ts'
import { type PageDeps, readFrames } from './run-pages.ts'

type Read = Result<readonly RunFrame[], ReadError>

/** Some records of a run, beginning at `from`; their number and size are known once they are read. */
type Page = {
  readonly runId: string
  readonly form: Form
  readonly from: number
  readonly read: Promise<Read>
  /** seq of the last record; until they are read, of the last that was requested. */
  last: number
  bytes: number
}

/** However small the pages are, the cache keeps no more than these. */
const MAX_PAGES = 256

/**
 * Reads pages of runs, and keeps the latest for other observers: a client that joins a long run late is
 * seldom alone. A record never changes, so a page that is kept stays right.
 */
export class PageCache {
  readonly #deps: PageDeps
  readonly #maxBytes: number
  /** The least recently used first. */
  #pages: Page[] = []

  /** @param maxBytes how much is kept, of all runs together */
  constructor(deps: PageDeps, maxBytes: number) {
    this.#deps = deps
    this.#maxBytes = maxBytes
  }

  /** Records of a run right after `cursor`, up to `limit` or more; empty if there are none. */
  async after(runId: string, cursor: number, limit: number, form: Form = 'record'): Promise<Read> {
    const from = cursor + 1
    // A caller that finds no page must have begun to read before the next caller looks.
    const page = this.#find(runId, from, form)
    if (page === undefined) return this.#read(runId, from, limit, form)
    const kept = (await page.read).map((frames) => frames.slice(from - page.from))
    return kept.isOk() && kept.value.length > 0 ? kept : this.#read(runId, from, limit, form)
  }

  /** Begins to read what comes after `cursor`, for a caller that will ask for it soon. */
  readAhead(runId: string, cursor: number, limit: number, form: Form): void {
    if (this.#find(runId, cursor + 1, form) !== undefined) return
    void this.#read(runId, cursor + 1, limit, form)
  }

  /** Drops the pages of a run in one form. */
  forget(runId: string, form: Form = 'record'): void {
    this.#pages = this.#pages.filter((page) => page.runId !== runId || page.form !== form)
  }

  /** A page that is kept, or is being read for another caller. */
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
    const read = Promise.resolve(readFrames(runId, options, this.#deps, form))
    const page = { runId, form, from, read, last: from + limit - 1, bytes: 0 }
    this.#pages.push(page)
    return read.then((result) => {
      this.#settle(page, result.unwrapOr([]))
      return result
    })
  }

  #settle(page: Page, frames: readonly RunFrame[]): void {
    page.last = page.from + frames.length - 1
    page.bytes = frames.reduce((sum, frame) => sum + sizeOf(frame), 0)
    if (frames.length === 0) this.#pages = this.#pages.filter((other) => other !== page)
    let bytes = this.#pages.reduce((sum, { bytes }) => sum + bytes, 0)
    while (bytes > this.#maxBytes || this.#pages.length > MAX_PAGES) {
      bytes -= this.#pages.shift()?.bytes ?? 0
    }
  }
}
