import type { Overwrite, OverwriteError, RecordedEvent, StoreFailure } from '../event-store.ts'

/** Between threads go flat arrays of these: they are copied many times faster than objects. */
export type Cell = string | number

/** How an expected revision is sent, where it is not the number itself. */
export const NO_STREAM = -1
export const ANY = -2
export const STREAM_EXISTS = -3

/** Appends, one after the other: stream, expected revision, count, then four cells an event. */
export type WriteRequest =
  | { readonly type: 'append'; readonly cells: readonly Cell[] }
  /** Events to put in the place of others, all or none: five cells each, of which the last is metadata. */
  | { readonly type: 'overwrite'; readonly cells: readonly Cell[] }
  /** Asks whether the file takes a write now. */
  | { readonly type: 'probe' }
  | { readonly type: 'close' }

/** The outcomes of appends. */
export const STORED = 0
export const REPEATED = 1
export const WRONG_REVISION = 2
export const FAILED = 3
export const UNKNOWN = 4

export type WriteReply =
  | { readonly type: 'opened' }
  | { readonly type: 'refused'; readonly failure: StoreFailure }
  | {
      readonly type: 'settled'
      /** When the group was committed, milliseconds since the epoch. */
      readonly created: number
      /**
       * Three numbers an append, in the order of the requests: the outcome, the last revision (the
       * actual one of the stream after WRONG_REVISION, NO_STREAM for none), the last position.
       */
      readonly outcomes: readonly number[]
      /** Why appends are FAILED or UNKNOWN. */
      readonly failure: StoreFailure | null
    }
  | { readonly type: 'probed'; readonly failure: StoreFailure | null }
  | { readonly type: 'overwritten'; readonly failure: OverwriteError | null }

export type ReadRequest =
  | {
      readonly op: 'stream'
      readonly id: number
      readonly stream: string
      readonly from: number
      readonly backward: boolean
      readonly limit: number
      /** Ends the page early, so that it stays small in bytes. */
      readonly short: boolean
    }
  | { readonly op: 'all'; readonly id: number; readonly after: number; readonly prefix: string }
  | { readonly op: 'ping'; readonly id: number }
  | { readonly op: 'close' }

/** Rows that were read, and the positions of those among them whose text was altered. */
export type Rows = {
  readonly id: number
  readonly cells: readonly Cell[]
  readonly altered: readonly number[]
}

export type ReadReply =
  | { readonly type: 'opened' }
  | { readonly type: 'refused'; readonly failure: StoreFailure }
  | { readonly type: 'failed'; readonly id: number; readonly failure: StoreFailure }
  /** Some rows of an answer; more messages follow. */
  | (Rows & { readonly type: 'rows' })
  | (Rows & {
      readonly type: 'done'
      readonly found: boolean
      /** Nothing was stored after these rows. */
      readonly end: boolean
      /** Everything up to here has been looked at: a position ('all' only). */
      readonly cursor: number
    })

/** The cells of events that are to stand in the place of others. */
export function toCells(events: readonly Overwrite[]): Cell[] {
  return events.flatMap(({ stream, revision, id, data, metadata }) => {
    return [stream, revision, id, data, metadata]
  })
}

export function toOverwrites(cells: readonly Cell[]): Overwrite[] {
  const reader = new CellReader(cells)
  const events: Overwrite[] = []
  while (!reader.done) {
    events.push({
      stream: reader.text(),
      revision: reader.number(),
      id: reader.text(),
      data: reader.text(),
      metadata: reader.text(),
    })
  }
  return events
}

/** Takes cells one after the other; the wrong type is a broken invariant (the tables are STRICT). */
export class CellReader {
  readonly #cells: readonly unknown[]
  #next = 0

  constructor(cells: readonly unknown[]) {
    this.#cells = cells
  }

  get done(): boolean {
    return this.#next >= this.#cells.length
  }

  text(): string {
    const cell = this.#cells[this.#next++]
    if (typeof cell !== 'string') throw new TypeError(`text expected, not ${typeof cell}`)
    return cell
  }

  number(): number {
    const cell = this.#cells[this.#next++]
    if (typeof cell !== 'number') throw new TypeError(`number expected, not ${typeof cell}`)
    return cell
  }
}

/** Rows as the reader sends them; where the stream is not known beforehand, its name is in each row. */
export function toEvents({ cells, altered }: Rows, stream: string | null): RecordedEvent[] {
  const reader = new CellReader(cells)
  const events: RecordedEvent[] = []
  while (!reader.done) {
    const position = reader.number()
    const event: RecordedEvent = {
      position: String(position),
      revision: reader.number(),
      id: reader.text(),
      type: reader.text(),
      data: reader.text(),
      metadata: reader.text(),
      created: reader.number(),
      stream: stream ?? reader.text(),
    }
    events.push(altered.includes(position) ? { ...event, altered: true } : event)
  }
  return events
}
