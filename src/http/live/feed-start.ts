import { errAsync, okAsync, type ResultAsync } from 'neverthrow'
import type { Position } from '../../store/event-store.ts'
import { type CursorError, cursorOf, locate, runOf } from './cursor.ts'
import type { LiveDeps } from './live.ts'

/** Where an observer of all runs begins: behind which place, and the cursor that names it. */
export type FeedStart = { readonly position: Position | null; readonly cursor: string | null }

export type FeedStartError =
  | CursorError
  /** The end of the log is not known to this server yet. */
  | { readonly type: 'not_projected'; readonly message: string }

/** @param after as a client gives it: a cursor, `end`, or nothing for all */
export function feedStart(
  after: string | undefined,
  { store, readModel, checkpoint }: Pick<LiveDeps, 'store' | 'readModel' | 'checkpoint'>,
): ResultAsync<FeedStart, FeedStartError> {
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
