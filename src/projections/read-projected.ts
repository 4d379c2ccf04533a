import { existsSync } from 'node:fs'
import { Result } from 'neverthrow'
import * as z from 'zod'
import { jsonOr } from '../lib/json.ts'
import { messageOf } from '../lib/message-of.ts'
import { sha256 } from '../lib/sha256.ts'
import { openForReading } from '../lib/sqlite-file.ts'
import { canonicalText } from '../log/commitment.ts'
import type { LoadedRun } from '../log/run-log.ts'
import { LogPlace } from '../log/stream-pages.ts'
import { runColumns } from './read-model.ts'
import { isCurrent } from './read-model-file.ts'

/** The digest of a run's row. */
type ProjectedRun = { readonly seq: number; readonly digest: string }
/** The contents of a read model file. */
type ProjectedRuns = {
  readonly runs: ReadonlyMap<string, ProjectedRun>
  readonly last: LogPlace | null
  digestOf(run: LoadedRun): string
}

const Row = z.object({ run_id: z.string(), seq: z.int() })

/**
 * Reads a read model file, which a server may have open; null if it does not exist, or another version made it. The
 * error is a sentence for people.
 */
export const readProjected = Result.fromThrowable(
  read,
  (cause) =>
    `the read model cannot be read (${messageOf(cause)}): while no server runs, delete read-model.sqlite*, and its next start rebuilds it from the log`,
)

function read(file: string): ProjectedRuns | null {
  if (!existsSync(file)) return null
  const db = openForReading(file)
  try {
    if (!isCurrent(db)) return null
    // Rows and checkpoint as of one moment.
    db.exec('BEGIN')
    const runs = new Map<string, ProjectedRun>()
    for (const { state, ...columns } of db.prepare('SELECT * FROM runs').iterate()) {
      const { run_id, seq } = Row.parse(columns)
      runs.set(run_id, { seq, digest: digestOf(columns, jsonOr(String(state), state)) })
    }
    const place = 'SELECT event_id AS id, stream, revision, position FROM progress'
    const last = LogPlace.safeParse(db.prepare(place).get()).data ?? null
    return {
      runs,
      last,
      digestOf: (run) => digestOf(runColumns(run), JSON.parse(JSON.stringify(run.state))),
    }
  } finally {
    db.close()
  }
}

function digestOf(columns: object, state: unknown): string {
  return sha256(canonicalText({ columns, state }))
}
