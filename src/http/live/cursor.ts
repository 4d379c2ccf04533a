import { err, ok, type Result, ResultAsync } from 'neverthrow'
import { RunId } from '../../api/run-id.ts'
import { runIdOf, streamOf } from '../../log/run-log.ts'
import type {
  EventStore,
  Position,
  ReadError,
  RecordedEvent,
  StoreFailure,
} from '../../store/event-store.ts'

/**
 * A cursor over all runs names the record that was delivered last: its run and the first bits of its
 * id, which is made of its hash, then its seq. The store is asked for the record's place in the log
 * when somebody resumes. So it holds for every server on the log and after a restart, and after the log
 * was moved to another store; and one that was made for another log is found out.
 */
const CURSOR = /^([\w-]{32})\.(\d{1,15})$/
const [RUN_DIGITS, ID_DIGITS] = [32, 16]

const digits = (uuid: string): string => uuid.replaceAll('-', '')

/** The run that a stream holds; null for a stream that is no run's. */
export function runOf(stream: string): string | null {
  const runId = runIdOf(stream)
  const parsed = RunId.safeParse(runId)
  return parsed.success && parsed.data === runId ? runId : null
}

/** @param runId as `runOf` gives it */
export function cursorOf(
  runId: string,
  { revision, id }: Pick<RecordedEvent, 'revision' | 'id'>,
): string {
  const place = digits(runId) + digits(id).slice(0, ID_DIGITS)
  return `${Buffer.from(place, 'hex').toString('base64url')}.${revision}`
}

export type CursorError =
  | StoreFailure
  /** No record of this log. The message is for the client. */
  | { readonly type: 'unknown_cursor'; readonly message: string }

/** The place in the log of the record that a cursor names. */
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
  const message =
    'The cursor names a record that is not in the log of this server: it was made for another log. Begin anew without it.'
  return err({ type: 'unknown_cursor', message })
}

function failure(error: ReadError): CursorError {
  return error.type === 'stream_not_found'
    ? { type: 'store_failed', message: 'a stream is gone' }
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
