import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { err, ok, type Result } from 'neverthrow'
import { openForReading } from '../../lib/sqlite-file.ts'
import { answerQuestions } from '../../lib/thread.ts'
import type { RecordedEvent, StoreFailure } from '../event-store.ts'
import type { LogPage, LogRequest, ReaderOperations, StreamRequest } from './messages.ts'
import { replacements } from './overwriting.ts'
import { storeFailed } from './schema.ts'

/** The thread that reads, so that a long read never delays an append. */

let file = ''
let db: DatabaseSync | undefined
let reader: LogReader | undefined

function attempt<T>(read: () => T): Result<T, StoreFailure> {
  try {
    return ok(read())
  } catch (cause) {
    return err(storeFailed(file, cause))
  }
}

const opened = (): LogReader => {
  if (reader === undefined) throw new Error('the file is not open')
  return reader
}

const operations: ReaderOperations = {
  open: (named) => {
    file = named
    return attempt(() => {
      db = openForReading(file)
      reader = new LogReader(db)
      return null
    })
  },
  stream: (request) => attempt(() => opened().stream(request)),
  log: (request) => attempt(() => opened().log(request)),
  ping: () => attempt(() => opened().ping()),
}

answerQuestions(operations, () => db?.close())

/** A page of a subscription ends after about so many characters, so that no thread is busy for long. */
const SHORT_PAGE_CHARS = 256_000
/** It ends with this many events at the latest. */
const SHORT_PAGE = 1000
/** How many positions of the whole log one page covers at most. */
const WINDOW = 5000

const COLUMNS = `CAST(e.position AS TEXT) AS position, s.name AS stream, e.revision, e.id, e.type, e.data,
  e.metadata, e.created`
const OF_STREAM = `
  SELECT ${COLUMNS} FROM streams s CROSS JOIN events e ON e.stream_id = s.id WHERE s.id = ?`

/** Reads pages of the log. */
class LogReader {
  readonly #statements
  readonly #presentOf: ReturnType<typeof replacements>

  constructor(db: DatabaseSync) {
    // As arrays, which costs half of what objects do.
    const pageOf = (sql: string): StatementSync => {
      const statement = db.prepare(sql)
      statement.setReturnArrays(true)
      return statement
    }
    this.#presentOf = replacements(db)
    this.#statements = {
      find: db.prepare(`
        SELECT id FROM streams s WHERE name = ?
        AND EXISTS (SELECT 1 FROM events WHERE stream_id = s.id)`),
      last: db.prepare('SELECT coalesce(max(position), 0) AS last FROM events'),
      forward: pageOf(`${OF_STREAM} AND e.revision >= ? ORDER BY e.revision LIMIT ?`),
      backward: pageOf(`${OF_STREAM} AND e.revision <= ? ORDER BY e.revision DESC LIMIT ?`),
      // CROSS JOIN makes the planner begin with the events, from a position on, in their order.
      log: pageOf(`
        SELECT ${COLUMNS} FROM events e CROSS JOIN streams s ON s.id = e.stream_id
        WHERE e.position > ? AND e.position <= ? AND substr(s.name, 1, length(?)) = ?
        ORDER BY e.position LIMIT ?`),
    }
  }

  /** Null if the stream does not exist. */
  stream({ stream, from, backward, limit }: StreamRequest): LogPage | null {
    const found = this.#statements.find.get(stream)?.id
    if (typeof found !== 'number') return null
    const statement = backward ? this.#statements.backward : this.#statements.forward
    const rows = statement.iterate(found, from, limit ?? SHORT_PAGE)
    const { events, isFull } = this.#take(rows, limit === null)
    const end = !isFull && events.length < (limit ?? SHORT_PAGE)
    return { events, end, cursor: events.at(-1)?.revision ?? from - 1 }
  }

  log({ after, prefix }: LogRequest): LogPage {
    const last = Number(this.#statements.last.get()?.last)
    const to = after + WINDOW
    const rows = this.#statements.log.iterate(after, to, prefix, prefix, SHORT_PAGE)
    const { events, isFull } = this.#take(rows, true)
    const isCut = isFull || events.length === SHORT_PAGE
    const reached = Number(events.at(-1)?.position ?? 0)
    // The rows may be newer than `last` and reach beyond it.
    const cursor = isCut ? reached : Math.max(reached, Math.min(to, last), after)
    return { events, end: !isCut && to >= last, cursor }
  }

  /** Throws if the file does not answer. */
  ping(): void {
    this.#statements.last.get()
  }

  /** @param isShort ends the page after some characters */
  #take(rows: Iterable<unknown>, isShort: boolean): { events: RecordedEvent[]; isFull: boolean } {
    const events: RecordedEvent[] = []
    let chars = 0
    for (const row of rows) {
      const event = this.#presentOf(eventOf(row))
      const isAltered = !isAsWritten(event.data) || !isAsWritten(event.metadata)
      events.push(isAltered ? { ...event, altered: true } : event)
      chars += event.data.length + event.metadata.length
      if (isShort && chars >= SHORT_PAGE_CHARS) return { events, isFull: true }
    }
    return { events, isFull: false }
  }
}

/** The tables are STRICT, so the types of the columns are known. */
type Row = readonly [string, string, number, string, string, string, string, number]

function eventOf(row: unknown): RecordedEvent {
  const [position, stream, revision, id, type, data, metadata, created] = row as Row
  return { position, stream, revision, id, type, data, metadata, created }
}

/** Whether a text is what `JSON.stringify` writes, as all that we append is. */
function isAsWritten(text: string): boolean {
  try {
    return JSON.stringify(JSON.parse(text)) === text
  } catch {
    return false
  }
}
