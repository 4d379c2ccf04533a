import type { DatabaseSync, StatementSync } from 'node:sqlite'
import * as z from 'zod'
import type { RunState } from '../domain/state.ts'
import type { LoadedRun } from '../log/run-log.ts'
import type { Batch, Checkpoint } from './batch.ts'
import { transact } from './disposable-file.ts'
import { runColumns } from './read-model.ts'
import type { Totals } from './totals.ts'

/** A run that has not ended: the process that works on it, its pool, and whether it waits for a person. */
export type UnfinishedRun = {
  readonly runId: string
  readonly claimant: string | null
  readonly pool: string | null
  readonly resting: boolean
  /** The run whose agent started it; null if a person did. */
  readonly parent: string | null
  /** The folder that it works in, if it takes its lock: sub-agents and shared runs do not. */
  readonly folder: string | null
}

/** A row of the table of runs. `state` is JSON. */
export const RunTableRow = z.object({
  run_id: z.string(),
  created_at: z.string(),
  updated_at: z.string(),
  goal: z.string(),
  status: z.string(),
  project: z.string(),
  model_name: z.string(),
  principal: z.string().nullable(),
  cost: z.number().nullable(),
  iteration: z.int(),
  tags: z.string(),
  text: z.string(),
  parent_run_id: z.string().nullable(),
  origin_run_id: z.string().nullable(),
  seq: z.int(),
  head: z.string(),
  listed: z.string(),
  state: z.string(),
})
const RunId = z.object({ run_id: z.string() })
const UnfinishedRow = z.object({
  run_id: z.string(),
  status: z.string(),
  claimant: z.string().nullable(),
  pool: z.string().nullable(),
  parent: z.string().nullable(),
  folder: z.string().nullable(),
})
const HeadRow = z.object({ run_id: z.string(), length: z.int(), head: z.string() })
const Identity = z.object({ log_id: z.string().nullable() })
const StatusRow = z.object({ status: z.string(), runs: z.int() })
const TotalsRow = z.object({
  totals: z
    .string()
    .transform((text): Totals => z.record(z.string(), z.number()).parse(JSON.parse(text))),
})
const ProgressRow = z.union([
  z.object({
    position: z.string(),
    stream: z.string(),
    revision: z.int(),
    event_id: z.string(),
  }),
  z.object({ position: z.null() }),
])

/** The state was written from validated records, so this checks only that the row is the right one. */
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

  constructor(db: DatabaseSync) {
    this.#db = db
    this.#run = db.prepare('SELECT * FROM runs WHERE run_id = ?')
    this.#putRun = db.prepare(`
      INSERT INTO runs (run_id, created_at, updated_at, goal, status, project, model_name, principal, cost,
        iteration, tags, text, parent_run_id, origin_run_id, seq, head, listed, state)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT (run_id) DO UPDATE SET
        updated_at = excluded.updated_at, status = excluded.status, project = excluded.project,
        model_name = excluded.model_name, cost = excluded.cost, iteration = excluded.iteration, text = excluded.text,
        seq = excluded.seq, head = excluded.head, listed = excluded.listed, state = excluded.state`)
    this.#putDamaged = db.prepare('INSERT INTO damaged (run_id, seq, message) VALUES (?, ?, ?)')
    this.#putProgress = db.prepare(
      'UPDATE progress SET position = ?, stream = ?, revision = ?, event_id = ?, totals = ?',
    )
    this.#unfinished = db.prepare(`
      SELECT run_id, status, state ->> '$.claimant' AS claimant, state ->> '$.pool' AS pool,
        parent_run_id AS parent,
        CASE WHEN parent_run_id IS NULL AND state ->> '$.config.shared' IS NULL
          THEN coalesce(state ->> '$.project.path', state ->> '$.config.cwd') END AS folder
      FROM runs WHERE status IN ('queued', 'running', 'awaiting_human', 'paused')
      ORDER BY rowid`)
    this.#heads = db.prepare(`
      SELECT run_id, seq + 1 AS length, head FROM runs
      WHERE run_id > ? ORDER BY run_id LIMIT ?`)
  }

  run(runId: string): LoadedRun | null {
    const found = this.#run.get(runId)
    if (found === undefined) return null
    const row = RunTableRow.parse(found)
    const state: unknown = JSON.parse(row.state)
    if (!isStateOf(state, runId, row.seq)) throw new SyntaxError('a row holds another run')
    return { state, head: row.head }
  }

  /** The runs that have not ended, in the order in which the log has their beginnings. */
  unfinished(): UnfinishedRun[] {
    return this.#unfinished.all().map((row) => {
      const { run_id: runId, status, ...run } = UnfinishedRow.parse(row)
      return { runId, ...run, resting: status === 'awaiting_human' || status === 'paused' }
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
    this.#db.prepare('UPDATE progress SET log_id = ?').run(logId)
  }

  checkpoint(): Checkpoint | null {
    const row = this.#db.prepare('SELECT position, stream, revision, event_id FROM progress').get()
    const progress = ProgressRow.parse(row)
    if (progress.position === null) return null
    const { event_id: eventId, ...place } = progress
    return { ...place, eventId }
  }

  /** What all projected records amount to. */
  totals(): Totals {
    return TotalsRow.parse(this.#db.prepare('SELECT totals FROM progress').get()).totals
  }

  /** How many runs have each status. */
  statuses(): ReadonlyMap<string, number> {
    const rows = this.#db.prepare('SELECT status, count(*) AS runs FROM runs GROUP BY status').all()
    return new Map(
      rows.map((row) => StatusRow.parse(row)).map(({ status, runs }) => [status, runs]),
    )
  }

  /** Writes the runs and the checkpoint of a batch, or nothing of it. */
  commit({ runs, damaged, checkpoint, totals }: Batch): void {
    transact(this.#db, () => {
      for (const run of runs.values()) this.#put(run)
      for (const { runId, seq, message } of damaged.values()) {
        this.#putDamaged.run(runId, seq, message)
      }
      if (checkpoint === null) return
      const { position, stream, revision, eventId } = checkpoint
      this.#putProgress.run(position, stream, revision, eventId, JSON.stringify(totals))
    })
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
    transact(this.#db, () => {
      for (const run of runs) this.#put(run)
    })
    if (runs.length > 0) this.#shrink()
    this.#db.prepare('UPDATE progress SET redaction = ?').run(redaction)
  }

  /** Removes runs, and leaves nothing of their rows in the file. @returns whether there were any */
  remove(runIds: readonly string[]): boolean {
    let removed = 0
    transact(this.#db, () => {
      for (const table of ['runs', 'damaged']) {
        const statement = this.#db.prepare(`DELETE FROM ${table} WHERE run_id = ?`)
        for (const runId of runIds) removed += Number(statement.run(runId).changes)
      }
    })
    if (removed > 0) this.#shrink()
    return removed > 0
  }

  #shrink(): void {
    this.#db.exec('VACUUM')
    const done = this.#db.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()
    if (done?.busy !== 0) throw new Error('somebody reads the file, so old rows are still in it')
  }

  #put(run: LoadedRun): void {
    const it = runColumns(run)
    // By position: SQLite takes names several times slower.
    const of = [it.run_id, it.created_at, it.updated_at, it.goal, it.status, it.project] as const
    const by = [it.model_name, it.principal, it.cost, it.iteration, it.tags, it.text] as const
    const from = [it.parent_run_id, it.origin_run_id, it.seq, it.head, it.listed] as const
    this.#putRun.run(...of, ...by, ...from, JSON.stringify(run.state))
  }

  get isOpen(): boolean {
    return this.#db.isOpen
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close()
  }
}
