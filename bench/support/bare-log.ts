import { DatabaseSync } from 'node:sqlite'
import { prepareSchema } from '../../src/store/embedded/schema.ts'
import type { NewEvent } from '../../src/store/event-store.ts'

/** Bare node:sqlite with the schema and the pragmas of the store, in this thread. */
export class BareLog {
  readonly #db: DatabaseSync
  readonly #insert
  readonly #select
  #position = 0

  constructor(file: string) {
    this.#db = new DatabaseSync(file)
    prepareSchema(this.#db, file)
    this.#insert = this.#db.prepare('INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)')
    this.#select = this.#db.prepare(`
      SELECT position, revision, id, type, data, metadata, created
      FROM events WHERE stream_id = ? ORDER BY revision`)
  }

  /** Makes streams with the ids 1 to `count`. */
  addStreams(count: number): void {
    const insert = this.#db.prepare('INSERT INTO streams (id, name) VALUES (?, ?)')
    for (let id = 1; id <= count; id += 1) insert.run(id, `run-${id}`)
  }

  /** Makes streams with names of their own, in one transaction. */
  addNamedStreams(streams: readonly { readonly id: number; readonly name: string }[]): void {
    const insert = this.#db.prepare('INSERT INTO streams (id, name) VALUES (?, ?)')
    this.#db.exec('BEGIN IMMEDIATE')
    for (const { id, name } of streams) insert.run(id, name)
    this.#db.exec('COMMIT')
  }

  /** One transaction. */
  append(rows: readonly { stream: number; revision: number; event: NewEvent }[]): void {
    const created = Date.now()
    this.#db.exec('BEGIN IMMEDIATE')
    for (const { stream, revision, event } of rows) {
      this.#position += 1
      const { id, type, data, metadata } = event
      this.#insert.run(this.#position, stream, revision, id, type, data, metadata, created)
    }
    this.#db.exec('COMMIT')
  }

  /** All rows of a stream, with the columns of an event. */
  read(stream: number): unknown[] {
    return this.#select.all(stream)
  }

  close(): void {
    this.#db.close()
  }
}
