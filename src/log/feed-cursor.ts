import { err, errAsync, ok, type ResultAsync } from 'neverthrow'
import * as z from 'zod'
import type { Position, RecordedEvent, StoreFailure } from '../store/event-store.ts'
import { runIdOf, streamOf } from './run-log.ts'
import { eventAt, type StreamReader } from './stream-pages.ts'

/**
 * A cursor over all runs names the last record that was delivered: its run, the first bits of its id,
 * which derives from its hash, and its seq. The store looks up the position of the record when a client
 * resumes. So a cursor is valid for every server on the log, after a restart, and after the log was moved
 * to another store; a cursor of another log is detected.
 */
const CURSOR = /^([\w-]{32})\.(\d{1,15})$/
const RUN_DIGITS = 32
const ID_DIGITS = 16

const digits = (uuid: string): string => uuid.replaceAll('-', '')

const RunId = z.uuid().lowercase()

/** The run that a stream holds; null if it holds no run. */
export function runOf(stream: string): string | null {
  return RunId.safeParse(runIdOf(stream)).data ?? null
}

/** @param runId as `runOf` returns it */
export function cursorOf(
  runId: string,
  { revision, id }: Pick<RecordedEvent, 'revision' | 'id'>,
): string {
  const place = digits(runId) + digits(id).slice(0, ID_DIGITS)
  return `${Buffer.from(place, 'hex').toString('base64url')}.${revision}`
}

/** The record that a cursor names, and the first digits of its id; null for what is no cursor. */
export function recordIn(cursor: string): { stream: string; seq: number; id: string } | null {
  const [, packed, seq] = CURSOR.exec(cursor) ?? []
  if (packed === undefined) return null
  const place = Buffer.from(packed, 'base64url').toString('hex')
  const runId = place.slice(0, RUN_DIGITS).replace(/(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
  return { stream: streamOf(runId), seq: Number(seq), id: place.slice(RUN_DIGITS) }
}

/** The text is not a cursor, or names a record that is not in this log. */
export type UnknownCursor = { readonly type: 'unknown_cursor'; readonly isCursor: boolean }

/** The position of the record that a cursor names. */
export function positionOf(
  cursor: string,
  store: StreamReader,
): ResultAsync<Position, UnknownCursor | StoreFailure> {
  const named = recordIn(cursor)
  if (named === null) return errAsync({ type: 'unknown_cursor', isCursor: false })
  const { stream, seq, id } = named
  return eventAt(store, stream, seq).andThen((event) =>
    event !== null && digits(event.id).startsWith(id)
      ? ok(event.position)
      : err<never, UnknownCursor>({ type: 'unknown_cursor', isCursor: true }),
  )
}
