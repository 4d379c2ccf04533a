import { closeSync, existsSync, fstatSync, openSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'
import { err, ok, type Result } from 'neverthrow'
import { answerQuestions } from '../../lib/thread.ts'
import type {
  AppendError,
  NewEvent,
  Overwrite,
  OverwriteError,
  StoreFailure,
} from '../event-store.ts'
import type { Append, WriterOperations, Written } from './messages.ts'
import { Overwriter } from './overwriting.ts'
import { leavesOutcomeUnknown, type OpenedLog, openLog, Refused, storeFailed } from './schema.ts'

/** The thread that writes. It owns the file: no other thread creates, locks or changes it. */

let opened: { readonly log: OpenedLog; readonly writer: LogWriter } | null = null

const writer = (): LogWriter => {
  if (opened === null) throw new Error('the file is not open')
  return opened.writer
}

const operations: WriterOperations = {
  open: (file) =>
    openLog(file).map((log) => {
      opened = { log, writer: new LogWriter(log.db, log.file) }
      return null
    }),
  append: (group) => ok(writer().write(group)),
  overwrite: (events) => writer().overwrite(events),
  remove: ({ stream, last }) => writer().remove(stream, last),
  probe: () => writer().probe(),
}

answerQuestions(operations, () => {
  opened?.log.close()
  opened?.writer.close()
})

/** Where the last event is stored, and when it was. */
type LogEnd = { position: number; readonly created: number }

/** Writes groups of appends, each group in one transaction, each append of it atomic on its own. */
class LogWriter {
  readonly #file: string
  readonly #guard: FileGuard
  readonly #overwriter: Overwriter
  readonly #db: DatabaseSync
  readonly #statements

  constructor(db: DatabaseSync, file: string) {
    this.#db = db
    this.#file = file
    this.#guard = new FileGuard(file)
    this.#overwriter = new Overwriter(db)
    this.#statements = {
      head: db.prepare(`
        SELECT id, (SELECT max(revision) FROM events WHERE stream_id = streams.id) AS last
        FROM streams WHERE name = ?`),
      save: db.prepare('SAVEPOINT one'),
      release: db.prepare('RELEASE one'),
      create: db.prepare('INSERT INTO streams (name) VALUES (?)'),
      insert: db.prepare('INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)'),
      ids: db.prepare(`
        SELECT id FROM events WHERE stream_id = ? AND revision > ? ORDER BY revision LIMIT ?`),
      last: db.prepare('SELECT position, created FROM events ORDER BY position DESC LIMIT 1'),
    }
  }

  /** Stores what can be stored, with one commit; returns what became of each append. */
  write(group: readonly Append[]): readonly Written[] {
    try {
      this.#db.exec('BEGIN IMMEDIATE')
      const last = this.#statements.last.get()
      const end = {
        position: Number(last?.position ?? 0),
        // A clock that is set back does not change the order of times in the log.
        created: Math.max(Number(last?.created ?? 0), Date.now()),
      }
      const written = group.map((append) => this.#tried(append, end))
      this.#guard.check()
      this.#db.exec('COMMIT')
      return written
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      const { message } = storeFailed(this.#file, error)
      const type = leavesOutcomeUnknown(error) ? 'outcome_unknown' : 'store_failed'
      return group.map(() => ({ type, message }))
    }
  }

  /** Call it after the database is closed. */
  close(): void {
    this.#guard.close()
  }

  /** Replaces events by others, all or none. */
  overwrite(events: readonly Overwrite[]): Result<void, OverwriteError> {
    return this.#guarded(() => this.#overwriter.overwrite(events))
  }

  /** Removes the events of a stream that ends with `last`. */
  remove(stream: string, last: number): Result<void, AppendError> {
    return this.#guarded((): AppendError | null => {
      const head = this.#statements.head.get(stream)
      const actual = head === undefined ? 'no_stream' : head.last
      if (actual !== null && Number(actual) !== last) {
        const found = actual === 'no_stream' ? actual : Number(actual)
        return { type: 'wrong_expected_revision', expected: last, actual: found }
      }
      return this.#overwriter.remove(Number(head?.id))
    })
  }

  /** Writes what is there already, to find out whether the file takes it. */
  probe(): Result<void, StoreFailure> {
    return this.#guarded<StoreFailure>(() => {
      const format = this.#db.prepare('PRAGMA user_version').get()?.user_version
      this.#db.exec(`PRAGMA user_version = ${format}`)
      return null
    })
  }

  /** @param act returns what is wrong; null if it is done */
  #guarded<E>(act: () => E | null): Result<void, E | StoreFailure> {
    try {
      this.#guard.check()
      const failure = act()
      return failure === null ? ok() : err(failure)
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      return err(storeFailed(this.#file, error))
    }
  }

  /** An append that cannot be written does not take the others of its group with it. */
  #tried(append: Append, end: LogEnd): Written {
    const { position } = end
    this.#statements.save.run()
    try {
      return this.#append(append, end)
    } catch (error) {
      // After some errors, such as a full disk, SQLite has rolled back all of the group.
      if (!this.#db.isTransaction) throw error
      this.#db.exec('ROLLBACK TO one')
      end.position = position
      return storeFailed(this.#file, error)
    } finally {
      if (this.#db.isTransaction) this.#statements.release.run()
    }
  }

  #append(append: Append, end: LogEnd): Written {
    const { stream, expected, events } = append
    const head = this.#statements.head.get(stream)
    if (head?.last === null) throw new Error(`the events of ${stream} were removed for ever`)
    const actual = head === undefined ? 'no_stream' : Number(head.last)
    if (expected === actual || expected === 'any') {
      const id = head?.id ?? this.#statements.create.run(stream).lastInsertRowid
      const revision = this.#insert(
        events,
        Number(id),
        actual === 'no_stream' ? 0 : actual + 1,
        end,
      )
      return { revision }
    }
    const before = expected === 'no_stream' ? -1 : expected
    if (head !== undefined && this.#isRepeated(events, Number(head.id), before)) {
      return { revision: before + events.length }
    }
    return { type: 'wrong_expected_revision', expected, actual }
  }

  /** @returns the revision of the last event */
  #insert(events: readonly NewEvent[], streamId: number, first: number, end: LogEnd): number {
    for (const [index, { id, type, data, metadata }] of events.entries()) {
      end.position += 1
      const place = [end.position, streamId, first + index] as const
      this.#statements.insert.run(...place, id, type, data, metadata, end.created)
    }
    return first + events.length - 1
  }

  /** Whether the stream holds these events at the place where they were to be appended. */
  #isRepeated(events: readonly NewEvent[], streamId: number, before: number): boolean {
    const stored = this.#statements.ids.all(streamId, before, events.length)
    return (
      stored.length === events.length && stored.every((row, index) => row.id === events[index]?.id)
    )
  }
}

