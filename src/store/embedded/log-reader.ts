import type { DatabaseSync } from 'node:sqlite'
import { crc32 } from 'node:zlib'
import { isExactJson } from '../../lib/exact-json.ts'
import { plainMetadata } from '../../lib/plain-metadata.ts'
import type { Cell, ReadReply, ReadRequest, Rows } from './messages.ts'
import { DATA, METADATA, POSITION, Replacements } from './overwriting.ts'

/** Rows are sent in parts of about this many characters, so that no thread is busy for long. */
const PART_SIZE = 256_000
/** A page of a subscription ends with this many rows at the latest. */
const SHORT_PAGE = 1000
/** How many positions of the whole log one page covers at most. */
const WINDOW = 5000

/** What is read of each event. */
export const COLUMNS = 'e.position, e.revision, e.id, e.type, e.data, e.metadata, e.created'
const OF_STREAM = `SELECT ${COLUMNS} FROM events e WHERE e.stream_id = ?`

/** An answer without rows. */
const NO_ROWS = { cells: [], altered: [] }

type Emit = (reply: ReadReply) => void
type StreamRequest = Extract<ReadRequest, { op: 'stream' }>
type AllRequest = Extract<ReadRequest, { op: 'all' }>

/** Reads pages of the log. */
export class LogReader {
  readonly #statements
  readonly #replacements: Replacements
  readonly #compared = new Compared()

  constructor(db: DatabaseSync) {
    const arrays = (sql: string) => {
      const statement = db.prepare(sql)
      statement.setReturnArrays(true)
      return statement
    }
    this.#replacements = new Replacements(db)
    this.#statements = {
      find: db.prepare('SELECT id FROM streams WHERE name = ?'),
      last: db.prepare('SELECT coalesce(max(position), 0) AS last FROM events'),
      forward: arrays(`${OF_STREAM} AND e.revision >= ? ORDER BY e.revision LIMIT ?`),
      backward: arrays(`${OF_STREAM} AND e.revision <= ? ORDER BY e.revision DESC LIMIT ?`),
      // CROSS JOIN makes the planner begin with the events, from a position on, in their order.
      all: arrays(`
        SELECT ${COLUMNS}, s.name FROM events e CROSS JOIN streams s ON s.id = e.stream_id
        WHERE e.position > ? AND e.position <= ? AND substr(s.name, 1, length(?)) = ?
        ORDER BY e.position LIMIT ?`),
    }
  }

  stream(request: StreamRequest, emit: Emit): void {
    const { id, stream, from, backward } = request
    const found = this.#statements.find.get(stream)?.id
    if (typeof found !== 'number') {
      emit({ type: 'done', id, ...NO_ROWS, found: false, end: true, cursor: 0 })
      return
    }
    const limit = request.limit ?? SHORT_PAGE
    const statement = backward ? this.#statements.backward : this.#statements.forward
    const parts = request.limit === null ? null : { id, emit }
    const page = new Page(this.#replacements, this.#compared, parts)
    page.take(statement.iterate(found, from, limit))
    const end = !page.full && page.rows < limit
    emit({ type: 'done', id, ...page.taken(), found: true, end, cursor: 0 })
  }

  all({ id, after, prefix }: AllRequest, emit: Emit): void {
    const last = Number(this.#statements.last.get()?.last)
    const to = after + WINDOW
    const page = new Page(this.#replacements, this.#compared, null)
    page.take(this.#statements.all.iterate(after, to, prefix, prefix, SHORT_PAGE))
    const cut = page.full || page.rows === SHORT_PAGE
    // The rows may be newer than `last` and reach beyond it.
    const cursor = cut ? page.position : Math.max(page.position, Math.min(to, last), after)
    emit({
      type: 'done',
      id,
      ...page.taken(),
      found: true,
      end: !cut && to >= last,
      cursor,
    })
  }

  /** Fails when the file does not answer. */
  ping(id: number, emit: Emit): void {
    this.#statements.last.get()
    emit({ type: 'done', id, ...NO_ROWS, found: true, end: true, cursor: 0 })
  }
}

/** Collects rows. With `parts` it sends them in parts; without, it ends when it is full. */
class Page {
  readonly #replacements: Replacements
  readonly #compared: Compared
  readonly #parts: { readonly id: number; readonly emit: Emit } | null
  #cells: Cell[] = []
  #altered: number[] = []
  rows = 0
  position = 0
  full = false
  #size = 0

  constructor(
    replacements: Replacements,
    compared: Compared,
    parts: { readonly id: number; readonly emit: Emit } | null,
  ) {
    this.#replacements = replacements
    this.#compared = compared
    this.#parts = parts
  }

  take(rows: Iterable<unknown>): void {
    for (const row of rows) {
      if (!Array.isArray(row)) throw new TypeError('rows are arrays')
      this.#add(this.#replacements.rowOf(row))
      if (this.#size < PART_SIZE) continue
      if (this.#parts === null) {
        this.full = true
        return
      }
      const { id, emit } = this.#parts
      emit({ type: 'rows', id, ...this.taken() })
      this.#cells = []
      this.#altered = []
      this.#size = 0
    }
  }

  /** The rows since the last part. */
  taken(): Pick<Rows, 'cells' | 'altered'> {
    return { cells: this.#cells, altered: this.#altered }
  }

  #add(row: readonly unknown[]): void {
    this.rows += 1
    for (const cell of row) {
      if (typeof cell === 'string') this.#size += cell.length
      else if (typeof cell !== 'number') throw new TypeError('cells are text or numbers')
      this.#cells.push(cell)
    }
    this.position = Number(row[POSITION])
    if (!this.#compared.isAsWritten(row)) this.#altered.push(this.position)
  }
}

/** How many rows are remembered, in four bytes each. Rows with higher positions are checked each time. */
const REMEMBERED = 4_000_000

/**
 * Checks that both texts of a row are what `JSON.stringify` writes: all that we append is. That costs as much as
 * reading the row, so each row is checked once, and again only if the CRC-32 of its texts has changed.
 */
class Compared {
  /** CRC-32 by position; 0 for rows that have not been compared. */
  #sums = new Uint32Array(1024)

  isAsWritten(row: readonly unknown[]): boolean {
    const position = Number(row[POSITION])
    const [data, metadata] = [String(row[DATA]), String(row[METADATA])]
    const sum = crc32(metadata, crc32(data)) || 1
    if (this.#sums[position] === sum) return true
    const exact = isExact(data) && (plainMetadata(metadata) !== null || isExact(metadata))
    if (exact && position < REMEMBERED) this.#remember(position, sum)
    return exact
  }

  #remember(position: number, sum: number): void {
    if (position >= this.#sums.length) {
      const larger = new Uint32Array(Math.min(REMEMBERED, 2 * position))
      larger.set(this.#sums)
      this.#sums = larger
    }
    this.#sums[position] = sum
  }
}

function isExact(json: string): boolean {
  try {
    return isExactJson(json, JSON.parse(json))
  } catch {
    return false
  }
}
