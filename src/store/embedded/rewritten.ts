import type { DatabaseSync, StatementSync } from 'node:sqlite'

/**
 * An event that was overwritten: blanks stand in its row, and what it holds now in the newest row of
 * `rewritten` with its position. Rows are never made shorter or longer: SQLite would move others about
 * within the file, and leave copies of them behind.
 */
export const isBlank = (data: string): boolean => data !== '' && data.trim() === ''

/** As many bytes as the text has. */
export const blanksFor = (text: string): string => ' '.repeat(Buffer.byteLength(text))

export const NEWEST = `
  SELECT id, data, metadata FROM rewritten WHERE position = ? ORDER BY id DESC LIMIT 1`

/** Where these stand in a row as it is read. */
export const [POSITION, DATA, METADATA] = [0, 4, 5]

/** Puts what events hold now in the place of the blanks in their rows. */
export class Rewritten {
  readonly #db: DatabaseSync
  #newest: StatementSync | null = null

  constructor(db: DatabaseSync) {
    this.#db = db
  }

  /** @param row position, revision, id, type, data, metadata, and what else there may be */
  rowOf(row: readonly unknown[]): readonly unknown[] {
    const data = row[DATA]
    if (typeof data !== 'string' || !isBlank(data)) return row
    // A log of an older format has no such table, and no such row.
    this.#newest ??= this.#db.prepare(NEWEST)
    const found = this.#newest.get(Number(row[POSITION]))
    if (found === undefined) return row
    return row.with(DATA, found.data).with(METADATA, found.metadata)
  }
}