/**
 * Notices that the files of a log were removed, replaced or cut off while they are open: SQLite writes on, and reports
 * success.
 */
class FileGuard {
  readonly #file: string
  #log: number | null = null
  #wal: number | null = null
  #size = 0

  /** @param file the log, which SQLite has open */
  constructor(file: string) {
    this.#file = file
    this.#log = openIfThere(file)
  }

  /** @throws Refused */
  check(): void {
    if (this.#log === null) return
    const { nlink, size } = fstatSync(this.#log)
    if (nlink === 0) throw this.#lost('was removed or replaced')
    // A checkpoint makes it longer; nothing of ours makes it shorter.
    if (size < this.#size) throw this.#lost('was cut off')
    this.#size = size
    this.#wal ??= openIfThere(`${this.#file}-wal`)
    if (this.#wal !== null && fstatSync(this.#wal).nlink === 0) {
      throw this.#lost('has lost its write-ahead log (-wal)')
    }
  }

  /** Call it after SQLite has closed the file: to close any handle of a file drops the locks of the process on it. */
  close(): void {
    for (const handle of [this.#log, this.#wal]) if (handle !== null) closeSync(handle)
    this.#log = null
    this.#wal = null
  }

  #lost(what: string): Refused {
    return new Refused(
      `the event store ${this.#file} ${what} while it is in use: stop this server, ` +
        'restore the file from a backup, then start it again',
    )
  }
}

const openIfThere = (file: string): number | null => (existsSync(file) ? openSync(file, 'r') : null)
