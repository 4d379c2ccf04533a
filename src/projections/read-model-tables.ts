import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { z } from 'zod'
import type { RunState } from '../domain/state.ts'
import type { LoadedRun } from '../store/run-log.ts'
import type { Batch, Checkpoint } from './batch.ts'
import { type Cursor, type Filters, ListRow, listSql } from './list-query.ts'
import { runSummary } from './run-details.ts'
import type { RunSummary } from './views.ts'

/** A run that has not ended: who works on it, and whether it waits for a person. */
export type UnfinishedRun = {
  readonly runId: string
  readonly claimant: string | null
  readonly resting: boolean
}

const RunRow = z.object({ seq: z.int(), head: z.string(), state: z.string() })
const RunId = z.object({ run_id: z.string() })
const UnfinishedRow = z.object({
  run_id: z.string(),
  status: z.string(),
  claimant: z.string().nullable(),
})
const HeadRow = z.object({ run_id: z.string(), length: z.int(), head: z.string() })
const Identity = z.object({ log_id: z.string().nullable() })
const ProgressRow = z.union([
  z.object({
    position: z.string(),
    stream: z.string(),
    revision: z.int(),
    event_id: z.string(),
  }),
  z.object({ position: z.null() }),
])

/**
 * States are written by this server alone, from validated records, so a full check at every read would
 * only cost time: this one catches a row that is not what was written.
 */
function isStateOf(value: unknown, runId: string, seq: number): value is RunState {
  const { data } = z.object({ runId: z.string(), seq: z.int() }).safeParse(value)
  return data?.runId === runId && data.seq === seq
}

/** The statements of an open read model file. Methods throw what SQLite throws. */
export class ReadModelTables {
  readonly #db: DatabaseSync
  readonly #run: StatementSync
  readonly #putRun: StatementSync
  readonly #putDamaged: StatementSync
  readonly #putProgress: StatementSync
  readonly #unfinished: StatementSync
  readonly #heads: StatementSync
  readonly #lists = new Map<string, StatementSync>()

  constructor(db: DatabaseSync) {
    this.#db = db
    this.#run = db.prepare('SELECT seq, head, state FROM runs WHERE run_id = ?')
    this.#putRun = db.prepare(`
      INSERT INTO runs (run_id, created_at, goal, status, seq, head, state)
      VALUES (:run_id, :created_at, :goal, :status, :seq, :head, :state)
      ON CONFLICT (run_id) DO UPDATE SET
        status = excluded.status, seq = excluded.seq, head = excluded.head, state = excluded.state`)
    this.#putDamaged = db.prepare('INSERT INTO damaged (run_id, seq, message) VALUES (?, ?, ?)')
    this.#putProgress = db.prepare(
      'UPDATE progress SET position = ?, stream = ?, revision = ?, event_id = ?',
    )
    this.#unfinished = db.prepare(`
      SELECT run_id, status, state ->> '$.claimant' AS claimant FROM runs WHERE status IN ('running', 'awaiting_human')
      ORDER BY created_at, run_id`)
    this.#heads = db.prepare(`
      SELECT run_id, seq + 1 AS length, head FROM runs
      WHERE run_id > ? ORDER BY run_id LIMIT ?`)
  }

  run(runId: string): LoadedRun | null {
    const found = this.#run.get(runId)
    if (found === undefined) return null
    const row = RunRow.parse(found)
    const state: unknown = JSON.parse(row.state)
    if (!isStateOf(state, runId, row.seq)) throw new SyntaxError('a row holds another run')
    return { state, head: row.head }
  }

  /** At most `limit` runs behind the cursor, newest first. */
  list({ status, goal }: Filters, behind: Cursor, limit: number): RunSummary[] {
    const sql = listSql({ status, goal })
    const statement = this.#lists.get(sql) ?? this.#db.prepare(sql)
    this.#lists.set(sql, statement)
    const filters = {
      ...(status === undefined ? {} : { status }),
      ...(goal === undefined ? {} : { goal }),
    }
    const rows = statement.all({ ...filters, ...behind, limit })
    return rows.map((row) => ListRow.parse(row))
  }

  /** The runs that have not ended, oldest first. */
  unfinished(): UnfinishedRun[] {
    return this.#unfinished.all().map((row) => {
      const { run_id: runId, status, claimant } = UnfinishedRow.parse(row)
      return { runId, claimant, resting: status === 'awaiting_human' }
    })
  }

  /** At most `limit` runs whose ids come behind `after`, by their ids. */
  heads(after: string, limit: number): z.infer<typeof HeadRow>[] {
    return this.#heads.all(after, limit).map((row) => HeadRow.parse(row))
  }

  damaged(): Set<string> {
    const rows = this.#db.prepare('SELECT run_id FROM damaged').all()
    return new Set(rows.map((row) => RunId.parse(row).run_id))
  }

  /** The log that is projected; null while that is not known. */
  logId(): string | null {
    return Identity.parse(this.#db.prepare('SELECT log_id FROM progress').get()).log_id
  }

  putLogId(logId: string): void {
    this.#db.prepare('UPDATE progress SET log_id = ?').run(logId)
  }

  checkpoint(): Checkpoint | null {
    const row = this.#db.prepare('SELECT position, stream, revision, event_id FROM progress').get()
    const progress = ProgressRow.parse(row)
    if (progress.position === null) return null
    const { event_id: eventId, ...place } = progress
    return { ...place, eventId }
  }

  /** Writes the runs and the checkpoint of a batch, or none of it. */
  commit({ runs, damaged, checkpoint }: Batch): void {
    this.#db.exec('BEGIN IMMEDIATE')
    try {
      for (const run of runs.values()) this.#put(run)
      for (const { runId, seq, message } of damaged) this.#putDamaged.run(runId, seq, message)
      if (checkpoint !== null) {
        const { position, stream, revision, eventId } = checkpoint
        this.#putProgress.run(position, stream, revision, eventId)
      }
      this.#db.exec('COMMIT')
    } catch (cause) {
      // SQLite ends the transaction by itself after some errors, such as a full disk.
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      throw cause
    }
  }

  /** Up to which revision of the ledger of redactions the runs are without what was taken out; -1 is none. */
  redaction(): number {
    const row = this.#db.prepare('SELECT redaction FROM progress').get()
    return z.object({ redaction: z.int() }).parse(row).redaction
  }

  /**
   * Puts runs in the place of what was projected of them, such that nothing of that is left in the file:
   * it is written anew, which takes the longer the more runs there are.
   */
  replace(runs: readonly LoadedRun[], redaction: number): void {
    this.#db.exec('BEGIN IMMEDIATE')
    try {
      for (const run of runs) this.#put(run)
      this.#db.exec('COMMIT')
    } catch (cause) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      throw cause
    }
    if (runs.length > 0) {
      this.#db.exec('VACUUM')
      this.#db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    }
    this.#db.prepare('UPDATE progress SET redaction = ?').run(redaction)
  }

  #put({ state, head }: LoadedRun): void {
    const { seq } = state
    this.#putRun.run({ ...runSummary(state), seq, head, state: JSON.stringify(state) })
  }

  get isOpen(): boolean {
    return this.#db.isOpen
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close()
  }
}
