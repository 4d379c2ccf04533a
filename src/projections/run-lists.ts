import type { DatabaseSync, StatementSync } from 'node:sqlite'
import * as z from 'zod'
import { present } from '../domain/present.ts'
import { RUN_STATUSES } from '../domain/state.ts'
import { LruCache } from '../lib/lru-cache.ts'
import { type RunPage, type RunQuery, timestamp, waitRow } from './read-model.ts'

/** Every list is read in order from one of these. A rebuild makes them after its rows, which takes less time. */
export const LIST_INDICES = [
  'runs_newest ON runs (created_at, run_id)',
  'runs_by_status ON runs (status, created_at, run_id)',
  'runs_by_goal ON runs (goal, created_at, run_id)',
  'runs_by_goal_and_status ON runs (goal, status, created_at, run_id)',
  'runs_by_parent ON runs (parent_run_id, created_at, run_id) WHERE parent_run_id IS NOT NULL',
] as const

/** Pages that are kept. */
const RECENT_PAGES = 64

/** The last run of a page: the next page begins after it. */
const Cursor = z.strictObject({ created_at: z.iso.datetime({ precision: 3 }), run_id: z.uuid() })
type Cursor = z.infer<typeof Cursor>

/** Before every run in a list that shows the newest first. */
const START: Cursor = { created_at: '~', run_id: '' }

/** A row of our own file: its text was written from a validated record, so only types are checked. */
const ListRow = z.object({
  run_id: z.string(),
  goal: z.string(),
  status: z.enum(RUN_STATUSES),
  created_at: z.string(),
  queued_reason: z.string().nullable(),
  parent_run_id: z.string().nullable(),
  wait: z.string().nullable(),
  listed: z.string(),
})
/** What `LISTED` selects, in its order. */
const Listed = z.tuple([
  z.string(),
  z.string(),
  z.int(),
  z.int(),
  z.int(),
  z.number().nullable(),
  z.number().nullable(),
])
/** In one call, so that SQLite parses the state once. */
const LISTED = `json_extract(state, '$.config.cwd', '$.config.model_name', '$.iteration',
  '$.config.max_iterations', '$.total.tokens', '$.total.costUsd', '$.endedAt') AS listed`

function listedRun({
  queued_reason,
  parent_run_id,
  wait,
  listed,
  ...run
}: z.infer<typeof ListRow>) {
  const [cwd, model_name, iteration, max_iterations, total_tokens, cost, endedAt] = Listed.parse(
    JSON.parse(listed),
  )
  const waiting_for = waitRow(wait === null ? null : JSON.parse(wait))
  return {
    ...{ ...run, cwd, model_name, iteration, max_iterations, total_tokens },
    estimated_cost_usd: cost,
    ended_at: endedAt === null ? null : timestamp(endedAt),
    ...present({ parent_run_id, queued_reason, waiting_for }),
  }
}

/** The lists of runs in an open read model file. */
export class RunLists {
  readonly #db: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()
  readonly #pages = new LruCache<RunPage>(RECENT_PAGES)

  constructor(db: DatabaseSync) {
    this.#db = db
  }

  /** Newest first; null for a cursor that was not made here. @throws what SQLite throws */
  page(query: RunQuery): RunPage | null {
    const { limit, cursor, status, goal, parent } = query
    const key = JSON.stringify([limit, cursor, status, goal, parent])
    const known = this.#pages.get(key)
    if (known !== undefined) return known
    const page = this.#read(query)
    if (page !== null) this.#pages.set(key, page)
    return page
  }

  /** To be called when a run was added, or something that lists show of it changed. */
  forget(): void {
    this.#pages.clear()
  }

  #read({ limit, cursor, status, goal, parent }: RunQuery): RunPage | null {
    const after = decodeCursor(cursor)
    if (after === null) return null
    const sql = listSql({ status, goal, parent })
    const statement = this.#statements.get(sql) ?? this.#db.prepare(sql)
    this.#statements.set(sql, statement)
    const filters = present({ status, goal, parent })
    // One more than asked for: it decides whether there is a next page.
    const rows = statement.all({ ...filters, ...after, limit: limit + 1 })
    const runs = rows.slice(0, limit).map((row) => listedRun(ListRow.parse(row)))
    const last = runs.at(-1)
    const more = rows.length > runs.length && last !== undefined
    return { runs, next: more ? encodeCursor(last) : null }
  }
}

/** The list for the filters that are set; one index serves each variant in order. */
export function listSql({
  status,
  goal,
  parent,
}: Pick<RunQuery, 'status' | 'goal' | 'parent'>): string {
  const filters = [
    ...(parent === undefined ? [] : ['parent_run_id = :parent AND']),
    ...(goal === undefined ? [] : ['goal = :goal AND']),
    ...(status === undefined ? [] : ['status = :status AND']),
  ]
  return [
    'SELECT run_id, goal, status, created_at, parent_run_id,',
    "CASE status WHEN 'queued' THEN state ->> '$.queued' END AS queued_reason,",
    "CASE status WHEN 'running' THEN state -> '$.phase.wait' END AS wait,",
    `${LISTED} FROM runs WHERE`,
    ...filters,
    '(created_at, run_id) < (:created_at, :run_id)',
    'ORDER BY created_at DESC, run_id DESC LIMIT :limit',
  ].join(' ')
}

function encodeCursor({ created_at, run_id }: Cursor): string {
  return Buffer.from(JSON.stringify({ created_at, run_id })).toString('base64url')
}

/** Null for text that `encodeCursor` did not make. */
function decodeCursor(text: string | undefined): Cursor | null {
  if (text === undefined) return START
  try {
    return Cursor.parse(JSON.parse(Buffer.from(text, 'base64url').toString()))
  } catch {
    return null
  }
}
