import { err, errAsync, ok, okAsync, type Result, ResultAsync } from 'neverthrow'
import { RunId } from '../../api/fields.ts'
import { runIdOf, streamOf } from '../../log/run-log.ts'
import type { Checkpoint } from '../../projections/batch.ts'
import type {
  EventStore,
  Position,
  ReadError,
  RecordedEvent,
  StoreFailure,
} from '../../store/event-store.ts'
import type { PageDeps } from './run-pages.ts'

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

export type CursorError =
  | StoreFailure
  /** Not a record of this log. The message is for the client. */
  | { readonly type: 'unknown_cursor'; readonly message: string }

/** The position of the record that a cursor names. */
export function locate(cursor: string, store: EventStore): ResultAsync<Position, CursorError> {
  return new ResultAsync(find(cursor, store))
}

async function find(cursor: string, store: EventStore): Promise<Result<Position, CursorError>> {
  const [, packed, seq] = CURSOR.exec(cursor) ?? []
  if (packed === undefined) {
    const message = `"${cursor}" is not a cursor. Take it from a frame, an SSE id or a Link header of this server.`
    return err({ type: 'unknown_cursor', message })
  }
  const place = Buffer.from(packed, 'base64url').toString('hex')
  const read = await store.readStream(streamOf(dashed(place.slice(0, RUN_DIGITS))), {
    from: Number(seq),
    direction: 'forward',
    limit: 1,
  })
  if (read.isErr() && read.error.type !== 'stream_not_found') return err(failure(read.error))
  const event = read.isOk() ? read.value[0] : undefined
  if (event !== undefined && digits(event.id).startsWith(place.slice(RUN_DIGITS))) {
    return ok(event.position)
  }
  const message = 'This cursor does not belong to this log. Start again without it.'
  return err({ type: 'unknown_cursor', message })
}

function failure(error: ReadError): CursorError {
  return error.type === 'stream_not_found'
    ? { type: 'store_failed', message: 'a stream is missing' }
    : error
}

function dashed(hex: string): string {
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20),
  ].join('-')
}

/** Where a client begins to read all runs: after a position, which the cursor names. */
export type AllRunsStart = { readonly position: Position | null; readonly cursor: string | null }

export type StartError =
  | CursorError
  /** This server does not know the end of the log yet. */
  | { readonly type: 'not_projected'; readonly message: string }

type StartDeps = PageDeps & {
  /** The last record that this server has read from the log. */
  readonly checkpoint: () => Checkpoint | null
}

/** @param after as a client gives it: a cursor, `end`, or nothing for all */
export function startAfter(
  after: string | undefined,
  { store, readModel, checkpoint }: StartDeps,
): ResultAsync<AllRunsStart, StartError> {
  if (after === undefined) return okAsync({ position: null, cursor: null })
  if (after !== 'end') return locate(after, store).map((position) => ({ position, cursor: after }))
  if (!readModel.caughtUp) {
    const message = 'The server has not read the log to its end yet. Try again in a moment.'
    return errAsync({ type: 'not_projected', message })
  }
  const last = checkpoint()
  if (last === null) return okAsync({ position: null, cursor: null })
  const runId = runOf(last.stream)
  const cursor =
    runId === null ? null : cursorOf(runId, { revision: last.revision, id: last.eventId })
  return okAsync({ position: last.position, cursor })
}
