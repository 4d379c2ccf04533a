import type { DatabaseSync, StatementSync } from 'node:sqlite'
import * as z from 'zod'
import type { RunState } from '../domain/state.ts'
import { type FileKind, isOfKind, openDisposable, transact } from '../lib/disposable-file.ts'
import { SCHEMA } from '../log/codec.ts'
import type { LoadedRun } from '../log/run-log.ts'
import { LogPlace } from '../log/stream-pages.ts'
import type { Batch, Totals } from './batch.ts'
import { type LaterTags, runColumns } from './read-model.ts'
import { RunLists } from './run-lists.ts'

/**
 * Raise the first number whenever the tables, `RunState` or the result of `evolve` for a record change: files of
 * other versions are rebuilt from the log. A new version of the records changes the number, too.
 */
const VERSION = 21 * 10_000 + SCHEMA

/** Marks the file as ours in the header of the database: "rtRM". */
const APPLICATION_ID = 0x7274524d

/** The table of runs: a run as lists show it and are sorted and filtered by, and its whole state. */
const COLUMNS: Readonly<Record<keyof ReturnType<typeof runColumns> | 'state', string>> = {
  run_id: 'TEXT NOT NULL PRIMARY KEY',
  created_at: 'TEXT NOT NULL',
  updated_at: 'TEXT NOT NULL',
  goal: 'TEXT NOT NULL',
  status: 'TEXT NOT NULL',
  project: 'TEXT NOT NULL',
  model_name: 'TEXT NOT NULL',
  principal: 'TEXT',
  cost: 'REAL',
  iteration: 'INTEGER NOT NULL',
  tags: 'TEXT NOT NULL',
  text: 'TEXT NOT NULL',
  parent_run_id: 'TEXT',
  origin_run_id: 'TEXT',
  seq: 'INTEGER NOT NULL',
  head: 'TEXT NOT NULL',
  listed: 'TEXT NOT NULL',
  state: 'TEXT NOT NULL',
}
const NAMES = Object.keys(COLUMNS) as (keyof typeof COLUMNS)[]
/** What a run begins with and keeps: an index of it need not be written again. */
const KEPT: ReadonlySet<string> = new Set<keyof typeof COLUMNS>([
  'run_id',
  'created_at',
  'goal',
  'principal',
  'tags',
  'parent_run_id',
  'origin_run_id',
])

/** The lists that people and programs read most are read in order from one of the indexes. */
const TABLES = `
  CREATE TABLE runs (${NAMES.map((name) => `${name} ${COLUMNS[name]}`).join(', ')}) STRICT;
  CREATE INDEX runs_newest ON runs (created_at, run_id);
  CREATE INDEX runs_by_status ON runs (status, created_at, run_id);
  CREATE INDEX runs_by_parent ON runs (parent_run_id, created_at, run_id)
    WHERE parent_run_id IS NOT NULL;
  CREATE INDEX runs_by_origin ON runs (origin_run_id, created_at, run_id)
    WHERE origin_run_id IS NOT NULL;
  CREATE TABLE damaged (
    run_id TEXT NOT NULL PRIMARY KEY,
    seq INTEGER NOT NULL,
    message TEXT NOT NULL
  ) STRICT;
  CREATE TABLE progress (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    log_id TEXT,
    position TEXT,
    stream TEXT,
    revision INTEGER,
    event_id TEXT,
    redaction INTEGER NOT NULL DEFAULT -1,
    totals TEXT NOT NULL DEFAULT '{}'
  ) STRICT;
  INSERT INTO progress (one) VALUES (1);
`
const KIND: FileKind = {
  applicationId: APPLICATION_ID,
  version: VERSION,
  tables: TABLES,
  pragmas: '',
}

/** Whether the database is a read model of this version. */
export const isCurrent = (db: DatabaseSync): boolean => isOfKind(db, KIND)

const StateRow = z.object({ seq: z.int(), head: z.string(), state: z.string() })
const RunId = z.object({ run_id: z.string() })
const StatusRow = z.object({ status: z.string(), runs: z.int() })
const Progress = z.object({
  log_id: z.string().nullable(),
  redaction: z.int(),
  totals: z.string(),
})

/** How many records of a run are projected, and the hash of the last one. */
const RunHead = z.object({ run_id: z.string(), length: z.int(), head: z.string() })
type RunHead = Readonly<z.infer<typeof RunHead>>

/** A run that has not ended: the process that works on it, its pool, and whether it waits for a person. */
const UnfinishedRun = z.object({
  runId: z.string(),
  claimant: z.string().nullable(),
  pool: z.string().nullable(),
  resting: z.int().transform(Boolean),
  /** The run whose agent started it; null if a person did. */
  parent: z.string().nullable(),
  /** The folder that it works in, if it takes its lock: sub-agents and shared runs do not. */
  folder: z.string().nullable(),
})
export type UnfinishedRun = Readonly<z.infer<typeof UnfinishedRun>>

/** The state was written from validated records, so this checks only that the row is the right one. */
function isStateOf(value: unknown, runId: string, seq: number): value is RunState {
  const { data } = z.object({ runId: z.string(), seq: z.int() }).safeParse(value)
  return data?.runId === runId && data.seq === seq
}

