import { err, ok, type Result, type ResultAsync } from 'neverthrow'
import type { Form, Selection } from '../../api/event-query.ts'
import type { Problem } from '../../api/problems.ts'
import { streamOf } from '../../log/run-log.ts'
import { streamPages } from '../../log/stream-pages.ts'
import type { ReadModel } from '../../projections/read-model.ts'
import type { EventStore, ReadError, ReadOptions, RecordedEvent } from '../../store/event-store.ts'
import { commandProblem } from '../problems/problem-of.ts'
import { framesOf, isEnd, type RunFrame, sizeOf } from './frame.ts'
import { type Damage, damageMessage, type RecordJson, recordJsonOf } from './record-json.ts'

export type PageDeps = {
  readonly store: EventStore
  readonly readModel: Pick<ReadModel, 'get' | 'caughtUp'>
}

/** The seq up to which the projector has read a run; -1 for none. */
export const projectedSeq = (runId: string, { readModel }: Pick<PageDeps, 'readModel'>): number =>
  readModel.get(runId)?.state.seq ?? -1

/** One page of a run as frames. */
function readFrames(
  runId: string,
  options: ReadOptions,
  deps: PageDeps,
  form: Form = 'record',
): ResultAsync<RunFrame[], ReadError> {
  return deps.store
    .readStream(streamOf(runId), options)
    .map((events) => framesOf(events, projectedSeq(runId, deps), form))
}

const MIN_RECORDS = 8
const MAX_RECORDS = 1024

/** How many records to read at once so that a page has about the wanted size. Learns from each page. */
export class PageSize {
  readonly #bytes: number
  #records: number

  /** @param first how many records to read before their size is known */
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
    this.#records = Math.max(MIN_RECORDS, Math.min(fitting, this.#records * 4, MAX_RECORDS))
  }
}

/** What one client wants of a run. */
export type RunSelection = {
  readonly runId: string
  /** Exclusive; null for the beginning of the run or, backward, for its end. */
  readonly after: number | null
  readonly direction: 'forward' | 'backward'
  readonly limit: number
  readonly selection: Selection
  readonly form: Form
}

/** The pages of a run, until there are no more; reads the next one while the caller works on one. */
export async function* pagesOf(
  { runId, after, direction, form }: Pick<RunSelection, 'runId' | 'after' | 'direction' | 'form'>,
  pageSize: PageSize,
  deps: PageDeps,
): AsyncGenerator<Result<(RecordJson | Damage)[], ReadError>, void, void> {
  const limit = (last: readonly RecordedEvent[] | null): number => {
    if (last !== null) pageSize.learn(last.length, sum(last.map(({ data }) => data.length)))
    return pageSize.records
  }
  const range = { after, direction, limit }
  for await (const page of streamPages(deps.store, streamOf(runId), range)) {
    yield page.map((events) => {
      const projected = projectedSeq(runId, deps)
      return events.map((event) => recordJsonOf(event, event.revision <= projected, form))
    })
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((all, one) => all + one, 0)

/** Whether the run has ended at the seq `after`, or why it cannot be read from there. */
export async function checkStart(
  { runId, after, direction }: Pick<RunSelection, 'runId' | 'after' | 'direction'>,
  deps: PageDeps,
): Promise<Result<{ readonly complete: boolean }, Problem>> {
  const fromStart = direction === 'backward' || after === null || after < 0
  const [from, limit] = fromStart ? [0, 1] : [after, 2]
  const read = await readFrames(runId, { from, direction: 'forward', limit }, deps)
  if (read.isErr()) return err(commandProblem(read.error))
  if (direction === 'backward') return ok({ complete: false })
  const [at, next] = fromStart ? [null, ...read.value] : read.value
  if (at === undefined) {
    const message = `after=${after} is beyond the last record of this run.`
    const errors = [{ field: 'after', message }]
    return err({ code: 'invalid_request', detail: message, errors })
  }
  if (next?.type === 'damage') return err({ code: 'damaged_record', detail: damageMessage(next) })
  return ok({ complete: at !== null && isEnd(at) })
}

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
 * Reads pages of runs, and keeps the latest for other observers: a client that joins a long run late is seldom alone. A
 * record never changes, so a cached page stays correct.
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
    // If a caller finds no page, it must begin to read before the next caller looks.
    const page = this.#find(runId, from, form)
    if (page === undefined) return this.#begin(runId, from, limit, form).read
    const kept = (await page.read).map((frames) => frames.slice(from - page.from))
    return kept.isOk() && kept.value.length > 0 ? kept : this.#begin(runId, from, limit, form).read
  }

  /** Begins to read what comes after `cursor`, for a caller that will ask for it soon. */
  readAhead(runId: string, cursor: number, limit: number, form: Form): void {
    if (this.#find(runId, cursor + 1, form) !== undefined) return
    this.#begin(runId, cursor + 1, limit, form)
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

  /** Begins to read a page. Its error goes to every caller that awaits it; such a page is not kept. */
  #begin(runId: string, from: number, limit: number, form: Form): Page {
    const options = { from, direction: 'forward', limit } as const
    const read = Promise.resolve(readFrames(runId, options, this.#deps, form))
    const page: Page = { runId, form, from, read, last: from + limit - 1, bytes: 0 }
    this.#pages.push(page)
    read.then(
      (result) => this.#settle(page, result.unwrapOr([])),
      () => this.#settle(page, []),
    )
    return page
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
