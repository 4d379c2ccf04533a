import * as z from 'zod'
import { RUN_STATUSES } from '../domain/state.ts'
import type { RunQuery } from './read-model.ts'

/** The run that a page ends with: the next one begins after it. */
const Cursor = z.strictObject({ created_at: z.iso.datetime({ precision: 3 }), run_id: z.uuid() })
export type Cursor = z.infer<typeof Cursor>

/** A row of our own file: its text was written from a validated record, so only types are checked. */
export const ListRow = z.object({
  run_id: z.string(),
  goal: z.string(),
  status: z.enum(RUN_STATUSES),
  created_at: z.string(),
})

/** Sorts before every run in a list that shows the newest first. */
const START: Cursor = { created_at: '~', run_id: '' }

export function encodeCursor({ created_at, run_id }: Cursor): string {
  return Buffer.from(JSON.stringify({ created_at, run_id })).toString('base64url')
}

/** Null for text that `encodeCursor` did not make; the place before the first run without a cursor. */
export function decodeCursor(text: string | undefined): Cursor | null {
  if (text === undefined) return START
  try {
    return Cursor.parse(JSON.parse(Buffer.from(text, 'base64url').toString()))
  } catch {
    return null
  }
}

export type Filters = Pick<RunQuery, 'status' | 'goal'>

/** The list for the filters that are set; every variant is served, in order, by one index. */
export function listSql({ status, goal }: Filters): string {
  const filters = [
    ...(goal === undefined ? [] : ['goal = :goal AND']),
    ...(status === undefined ? [] : ['status = :status AND']),
  ]
  return [
    'SELECT run_id, goal, status, created_at FROM runs WHERE',
    ...filters,
    '(created_at, run_id) < (:created_at, :run_id)',
    'ORDER BY created_at DESC, run_id DESC LIMIT :limit',
  ].join(' ')
}
