import type { DatabaseSync } from 'node:sqlite'
import { CellReader, NO_STREAM } from './messages.ts'

/** A stream and its last revision. */
type Head = { readonly id: number; readonly last: number }

/** How many streams are remembered. Others are looked up. */
const REMEMBERED = 10_000

/** The last revisions of the streams, remembered: only the writer changes them. */
export class StreamHeads {
  readonly #heads = new Map<string, Head>()
  readonly #find
  readonly #insert

  constructor(db: DatabaseSync) {
    this.#find = db.prepare(`
      SELECT id, (SELECT max(revision) FROM events WHERE stream_id = streams.id)
      FROM streams WHERE name = ?`)
    this.#find.setReturnArrays(true)
    this.#insert = db.prepare('INSERT INTO streams (name) VALUES (?)')
  }

  /** Null for a stream that does not exist. */
  get(stream: string): Head | null {
    const known = this.#heads.get(stream)
    if (known !== undefined) return known
    const row: unknown = this.#find.get(stream)
    if (!Array.isArray(row)) return null
    const cells = new CellReader(row)
    const head = { id: cells.number(), last: cells.number() }
    this.set(stream, head)
    return head
  }

  set(stream: string, head: Head): void {
    if (this.#heads.size >= REMEMBERED) this.forget()
    this.#heads.set(stream, head)
  }

  create(stream: string): Head {
    return { id: Number(this.#insert.run(stream).lastInsertRowid), last: NO_STREAM }
  }

  /** After a rollback, nothing that is remembered is certain. */
  forget(): void {
    this.#heads.clear()
  }
}
