import type { DatabaseSync, StatementSync } from 'node:sqlite'
import * as z from 'zod'
import type { RunState } from '../domain/state.ts'
import type { LoadedRun } from '../log/run-log.ts'
import type { BatchRows, Checkpoint } from './batch.ts'
import { runColumns } from './read-model.ts'
import { FileSeals, type RunTableRow, type Sealer } from './read-model-seal.ts'
import { LIST_INDICES } from './run-lists.ts'

/** A run that has not ended: the process that works on it, its pool, and whether it waits for a person. */
export type UnfinishedRun = {
  readonly runId: string
  readonly claimant: string | null
  readonly pool: string | null
  readonly resting: boolean
  /** The run whose agent started it; null if a person did. */
  readonly parent: string | null
}

const RunId = z.object({ run_id: z.string() })
const UnfinishedRow = z.object({
  run_id: z.string(),
  status: z.string(),
  claimant: z.string().nullable(),
  pool: z.string().nullable(),
  parent: z.string().nullable(),
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

/** The seal shows that this server wrote the state, from validated records, so this checks only that the row is the right one. */
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
  readonly #seals: FileSeals

  constructor(db: DatabaseSync, sealer: Sealer) {
    this.#db = db
    this.#seals = new FileSeals(db, sealer)
    this.#run = db.prepare('SELECT * FROM runs WHERE run_id = ?')
    this.#putRun = db.prepare(`
      INSERT INTO runs (run_id, created_at, goal, status, parent_run_id, seq, head, state, seal)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT (run_id) DO UPDATE SET
        status = excluded.status, seq = excluded.seq, head = excluded.head, state = excluded.state,
        seal = excluded.seal`)
    this.#putDamaged = db.prepare('INSERT INTO damaged (run_id, seq, message) VALUES (?, ?, ?)')
    this.#putProgress = db.prepare(
      'UPDATE progress SET position = ?, stream = ?, revision = ?, event_id = ?',
    )
    this.#unfinished = db.prepare(`
      SELECT run_id, status, state ->> '$.claimant' AS claimant, state ->> '$.pool' AS pool,
        parent_run_id AS parent
      FROM runs WHERE status IN ('queued', 'running', 'awaiting_human')
      ORDER BY created_at, run_id`)
    this.#heads = db.prepare(`
      SELECT run_id, seq + 1 AS length, head FROM runs
      WHERE run_id > ? ORDER BY run_id LIMIT ?`)
  }

  run(runId: string): LoadedRun | null {
    const found = this.#run.get(runId)
    if (found === undefined) return null
    const row = this.#seals.checked(found)
    const state: unknown = JSON.parse(row.state)
    if (!isStateOf(state, runId, row.seq)) throw new SyntaxError('a row holds another run')
    return { state, head: row.head }
  }

  /** The runs that have not ended, oldest first. */
  unfinished(): UnfinishedRun[] {
    return this.#unfinished.all().map((row) => {
      const { run_id: runId, status, claimant, pool, parent } = UnfinishedRow.parse(row)
      return { runId, claimant, pool, parent, resting: status === 'awaiting_human' }
    })
  }

  /** At most `limit` runs whose ids come after `after`, ordered by id. */
  heads(after: string, limit: number): z.infer<typeof HeadRow>[] {
    return this.#heads.all(after, limit).map((row) => HeadRow.parse(row))
  }

  damaged(): Set<string> {
    const rows = this.#db.prepare('SELECT run_id FROM damaged').all()
    return new Set(rows.map((row) => RunId.parse(row).run_id))
  }

  /** The log that is projected; null while it is not known. */
  logId(): string | null {
    return Identity.parse(this.#db.prepare('SELECT log_id FROM progress').get()).log_id
  }

  putLogId(logId: string): void {
    this.#transact(() => {
      this.#db.prepare('UPDATE progress SET log_id = ?').run(logId)
      this.#seals.renew([], [])
    })
  }

  checkpoint(): Checkpoint | null {
    const row = this.#db.prepare('SELECT position, stream, revision, event_id FROM progress').get()
    const progress = ProgressRow.parse(row)
    if (progress.position === null) return null
    const { event_id: eventId, ...place } = progress
    return { ...place, eventId }
  }

  /** Writes the runs and the checkpoint of a batch, or nothing of it. */
  commit({ rows, newRuns, damaged, checkpoint }: BatchRows): void {
    this.#transact(() => {
      const sealed = this.#putAll(rows, newRuns)
      for (const { runId, seq, message } of damaged) this.#putDamaged.run(runId, seq, message)
      if (checkpoint !== null) {
        const { position, stream, revision, eventId } = checkpoint
        this.#putProgress.run(position, stream, revision, eventId)
      }
      this.#seals.renew(sealed.before, sealed.after)
    })
  }

  /** When a rebuild is over: makes one index of the lists with each step, then expects small commits. */
  *settle(): Generator<void, void, void> {
    for (const index of LIST_INDICES) {
      this.#db.exec(`CREATE INDEX IF NOT EXISTS ${index}`)
      yield
    }
    this.#db.exec('PRAGMA wal_autocheckpoint = 1000')
  }

  /** The last revision of the ledger of redactions that the runs are rebuilt for; -1 before the first. */
  redaction(): number {
    const row = this.#db.prepare('SELECT redaction FROM progress').get()
    return z.object({ redaction: z.int() }).parse(row).redaction
  }

  /**
   * Replaces runs, and leaves nothing of the old rows in the file. For that the whole file is rewritten, which takes
   * longer the more runs there are.
   */
  replace(runs: readonly LoadedRun[], redaction: number): void {
    this.#transact(() => {
      const rows = runs.map((run) => ({ ...runColumns(run), state: JSON.stringify(run.state) }))
      const { before, after } = this.#putAll(rows)
      this.#seals.renew(before, after)
    })
    if (runs.length > 0) {
      this.#db.exec('VACUUM')
      this.#db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    }
    this.#transact(() => {
      this.#db.prepare('UPDATE progress SET redaction = ?').run(redaction)
      this.#seals.renew([], [])
    })
  }

  /** @throws Altered if the file does not hold what this server wrote last */
  verify(): void {
    this.#seals.verify()
  }

  /** @param newRuns the runs that have no row yet, as far as is known */
  #putAll(
    rows: Iterable<RunTableRow>,
    newRuns: ReadonlySet<string> = new Set(),
  ): { readonly before: string[]; readonly after: string[] } {
    const [before, after]: [string[], string[]] = [[], []]
    for (const row of rows) {
      const { run_id, created_at, goal, status, parent_run_id, seq, head, state } = row
      const known = newRuns.has(run_id) ? null : this.#seals.stored(run_id)
      if (known !== null) before.push(known)
      const seal = this.#seals.of(row)
      after.push(seal)
      // By position: SQLite takes names several times slower.
      const listed = [run_id, created_at, goal, status, parent_run_id] as const
      this.#putRun.run(...listed, seq, head, state, seal)
    }
    return { before, after }
  }

  #transact(work: () => void): void {
    this.#db.exec('BEGIN IMMEDIATE')
    try {
      work()
      this.#db.exec('COMMIT')
    } catch (cause) {
      // SQLite ends the transaction by itself after some errors, such as a full disk.
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      throw cause
    }
  }

  get isOpen(): boolean {
    return this.#db.isOpen
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close()
  }
}
