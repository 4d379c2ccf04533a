import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { Result } from 'neverthrow'
import type { RecordedEvent, StoreFailure } from '../event-store.ts'
import { openExisting } from './existing-log.ts'
import { COLUMNS } from './log-reader.ts'
import { Replacements } from './overwriting.ts'

/** The streams that one of several readers reads. The shares of `index` 0 to `of - 1` hold each stream once. */
export type Share = { readonly index: number; readonly of: number }
const WHOLE: Share = { index: 0, of: 1 }

/**
 * A log that is read in the thread of the caller, in its order. Reads fast, because it does not look whether texts were
 * altered: its events have no `altered`, so a caller must compare their texts (`decodeCompared`).
 */
export class LogScan implements Disposable {
  readonly #db: DatabaseSync
  readonly #replacements: Replacements
  readonly #last: StatementSync
  readonly #window: StatementSync
  readonly #stream: StatementSync

  /** Opens an existing log, for reading only. A server may be writing to it. */
  static open(file: string): Result<LogScan, StoreFailure> {
    return openExisting(file).map((db) => new LogScan(db))
  }

  private constructor(db: DatabaseSync) {
    const arrays = (sql: string): StatementSync => {
      const statement = db.prepare(sql)
      statement.setReturnArrays(true)
      return statement
    }
    this.#db = db
    this.#replacements = new Replacements(db)
    this.#last = db.prepare('SELECT coalesce(max(position), 0) AS last FROM events')
    // CROSS JOIN makes the planner begin with the events, in their order.
    this.#window = arrays(`
      SELECT ${COLUMNS}, s.name FROM events e CROSS JOIN streams s ON s.id = e.stream_id
      WHERE e.position > ? AND e.position <= ? AND e.stream_id % ? = ? ORDER BY e.position`)
    this.#stream = arrays(`
      SELECT ${COLUMNS}, s.name FROM streams s JOIN events e ON e.stream_id = s.id
      WHERE s.name = ? AND e.revision < ? ORDER BY e.revision`)
  }

  /** The position of the last event; 0 for none. */
  last(): number {
    return Number(this.#last.get()?.last)
  }

  /** The events of a share at the `count` positions after `after`. It leaves no transaction open, so a checkpoint is not held up. */
  window(after: number, count: number, { index, of }: Share = WHOLE): RecordedEvent[] {
    return this.#window.all(after, after + count, of, index).map((event) => this.#event(event))
  }

  /** The events of a stream before a revision. */
  *before(stream: string, revision: number): Generator<RecordedEvent> {
    for (const row of this.#stream.iterate(stream, revision)) yield this.#event(row)
  }

  [Symbol.dispose](): void {
    this.#db.close()
  }

  #event(row: unknown): RecordedEvent {
    if (!Array.isArray(row)) throw new TypeError('rows are arrays')
    const [position, revision, id, type, data, metadata, created, stream] =
      this.#replacements.rowOf(row) as Row
    return { position: String(position), revision, id, type, data, metadata, created, stream }
  }
}

/** The tables are STRICT, so the types of the columns are known. */
type Row = readonly [number, number, string, string, string, string, number, string]