/** An open file of the read model, and what of it is kept in memory. Methods throw what SQLite throws. */
export class ReadModelFile {
  readonly #db: DatabaseSync
  readonly #run: StatementSync
  readonly #putRun: StatementSync
  readonly #putDamaged: StatementSync
  readonly #putProgress: StatementSync
  readonly lists: RunLists
  /** The runs that have a record that cannot be read. */
  readonly damaged: Set<string>
  /** The log that is projected; null while it is not known. */
  logId: string | null
  /** The last event that is projected; null before the first. */
  checkpoint: LogPlace | null
  totals: Totals
  /** The last revision of the ledger of redactions that the runs are rebuilt for; -1 before the first. */
  redaction: number

  /**
   * Makes a missing file. @throws if the file cannot be used
   * @param tagsOf the tags that a run was given later; null if it was not
   */
  constructor(file: string, tagsOf: (runId: string) => LaterTags | null) {
    const db = openDisposable(file, KIND)
    try {
      this.#db = db
      this.#run = db.prepare('SELECT seq, head, state FROM runs WHERE run_id = ?')
      const changed = NAMES.filter((name) => !KEPT.has(name))
      this.#putRun = db.prepare(`
        INSERT INTO runs (${NAMES.join(', ')}) VALUES (${NAMES.map(() => '?').join(', ')})
        ON CONFLICT (run_id) DO UPDATE SET
          ${changed.map((name) => `${name} = excluded.${name}`).join(', ')}`)
      this.#putDamaged = db.prepare('INSERT INTO damaged (run_id, seq, message) VALUES (?, ?, ?)')
      this.#putProgress = db.prepare(
        'UPDATE progress SET position = ?, stream = ?, revision = ?, event_id = ?, totals = ?',
      )
      this.lists = new RunLists(db, tagsOf)
      const damaged = db.prepare('SELECT run_id FROM damaged').all()
      this.damaged = new Set(damaged.map((row) => RunId.parse(row).run_id))
      const row = db.prepare('SELECT *, event_id AS id FROM progress').get()
      const { log_id, redaction, totals } = Progress.parse(row)
      this.logId = log_id
      this.redaction = redaction
      this.totals = z.record(z.string(), z.number()).parse(JSON.parse(totals))
      this.checkpoint = LogPlace.safeParse(row).data ?? null
    } catch (cause) {
      db.close()
      throw cause
    }
  }

  run(runId: string): LoadedRun | null {
    const found = this.#run.get(runId)
    if (found === undefined) return null
    const row = StateRow.parse(found)
    const state: unknown = JSON.parse(row.state)
    if (!isStateOf(state, runId, row.seq)) throw new SyntaxError('a row holds another run')
    return { state, head: row.head }
  }

  /** The runs that have not ended, in the order in which the log has their beginnings. */
  unfinished(): UnfinishedRun[] {
    const rows = this.#db.prepare(`
      SELECT run_id AS runId, status IN ('awaiting_human', 'paused') AS resting,
        state ->> '$.claimant' AS claimant, state ->> '$.pool' AS pool, parent_run_id AS parent,
        CASE WHEN parent_run_id IS NULL AND state ->> '$.config.shared' IS NULL
          THEN coalesce(state ->> '$.project.path', state ->> '$.config.cwd') END AS folder
      FROM runs WHERE status IN ('queued', 'running', 'awaiting_human', 'paused')
      ORDER BY rowid`)
    return rows.all().map((row) => UnfinishedRun.parse(row))
  }

  /** At most `limit` runs whose ids come after `after`, ordered by id. */
  heads(after: string, limit: number): RunHead[] {
    const rows = this.#db.prepare(
      'SELECT run_id, seq + 1 AS length, head FROM runs WHERE run_id > ? ORDER BY run_id LIMIT ?',
    )
    return rows.all(after, limit).map((row) => RunHead.parse(row))
  }

  /** How many runs have each status. */
  statuses(): ReadonlyMap<string, number> {
    const rows = this.#db.prepare('SELECT status, count(*) AS runs FROM runs GROUP BY status').all()
    return new Map(
      rows.map((row) => StatusRow.parse(row)).map(({ status, runs }) => [status, runs]),
    )
  }

  putLogId(logId: string): void {
    this.#db.prepare('UPDATE progress SET log_id = ?').run(logId)
    this.logId = logId
  }

  /** Writes the runs and the checkpoint of a batch, or nothing of it. */
  commit({ runs, damaged, checkpoint, totals }: Batch): void {
    transact(this.#db, () => {
      for (const run of runs.values()) this.#put(run)
      for (const { runId, seq, message } of damaged.values()) {
        this.#putDamaged.run(runId, seq, message)
      }
      if (checkpoint === null) return
      const { position, stream, revision, id } = checkpoint
      this.#putProgress.run(position, stream, revision, id, JSON.stringify(totals))
    })
    this.checkpoint = checkpoint
    this.totals = totals
    for (const runId of damaged.keys()) this.damaged.add(runId)
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
    this.redaction = redaction
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
    for (const runId of runIds) this.damaged.delete(runId)
    return removed > 0
  }

  #shrink(): void {
    this.#db.exec('VACUUM')
    const done = this.#db.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()
    if (done?.busy !== 0) throw new Error('somebody reads the file, so old rows are still in it')
  }

  #put(run: LoadedRun): void {
    const row = { ...runColumns(run), state: JSON.stringify(run.state) }
    // By position: SQLite takes names several times slower.
    this.#putRun.run(...NAMES.map((name) => row[name]))
  }

  get isOpen(): boolean {
    return this.#db.isOpen
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close()
  }
}
