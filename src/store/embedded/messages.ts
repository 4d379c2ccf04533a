import { err, ok, type Result } from 'neverthrow'
import type {
  AppendError,
  Appended,
  ExpectedRevision,
  Overwrite,
  OverwriteError,
  RecordedEvent,
  StoreFailure,
} from '../event-store.ts'

/** Threads exchange flat arrays of these, which are copied many times as fast as objects. */
export type Cell = string | number

/** How an expected revision is sent if it is not a number. */
export const NO_STREAM = -1
export const ANY = -2
export const STREAM_EXISTS = -3

/** Appends, one after the other: stream, expected revision, count, then four cells for each event. */
export type WriteRequest =
  | { readonly type: 'append'; readonly cells: readonly Cell[] }
  /** Events that replace others, all or none: five cells each, as `toCells` makes them. */
  | { readonly type: 'overwrite'; readonly cells: readonly Cell[] }
  /** Asks whether the file takes a write now. */
  | { readonly type: 'probe' }
  | { readonly type: 'close' }

/** The first message of a thread: it has opened the file, or why it has not. */
export type Opening =
  | { readonly type: 'opened' }
  | { readonly type: 'refused'; readonly failure: StoreFailure }

/** The outcomes of appends. */
export const STORED = 0
export const REPEATED = 1
export const WRONG_REVISION = 2
export const FAILED = 3
export const UNKNOWN = 4

export type WriteReply =
  | {
      readonly type: 'settled'
      /** When the group was committed, milliseconds since the epoch. */
      readonly created: number
      /**
       * Three numbers for each append, in the order of the requests: the outcome, the last revision (after
       * WRONG_REVISION that of the stream, NO_STREAM if it does not exist), the last position.
       */
      readonly outcomes: readonly number[]
      /** Why appends are FAILED or UNKNOWN. */
      readonly failure: StoreFailure | null
    }
  | { readonly type: 'probed'; readonly failure: StoreFailure | null }
  | { readonly type: 'overwritten'; readonly failure: OverwriteError | null }

/** The result of an append, by its outcome. */
export function resultOf(
  expected: ExpectedRevision,
  outcome: number,
  revision: number,
  failure: StoreFailure | null,
): Result<Appended, AppendError> {
  const message = failure?.message ?? 'the append failed'
  switch (outcome) {
    case STORED:
    case REPEATED:
      return ok({ revision })
    case WRONG_REVISION: {
      const actual = revision === NO_STREAM ? 'no_stream' : revision
      return err({ type: 'wrong_expected_revision', expected, actual })
    }
    case UNKNOWN:
      return err({ type: 'outcome_unknown', message })
    default:
      return err({ type: 'store_failed', message })
  }
}

/** An expected revision as it is sent. */
export function expectedCell(expected: ExpectedRevision): number {
  switch (expected) {
    case 'no_stream':
      return NO_STREAM
    case 'any':
      return ANY
    case 'stream_exists':
      return STREAM_EXISTS
    default:
      return expected
  }
}

export type ReadRequest =
  /** The first one: opens the file, which the writing thread has made by then. */
  | { readonly op: 'open' }
  | {
      readonly op: 'stream'
      readonly id: number
      readonly stream: string
      readonly from: number
      readonly backward: boolean
      /** Null: a page of a subscription, which stays small in bytes. */
      readonly limit: number | null
    }
  | { readonly op: 'all'; readonly id: number; readonly after: number; readonly prefix: string }
  | { readonly op: 'ping'; readonly id: number }
  | { readonly op: 'close' }

/** Rows that were read, and the positions of the rows whose text was altered. */
export type Rows = {
  readonly id: number
  readonly cells: readonly Cell[]
  readonly altered: readonly number[]
}

export type ReadReply =
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

/** The cells of events that replace others. */
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

/** Takes cells one after the other. A wrong type is a broken invariant: the tables are STRICT. */
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

/** @param stream the stream of all rows; null if each row names its own */
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
