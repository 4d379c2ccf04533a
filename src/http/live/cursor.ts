import { err, errAsync, ok, okAsync, type Result, ResultAsync } from 'neverthrow'
import { RunId } from '../../api/fields.ts'
import type { Problem } from '../../api/problems.ts'
import { RUN_STREAM_PREFIX, runIdOf, streamOf } from '../../log/run-log.ts'
import { eventAt, logPages } from '../../log/stream-pages.ts'
import type { Checkpoint } from '../../projections/batch.ts'
import type { ReadModel } from '../../projections/read-model.ts'
import type { EventStore, Position, RecordedEvent } from '../../store/event-store.ts'
import { commandProblem } from '../problems/problem-of.ts'

/**
 * A cursor over all runs names the last record that was delivered: its run, the first bits of its id,
 * which derives from its hash, and its seq. The store looks up the position of the record when a client
 * resumes. So a cursor is valid for every server on the log, after a restart, and after the log was moved
 * to another store; a cursor of another log is detected.
 */
const CURSOR = /^([\w-]{32})\.(\d{1,15})$/
const [RUN_DIGITS, ID_DIGITS] = [32, 16]

const digits = (uuid: string): string => uuid.replaceAll('-', '')

/** The run that a stream holds; null if it holds no run. */
export function runOf(stream: string): string | null {
  const runId = runIdOf(stream)
  const parsed = RunId.safeParse(runId)
  return parsed.success && parsed.data === runId ? runId : null
}

/** @param runId as `runOf` returns it */
export function cursorOf(
  runId: string,
  { revision, id }: Pick<RecordedEvent, 'revision' | 'id'>,
): string {
  const place = digits(runId) + digits(id).slice(0, ID_DIGITS)
  return `${Buffer.from(place, 'hex').toString('base64url')}.${revision}`
}

/** The position of the record that a cursor names. */
export function locate(cursor: string, store: EventStore): ResultAsync<Position, Problem> {
  const [, packed, seq] = CURSOR.exec(cursor) ?? []
  if (packed === undefined) {
    const detail = `"${cursor}" is not a cursor. Take it from a frame, an SSE id or a Link header of this server.`
    return errAsync({ code: 'unknown_cursor', detail })
  }
  const place = Buffer.from(packed, 'base64url').toString('hex')
  const runId = place.slice(0, RUN_DIGITS).replace(/(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
  return eventAt(store, streamOf(runId), Number(seq))
    .mapErr(commandProblem)
    .andThen((event) =>
      event !== null && digits(event.id).startsWith(place.slice(RUN_DIGITS))
        ? ok(event.position)
        : err<never, Problem>({ code: 'unknown_cursor' }),
    )
}

/** Where a client begins to read all runs: after a position, which the cursor names. */
export type AllRunsStart = { readonly position: Position | null; readonly cursor: string | null }

type StartDeps = {
  readonly store: EventStore
  readonly readModel: Pick<ReadModel, 'caughtUp'>
  /** The last record that this server has read from the log. */
  readonly checkpoint: () => Checkpoint | null
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
  known: Checkpoint | null,
  store: EventStore,
): Promise<Result<AllRunsStart, Problem>> {
  let last: Pick<RecordedEvent, 'position' | 'stream' | 'revision' | 'id'> | null =
    known === null ? null : { ...known, id: known.eventId }
  const rest = { after: last?.position ?? null, prefix: RUN_STREAM_PREFIX }
  for await (const page of logPages(store, { ...rest, silentMs: END_SILENT_MS })) {
    if (page.isErr()) return err(commandProblem(page.error))
    last = page.value.at(-1) ?? last
  }
  if (last === null) return ok({ position: null, cursor: null })
  const runId = runOf(last.stream)
  return ok({ position: last.position, cursor: runId === null ? null : cursorOf(runId, last) })
}
