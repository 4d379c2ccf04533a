import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import * as z from 'zod'
import { RunRecord } from '../../src/domain/records.ts'
import type { StandIn } from '../support/eventstore-stand-in/index.ts'

/** An event of the stream of a run, read from the store without the server. */
export type StoredEvent = {
  readonly revision: number
  readonly id: string
  readonly type: string
  readonly data: string
  readonly metadata: string
}

/** What a server sent to one observer in one connection. */
export type Observation = {
  /** The cursor of the observer: it asks for all kinds after this seq. */
  readonly after: number
  readonly frames: readonly string[]
  /** Whether the server closed it as complete. */
  readonly complete: boolean
}

/** What a server has acknowledged with 2xx. */
export type Acknowledged =
  | { readonly type: 'created' }
  | { readonly type: 'resumed'; readonly seq: number; readonly decision: 'approve' | 'abort' }
  | { readonly type: 'allowed'; readonly seq: number }
  | { readonly type: 'aborted' }
  | { readonly type: 'said'; readonly key: string }
  | { readonly type: 'configured'; readonly changes: Readonly<Record<string, unknown>> }

/** All that is known of a run from outside. */
export type Evidence = {
  readonly runId: string
  readonly events: readonly StoredEvent[]
  /** The streams of all runs that name this one as their parent; left out if nobody looked for them. */
  readonly subagents?: readonly (readonly StoredEvent[])[]
  readonly observations: readonly Observation[]
  /** What tool calls that change something wrote to disk: one entry each time such a call ran. */
  readonly ledger: readonly string[]
  readonly acknowledged: readonly Acknowledged[]
  /** Whether the run must have ended. */
  readonly settled: boolean
  /** What each server answers to GET /api/runs/{run_id} at the end. */
  readonly details: readonly unknown[]
}

const Row = z.object({
  revision: z.int(),
  id: z.string(),
  type: z.string(),
  data: z.string(),
  metadata: z.string(),
})

const EVENTS = `SELECT revision, e.id, type, data, metadata FROM events e
  JOIN streams s ON s.id = e.stream_id`

function rowsInFile(dataDir: string, condition: string, value: string): StoredEvent[] {
  using db = new DatabaseSync(join(dataDir, 'log.sqlite'), { readOnly: true })
  const rows = db.prepare(`${EVENTS} WHERE ${condition} = ? ORDER BY position`).all(value)
  return rows.map((row) => Row.parse(row))
}

/** The stream of a run in the file of the embedded store. */
export const eventsInFile = (dataDir: string, runId: string): StoredEvent[] =>
  rowsInFile(dataDir, 's.name', `run-${runId}`)

/** The streams of the runs that name this one as their parent, in the same file. */
export const subagentsInFile = (dataDir: string, runId: string): StoredEvent[][] =>
  rowsInFile(dataDir, "data ->> '$.payload.parent.run_id'", runId).map((created) =>
    eventsInFile(dataDir, runIdIn(created)),
  )

/** The id of the run that a record belongs to. */
export const runIdIn = ({ data }: StoredEvent): string => RunRecord.parse(JSON.parse(data)).run_id

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8')

/** The stream of a run in the stand-in. */
export function eventsInStandIn({ log }: Pick<StandIn, 'log'>, runId: string): StoredEvent[] {
  return log.events(`run-${runId}`).map(({ revision, id, type, data, metadata }) => {
    return { revision: Number(revision), id, type, data: text(data), metadata: text(metadata) }
  })
}

export const recordsOf = ({ events }: Evidence): RunRecord[] =>
  events.map(({ data }) => JSON.parse(data))

/** What the last record of a run says. */
export const endOf = (evidence: Evidence): unknown => recordsOf(evidence).at(-1)?.payload

/** The outcomes of its calls. */
export const outcomesOf = (evidence: Evidence): string[] =>
  recordsOf(evidence).flatMap((r) => (r.kind === 'tool_result' ? [r.payload.outcome] : []))
