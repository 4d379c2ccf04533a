import { err, errAsync, ok, okAsync, type Result, ResultAsync } from 'neverthrow'
import type { Problem } from '../../api/problems.ts'
import { cursorOf, positionOf, runOf } from '../../log/feed-cursor.ts'
import { RUN_STREAM_PREFIX } from '../../log/run-log.ts'
import { type LogPlace, logPages } from '../../log/stream-pages.ts'
import type { ReadModel } from '../../projections/read-model.ts'
import type { EventStore, Position } from '../../store/event-store.ts'
import { problemOf } from '../problems/problem-of.ts'

/** The position of the record that a cursor names. */
export const locate = (cursor: string, store: EventStore): ResultAsync<Position, Problem> =>
  positionOf(cursor, store).mapErr((error) => {
    if (error.type !== 'unknown_cursor') return problemOf(error)
    const detail = `"${cursor}" is not a cursor. Take it from a frame, an SSE id or a Link header of this server.`
    return { code: 'unknown_cursor', ...(error.isCursor ? {} : { detail }) }
  })

/** Where a client begins to read all runs: after a position, which the cursor names. */
export type AllRunsStart = { readonly position: Position | null; readonly cursor: string | null }

type StartDeps = {
  readonly store: EventStore
  readonly readModel: Pick<ReadModel, 'caughtUp'>
  /** The last record that this server has read from the log. */
  readonly checkpoint: () => LogPlace | null
}

/** @param after as a client gives it: a cursor, `end`, or nothing for all */
export function startAfter(
  after: string | undefined,
  { store, readModel, checkpoint }: StartDeps,
): ResultAsync<AllRunsStart, Problem> {
  if (after === undefined) return okAsync({ position: null, cursor: null })
  if (after !== 'end') return locate(after, store).map((position) => ({ position, cursor: after }))
  if (readModel.caughtUp) return new ResultAsync(endAfter(checkpoint(), store))
  const detail = 'The server has not read the log to its end yet. Try again in a moment.'
  return errAsync({ code: 'not_projected', detail })
}

/** How long a store may be silent while the end of its log is looked up. */
const END_SILENT_MS = 5_000

/** The end of the log: this server may not have read the last records yet, which are committed. */
async function endAfter(
  known: LogPlace | null,
  store: EventStore,
): Promise<Result<AllRunsStart, Problem>> {
  let last = known
  const rest = { after: last?.position ?? null, prefix: RUN_STREAM_PREFIX }
  for await (const page of logPages(store, { ...rest, silentMs: END_SILENT_MS })) {
    if (page.isErr()) return err(problemOf(page.error))
    last = page.value.at(-1) ?? last
  }
  if (last === null) return ok({ position: null, cursor: null })
  const runId = runOf(last.stream)
  return ok({ position: last.position, cursor: runId === null ? null : cursorOf(runId, last) })
}
