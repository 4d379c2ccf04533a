import type { DatabaseSync, SQLInputValue } from 'node:sqlite'
import * as z from 'zod'
import { sha256 } from '../lib/sha256.ts'
import type { LaterTags, ListedRun, RunFilters, RunPage, RunQuery } from './read-model.ts'

/** The last run of a page: the next page of the same query begins after it. */
const Cursor = z.strictObject({
  query: z.string(),
  key: z.union([z.string(), z.number()]),
  run_id: z.uuid(),
})

/** Our own file: the texts were written from validated records. */
const Row = z.object({
  run_id: z.string(),
  key: z.union([z.string(), z.number()]),
  listed: z.string().transform((text): ListedRun => JSON.parse(text)),
})

/** What a list is sorted by. A cost that is not known is less than any. */
const KEYS = {
  created: 'created_at',
  updated: 'updated_at',
  cost: 'coalesce(cost, -1)',
  iterations: 'iteration',
} as const

/** The condition of each filter. */
const FILTERS: Readonly<Record<keyof RunFilters, string>> = {
  origin: 'origin_run_id = :origin',
  parent: 'parent_run_id = :parent',
  goal: 'goal = :goal',
  status: 'status IN (SELECT value FROM json_each(:status))',
  project: 'project = :project',
  model: 'model_name = :model',
  principal: 'principal = :principal',
  min_cost_usd: 'cost >= :min_cost_usd',
  max_cost_usd: 'cost <= :max_cost_usd',
  from: 'created_at >= :from',
  to: 'created_at < :to',
  top: '(NOT :top OR parent_run_id IS NULL)',
  tag: 'has_tags(run_id, tags, :tag)',
  q: '(instr(text, :q) OR substr(run_id, 1, length(:q)) = :q OR has_tag_like(run_id, tags, :q))',
}
const NAMES = Object.keys(FILTERS) as (keyof RunFilters)[]

/** The lists of runs in an open read model file. */
export class RunLists {
  readonly #db: DatabaseSync
  readonly #laterTags: (runId: string) => LaterTags | null

  constructor(db: DatabaseSync, laterTags: (runId: string) => LaterTags | null) {
    this.#db = db
    this.#laterTags = laterTags
    const now = (runId: SQLInputValue, tags: SQLInputValue): readonly string[] =>
      laterTags(String(runId))?.tags ?? JSON.parse(String(tags))
    db.function('has_tags', (runId, tags, wanted) => {
      const all = now(runId, tags)
      return Number(JSON.parse(String(wanted)).every((tag: string) => all.includes(tag)))
    })
    db.function('has_tag_like', (runId, tags, part) =>
      Number(now(runId, tags).some((tag) => tag.toLowerCase().includes(String(part)))),
    )
  }

  /** Null for a cursor that was not made here for this query. @throws what SQLite throws */
  page({ limit, cursor, ...asked }: RunQuery): RunPage | null {
    const query = sha256(JSON.stringify(Object.entries(asked).toSorted())).slice(0, 16)
    const after = cursor === undefined ? null : decodeCursor(cursor)
    if (cursor !== undefined && after?.query !== query) return null
    const statement = this.#db.prepare(listSql(asked, after !== null))
    // One more than asked for: it decides whether there is a next page.
    const place = after && { key: after.key, run_id: after.run_id }
    const found = statement.all({ ...valuesOf(asked), ...place, limit: limit + 1 })
    const rows = found.slice(0, limit).map((row) => Row.parse(row))
    const last = rows.at(-1)
    const more = found.length > rows.length && last !== undefined
    return {
      runs: rows.map(({ run_id, listed }) => {
        const later = this.#laterTags(run_id)
        return later === null ? listed : { ...listed, tags: later.tags }
      }),
      next: more ? encodeCursor({ query, key: last.key, run_id: last.run_id }) : null,
    }
  }
}

/** A list for the filters that are set. @param continues whether it begins after a run */
export function listSql(
  { sort = 'created', order = 'desc', ...asked }: Omit<RunQuery, 'limit' | 'cursor'>,
  continues = false,
): string {
  const key = KEYS[sort]
  const conditions = NAMES.filter((name) => asked[name] !== undefined).map((name) =>
    // One status has an index of its own, in order.
    name === 'status' && asked.status?.length === 1 ? 'status = :status' : FILTERS[name],
  )
  if (continues) conditions.push(`(${key}, run_id) ${order === 'desc' ? '<' : '>'} (:key, :run_id)`)
  return [
    `SELECT run_id, ${key} AS key, listed FROM runs`,
    conditions.length > 0 ? `WHERE ${conditions.join(' AND ')}` : '',
    `ORDER BY ${key} ${order}, run_id ${order} LIMIT :limit`,
  ].join(' ')
}

/** What the conditions are given. */
function valuesOf({ sort: _, order: __, ...asked }: Omit<RunQuery, 'limit' | 'cursor'>) {
  const values: Record<string, SQLInputValue> = {}
  for (const name of NAMES) {
    const value = asked[name]
    if (value === undefined) continue
    if (typeof value === 'boolean') values[name] = Number(value)
    else if (typeof value !== 'object')
      values[name] = name === 'q' ? `${value}`.toLowerCase() : value
    else
      values[name] = name === 'status' && value.length === 1 ? `${value[0]}` : JSON.stringify(value)
  }
  return values
}

const encodeCursor = (cursor: z.infer<typeof Cursor>): string =>
  Buffer.from(JSON.stringify(cursor)).toString('base64url')

/** Null for text that `encodeCursor` did not make. */
function decodeCursor(text: string): z.infer<typeof Cursor> | null {
  try {
    return Cursor.parse(JSON.parse(Buffer.from(text, 'base64url').toString()))
  } catch {
    return null
  }
}
