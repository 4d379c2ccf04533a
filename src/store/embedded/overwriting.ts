import type { DatabaseSync } from 'node:sqlite'
import type { Overwrite, OverwriteError, RecordedEvent, StoreFailure } from '../event-store.ts'

/** How long to wait for readers of the file before its write-ahead log is emptied. */
const PATIENCE_MS = 250

/** Overwrites and removes events so that nothing of what was there is left in the file or in its log. */
export class Overwriter {
  readonly #db: DatabaseSync
  readonly #statements

  constructor(db: DatabaseSync) {
    this.#db = db
    this.#statements = {
      find: db.prepare(`
        SELECT e.position, e.id, e.data, e.metadata FROM events e
        WHERE e.stream_id = (SELECT id FROM streams WHERE name = ?) AND e.revision = ?`),
      newest: db.prepare(NEWEST),
      blank: db.prepare('UPDATE events SET data = ?, metadata = ? WHERE position = ?'),
      blankNewest: db.prepare('UPDATE rewritten SET data = ?, metadata = ? WHERE id = ?'),
      add: db.prepare('INSERT INTO rewritten (position, data, metadata) VALUES (?, ?, ?)'),
      removals: ['rewritten', 'events'].flatMap((table) => [
        db.prepare(`UPDATE ${table} SET ${BLANKED} WHERE ${OF_STREAM}`),
        db.prepare(`DELETE FROM ${table} WHERE ${OF_STREAM}`),
      ]),
    }
  }

  /** Null if it is done. @throws what SQLite throws */
  overwrite(events: readonly Overwrite[]): OverwriteError | null {
    this.#db.exec('BEGIN IMMEDIATE')
    for (const event of events) {
      if (this.#one(event)) continue
      this.#db.exec('ROLLBACK')
      const { stream, revision } = event
      return { type: 'other_event', stream, revision }
    }
    this.#db.exec('COMMIT')
    return this.#emptyLog()
  }

  /** Null if it is done. The stream keeps its row: a stream without events takes no appends. @throws what SQLite throws */
  remove(streamId: number): StoreFailure | null {
    this.#db.exec('BEGIN IMMEDIATE')
    for (const statement of this.#statements.removals) statement.run(streamId)
    this.#db.exec('COMMIT')
    return this.#emptyLog()
  }

  /** @returns whether it is the event that is meant */
  #one({ stream, revision, id, data, metadata }: Overwrite): boolean {
    const { find, newest, blank, blankNewest, add } = this.#statements
    const row = find.get(stream, revision)
    if (row === undefined || row.id !== id) return false
    // The tables are STRICT, so the types of the columns are known.
    const position = Number(row.position)
    const before = isBlank(String(row.data)) ? newest.get(position) : undefined
    const present = before ?? row
    if (present.data === data && present.metadata === metadata) return true
    const [noData, noMetadata] = [padding(String(present.data)), padding(String(present.metadata))]
    if (before === undefined) blank.run(noData, noMetadata, position)
    else blankNewest.run(noData, noMetadata, Number(before.id))
    add.run(position, data, metadata)
    return true
  }

  /** Removes the old pages from the write-ahead log. Appends wait meanwhile, so readers get little time to finish. */
  #emptyLog(): StoreFailure | null {
    const timeout = Number(this.#db.prepare('PRAGMA busy_timeout').get()?.timeout)
    this.#db.exec(`PRAGMA busy_timeout = ${PATIENCE_MS}`)
    const emptied = this.#db.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()
    this.#db.exec(`PRAGMA busy_timeout = ${timeout}`)
    if (emptied?.busy === 0) return null
    const message =
      'another program reads the event store, so its write-ahead log cannot be emptied now'
    return { type: 'store_unavailable', message }
  }
}

/**
 * The row of an overwritten event holds blanks; its present texts are in the newest row of `rewritten` with its
 * position. Rows never become shorter or longer: SQLite would move other rows within the file, and leave copies.
 */
const isBlank = (data: string): boolean => data !== '' && data.trim() === ''

/** As many bytes as the text has. */
const padding = (text: string): string => ' '.repeat(Buffer.byteLength(text))

const OF_STREAM = 'position IN (SELECT position FROM events WHERE stream_id = ?)'
const blanked = (column: string): string =>
  `${column} = replace(hex(zeroblob(length(CAST(${column} AS BLOB)))), '00', ' ')`
/** A row is blanked before it is removed, too: otherwise SQLite may leave a copy in the unused part of a page. */
const BLANKED = ['data', 'metadata'].map(blanked).join(', ')

const NEWEST = `
  SELECT id, data, metadata FROM rewritten WHERE position = ? ORDER BY id DESC LIMIT 1`

/** Makes a function that replaces the blanks in an event that was read by its present texts. */
export function replacements(db: DatabaseSync): (event: RecordedEvent) => RecordedEvent {
  const newest = db.prepare(NEWEST)
  return (event) => {
    const found = isBlank(event.data) ? newest.get(Number(event.position)) : undefined
    if (found === undefined) return event
    return { ...event, data: String(found.data), metadata: String(found.metadata) }
  }
}
