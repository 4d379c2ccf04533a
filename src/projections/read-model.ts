import type { DatabaseSync, StatementSync } from 'node:sqlite'
import * as z from 'zod'
import { Origin } from '../domain/origin.ts'
import { PausedBy } from '../domain/pause.ts'
import { present } from '../domain/present.ts'
import {
  type ModelWait,
  modelWait,
  RUN_STATUSES,
  type RunState,
  type RunStatus,
  statusOf,
} from '../domain/state.ts'
import type { LoadedRun } from '../log/run-log.ts'

/** A run in a list. */
type RunRow = {
  readonly run_id: string
  readonly goal: string
  readonly status: RunStatus
  /** ISO 8601 in UTC with milliseconds. */
  readonly created_at: string
  /** The run whose agent started it, if there is one. */
  readonly parent_run_id?: string
  /** The run that it begins from, if there is one. */
  readonly origin?: Origin
  /** Set while it waits for a model that is away. */
  readonly waiting_for?: NonNullable<ReturnType<typeof waitRow>>
  /** Why it is paused, and by which record. */
  readonly paused?: Paused
}

const Paused = z.object({ by: PausedBy, reason: z.string(), seq: z.int() })
type Paused = z.infer<typeof Paused>

export const runRow = (state: RunState): RunRow => ({
  run_id: state.runId,
  goal: state.config.goal,
  status: statusOf(state),
  created_at: timestamp(state.createdAt),
  ...(state.parent === undefined ? {} : { parent_run_id: state.parent.run_id }),
  ...present({ origin: state.origin, paused: pausedRow(state) }),
  ...present({ waiting_for: waitRow(modelWait(state)) }),
})

/** What a run waits for, as clients read it. */
const waitRow = (wait: ModelWait | null) =>
  wait === null
    ? undefined
    : { what: wait.what, since: timestamp(wait.since), next_try: timestamp(wait.nextTry) }

const pausedRow = ({ phase }: RunState): Paused | undefined =>
  phase.type === 'paused' ? Paused.parse(phase) : undefined

/** The columns of a run in the table of runs, without its state. */
export function runColumns({ state, head }: LoadedRun) {
  const { origin, waiting_for: _, paused: __, ...row } = runRow(state)
  const family = {
    parent_run_id: state.parent?.run_id ?? null,
    origin_run_id: origin?.run_id ?? null,
  }
  return { ...row, ...family, seq: state.seq, head }
}

/** ISO 8601 in UTC with milliseconds. @param ts seconds since the epoch */
export const timestamp = (ts: number): string => new Date(Math.round(ts * 1000)).toISOString()

/** What else a list shows of a run. All but the first can change. */
type ListedRun = RunRow & {
  readonly cwd: string
  readonly model_name: string
  readonly iteration: number
  readonly max_iterations: number
  readonly total_tokens: number
  readonly estimated_cost_usd: number | null
  readonly ended_at: string | null
  /** What speaks against its goal, although it was reached. */
  readonly doubt?: string
  /** Why no server works on it; only of a run that is queued. */
  readonly queued_reason?: string
}

export type RunPage = {
  readonly runs: readonly ListedRun[]
  /** Opaque cursor of the next page; null on the last. */
  readonly next: string | null
}

export type RunQuery = {
  readonly limit: number
  readonly cursor?: string | undefined
  readonly status?: RunStatus | undefined
  readonly goal?: string | undefined
  /** Only runs that the agent of this one has started. */
  readonly parent?: string | undefined
  /** Only runs that begin from this one. */
  readonly origin?: string | undefined
}

/** The runs as projected from the log. Reading a long run costs as much as reading a short one. */
export interface ReadModel {
  /** The run as of its last projected record; null if it has none. */
  get(runId: string): LoadedRun | null
  /** Newest first. Null for a cursor that this read model did not make. */
  list(query: RunQuery): RunPage | null
  /** Resolves to true once the record `seq` of the run is projected, to false after `timeoutMs`. */
  waitFor(runId: string, seq: number, timeoutMs: number): Promise<boolean>
  /** Whether the whole log has been projected at least once since the start. */
  readonly caughtUp: boolean
}

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
  origin: z.string().nullable(),
  wait: z.string().nullable(),
  paused: z.string().nullable(),
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
  z.string().nullable(),
])
/** In one call, so that SQLite parses the state once. */
const LISTED = `json_extract(state, '$.config.cwd', '$.config.model_name', '$.iteration',
  '$.config.max_iterations', '$.total.tokens', '$.total.costUsd', '$.endedAt', '$.phase.against') AS listed`

function listedRun({
  queued_reason,
  parent_run_id,
  origin: from,
  wait,
  paused,
  listed,
  ...run
}: z.infer<typeof ListRow>) {
  const [cwd, model_name, iteration, max_iterations, total_tokens, cost, endedAt, doubt] =
    Listed.parse(JSON.parse(listed))
  const origin = from === null ? null : Origin.parse(JSON.parse(from))
  const waiting_for = waitRow(wait === null ? null : JSON.parse(wait))
  return {
    ...{ ...run, cwd, model_name, iteration, max_iterations, total_tokens },
    estimated_cost_usd: cost,
    ended_at: endedAt === null ? null : timestamp(endedAt),
    ...(paused === null ? {} : { paused: Paused.parse(JSON.parse(paused)) }),
    ...present({ parent_run_id, origin, queued_reason, waiting_for, doubt }),
  }
}

/** The lists of runs in an open read model file. */
export class RunLists {
  readonly #db: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()

  constructor(db: DatabaseSync) {
    this.#db = db
  }

  /** Newest first; null for a cursor that was not made here. @throws what SQLite throws */
  page({ limit, cursor, ...asked }: RunQuery): RunPage | null {
    const after = decodeCursor(cursor)
    if (after === null) return null
    const sql = listSql(asked)
    const statement = this.#statements.get(sql) ?? this.#db.prepare(sql)
    this.#statements.set(sql, statement)
    const { status, goal, parent, origin } = asked
    const filters = present({ status, goal, parent, origin })
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
  origin,
}: Omit<RunQuery, 'limit' | 'cursor'>): string {
  const filters = [
    ...(origin === undefined ? [] : ['origin_run_id = :origin AND']),
    ...(parent === undefined ? [] : ['parent_run_id = :parent AND']),
    ...(goal === undefined ? [] : ['goal = :goal AND']),
    ...(status === undefined ? [] : ['status = :status AND']),
  ]
  return [
    'SELECT run_id, goal, status, created_at, parent_run_id,',
    "CASE WHEN origin_run_id IS NOT NULL THEN state -> '$.origin' END AS origin,",
    "CASE status WHEN 'queued' THEN state ->> '$.queued' END AS queued_reason,",
    "CASE status WHEN 'running' THEN state -> '$.phase.wait' END AS wait,",
    "CASE status WHEN 'paused' THEN state -> '$.phase' END AS paused,",
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
