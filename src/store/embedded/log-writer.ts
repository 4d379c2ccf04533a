import type { DatabaseSync } from 'node:sqlite'
import type { Overwrite, OverwriteError, StoreFailure } from '../event-store.ts'
import { FileGuard } from './file-guard.ts'
import {
  ANY,
  CellReader,
  FAILED,
  NO_STREAM,
  REPEATED,
  STORED,
  STREAM_EXISTS,
  UNKNOWN,
  WRONG_REVISION,
  type WriteReply,
} from './messages.ts'
import { Overwriter } from './overwriting.ts'
import { leavesOutcomeUnknown, storeFailed } from './sqlite-failure.ts'
import { StreamHeads } from './stream-heads.ts'

/** One append; `events` holds id, type, data and metadata of each event. */
export type Append = {
  readonly stream: string
  readonly expected: number
  readonly events: readonly string[]
}

type Settled = Extract<WriteReply, { type: 'settled' }>
type Outcome = readonly [outcome: number, revision: number, position: number]

const CELLS = 4

/** A group was rolled back. `committing` is true if all of it had been written, and only the commit failed. */
class RolledBack extends Error {
  readonly committing: boolean
  constructor(cause: unknown, committing: boolean) {
    super('rolled back', { cause })
    this.committing = committing
  }
}

/** Writes groups of appends, each group in one transaction, each append of it atomic on its own. */
export class LogWriter {
  readonly #file: string
  readonly #guard: FileGuard
  readonly #overwriter: Overwriter
  readonly #db: DatabaseSync
  readonly #heads: StreamHeads
  readonly #statements
  #position = 0
  #created = 0
  /** Whether what is remembered certainly agrees with the file. */
  #sure = false

  constructor(db: DatabaseSync, file: string) {
    this.#db = db
    this.#file = file
    this.#guard = new FileGuard(file)
    this.#heads = new StreamHeads(db)
    this.#overwriter = new Overwriter(db)
    this.#statements = {
      begin: db.prepare('BEGIN IMMEDIATE'),
      commit: db.prepare('COMMIT'),
      insert: db.prepare('INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)'),
      ids: db.prepare(`
        SELECT id FROM events WHERE stream_id = ? AND revision > ? ORDER BY revision LIMIT ?`),
      last: db.prepare('SELECT position, created FROM events ORDER BY position DESC LIMIT 1'),
    }
    this.#statements.last.setReturnArrays(true)
    this.#recall()
  }

  /**
   * Stores what can be stored; returns an outcome for each append in turn. What is STORED is durable.
   * @param more adds what has arrived meanwhile to the group; false if nothing has
   */
  write(group: readonly Append[], more: () => boolean = () => false): Settled[] {
    try {
      return [this.#commit(group, more)]
    } catch (error) {
      if (!(error instanceof RolledBack)) throw error
      // An append that cannot be written must not take the others of its group with it.
      if (group.length > 1 && !error.committing) {
        return group.flatMap((append) => this.write([append]))
      }
      return [failed(group, this.#file, error.cause)]
    }
  }

  /** Begins a transaction for the next group. End it with `write`, or with `rest` if no group follows. */
  begin(): void {
    try {
      this.#statements.begin.run()
    } catch {
      // Another program holds the file: then the next group waits for it, and reports it.
    }
  }

  /** Ends a transaction without a group. */
  rest(): void {
    if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
  }

  /** Call it after the database is closed. */
  close(): void {
    this.#guard.close()
  }

  /** Replaces events by others, all or none; null if that is done. */
  overwrite(events: readonly Overwrite[]): OverwriteError | null {
    try {
      this.#guard.check()
      return this.#overwriter.overwrite(events)
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      return storeFailed(this.#file, error)
    }
  }

  /** Writes what is there already; null if the file takes it, else why it does not. */
  probe(): StoreFailure | null {
    try {
      this.#guard.check()
      const format = this.#db.prepare('PRAGMA user_version').get()?.user_version
      this.#db.exec(`PRAGMA user_version = ${format}`)
      return null
    } catch (error) {
      return storeFailed(this.#file, error)
    }
  }

  #commit(group: readonly Append[], more: () => boolean): Settled {
    let committing = false
    try {
      if (!this.#db.isTransaction) this.#statements.begin.run()
      if (!this.#sure) this.#recall()
      // A clock that is set back does not change the order of times in the log.
      this.#created = Math.max(this.#created, Date.now())
      const outcomes: number[] = []
      do {
        for (const append of group.slice(outcomes.length / 3))
          outcomes.push(...this.#append(append))
      } while (more())
      committing = true
      this.#guard.check()
      this.#statements.commit.run()
      return { type: 'settled', created: this.#created, outcomes, failure: null }
    } catch (error) {
      this.#sure = false
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      throw new RolledBack(error, committing)
    }
  }

  /** Reads the last position from the file: at the start, and after a rollback. */
  #recall(): void {
    const row: unknown = this.#statements.last.get()
    const cells = new CellReader(Array.isArray(row) ? row : [0, 0])
    this.#position = cells.number()
    this.#created = cells.number()
    this.#heads.forget()
    this.#sure = true
  }

  #append(append: Append): Outcome {
    const { stream, expected } = append
    const head = this.#heads.get(stream)
    const last = head?.last ?? NO_STREAM
    if (expected === last || expected === ANY || (expected === STREAM_EXISTS && head !== null)) {
      const revision = this.#insert(append, head ?? this.#heads.create(stream))
      return [STORED, revision, this.#position]
    }
    if (head !== null && this.#isRepeated(append, head.id)) {
      return [REPEATED, expected + append.events.length / CELLS, 0]
    }
    return [WRONG_REVISION, last, 0]
  }

  #insert({ stream, events }: Append, { id, last }: { id: number; last: number }): number {
    const { insert } = this.#statements
    let revision = last
    for (let i = 0; i < events.length; i += CELLS) {
      this.#position += 1
      revision += 1
      const [event = '', type = '', data = '', metadata = ''] = events.slice(i, i + CELLS)
      insert.run(this.#position, id, revision, event, type, data, metadata, this.#created)
    }
    this.#heads.set(stream, { id, last: revision })
    return revision
  }

  /** Whether the stream holds these events at the place where they were to be appended. */
  #isRepeated({ expected, events }: Append, streamId: number): boolean {
    if (expected < NO_STREAM) return false
    const stored = this.#statements.ids.all(streamId, expected, events.length / CELLS)
    return (
      stored.length === events.length / CELLS &&
      stored.every((row, index) => row.id === events[index * CELLS])
    )
  }
}

function failed(group: readonly Append[], file: string, error: unknown): Settled {
  const outcome = leavesOutcomeUnknown(error) ? UNKNOWN : FAILED
  return {
    type: 'settled',
    created: 0,
    outcomes: group.flatMap(() => [outcome, 0, 0]),
    failure: storeFailed(file, error),
  }
}
