import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import * as z from 'zod'
import type { StandIn } from '../support/eventstore-stand-in/index.ts'

/** An event of a run's stream as it lies in the store, read past the server. */
export type StoredEvent = {
  readonly revision: number
  readonly id: string
  readonly type: string
  readonly data: string
  readonly metadata: string
}

/** What one observer was sent in one connection, from its first frame to its last. */
export type Observation = {
  /** The cursor it came with: all kinds behind it were asked for. */
  readonly after: number
  readonly frames: readonly string[]
  /** Whether the server closed it as complete. */
  readonly complete: boolean
}

/** What the server has promised by an answer of 2xx. */
export type Acknowledged =
  | { readonly type: 'created' }
  | { readonly type: 'resumed'; readonly seq: number; readonly decision: 'approve' | 'abort' }
  | { readonly type: 'aborted' }
  | { readonly type: 'configured'; readonly changes: Readonly<Record<string, unknown>> }

/** All that is known of a run from outside. */
export type Evidence = {
  readonly runId: string
  readonly events: readonly StoredEvent[]
  readonly observations: readonly Observation[]
  /** What the calls of tools that change something have left on disk, one entry for each time one ran. */
  readonly ledger: readonly string[]
  readonly acknowledged: readonly Acknowledged[]
  /** Whether nothing keeps the run from its end any more. */
  readonly settled: boolean
  /** GET /api/runs/{run_id} once nothing happens any more, from each server that was asked. */
  readonly details: readonly unknown[]
}

const Row = z.object({
  revision: z.int(),
  id: z.string(),
  type: z.string(),
  data: z.string(),
  metadata: z.string(),
})

/** The stream of a run in the file of the embedded store, which no server has open. */
export function eventsInFile(dataDir: string, runId: string): StoredEvent[] {
  const db = new DatabaseSync(join(dataDir, 'log.sqlite'), { readOnly: true })
  try {
    return db
      .prepare(
        `SELECT revision, e.id, type, data, metadata FROM events e
         JOIN streams s ON s.id = e.stream_id WHERE s.name = ? ORDER BY position`,
      )
      .all(`run-${runId}`)
      .map((row) => Row.parse(row))
  } finally {
    db.close()
  }
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8')

/** The stream of a run in the stand-in. */
export function eventsInStandIn({ log }: Pick<StandIn, 'log'>, runId: string): StoredEvent[] {
  return log.events(`run-${runId}`).map(({ revision, id, type, data, metadata }) => {
    return { revision: Number(revision), id, type, data: text(data), metadata: text(metadata) }
  })
}
