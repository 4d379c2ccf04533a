import { err, ok, type Result, type ResultAsync } from 'neverthrow'
import type { EventStore, ReadError, RecordedEvent } from '../store/event-store.ts'
import { streamOf } from './run-log.ts'

/** The part of a store from which runs are read; a log that is open for reading only has it too. */
export type RunReader = Pick<EventStore, 'readStream'>

/** Records hold tens of kilobytes at most, so a page stays within some megabytes. */
const PAGE = 100

/** The records from 0 up to (not including) `length`, in pages. */
export async function* runPages(
  store: RunReader,
  runId: string,
  length: number,
): AsyncGenerator<Result<readonly RecordedEvent[], ReadError>> {
  for (let from = 0; from < length; ) {
    const limit = Math.min(PAGE, length - from)
    const page = await store.readStream(streamOf(runId), { from, direction: 'forward', limit })
    yield page
    if (page.isErr()) return
    if (page.value.length === 0) {
      yield err({ type: 'store_failed', message: `${streamOf(runId)} ends before record ${from}` })
      return
    }
    from += page.value.length
  }
}

/** The last record of a run; `stream_not_found` for no run. */
export function lastEvent(store: RunReader, runId: string): ResultAsync<RecordedEvent, ReadError> {
  const stream = streamOf(runId)
  return store
    .readStream(stream, { from: 'end', direction: 'backward', limit: 1 })
    .andThen(([event]): Result<RecordedEvent, ReadError> => {
      return event === undefined ? err({ type: 'stream_not_found', stream }) : ok(event)
    })
}
