import type { ResultAsync } from 'neverthrow'
import type { RunRecord } from '../../src/domain/records.ts'
import type { LoggedRecord } from '../../src/log/codec.ts'
import { type Author, chain } from '../../src/log/decider.ts'
import { foldedRun, type LoadedRun, loadedRun, runStream, streamOf } from '../../src/log/run-log.ts'
import type { AppendError, EventStore, NewEvent } from '../../src/store/event-store.ts'

/** Events that are ready to be appended. They come from no command. Appending them again is the same append. */
export type PreparedAppend = {
  readonly runId: string
  readonly expected: number | 'no_stream'
  readonly events: readonly NewEvent[]
  readonly records: readonly LoggedRecord[]
  readonly after: LoadedRun
}

/** Chains, encodes and folds records after `from`; `null` begins the stream. */
export function prepare(
  runId: string,
  from: LoadedRun | null,
  records: readonly RunRecord[],
  author: Author,
): PreparedAppend {
  const chained = chain(runStream(runId), foldedRun(from), records, author)
  const after = loadedRun(chained.after)
  if (after === null) throw new RangeError('an append holds at least one record')
  return { ...chained, runId, expected: from?.state.seq ?? 'no_stream', after }
}

/** Appends prepared records at exactly the revision that they were made for. */
export function append(
  store: EventStore,
  prepared: PreparedAppend,
): ResultAsync<LoadedRun, AppendError> {
  const { runId, expected, events, after } = prepared
  return store.append(streamOf(runId), events, { expectedRevision: expected }).map(() => after)
}
