import type { ResultAsync } from 'neverthrow'
import type { Form } from '../../api/event-query.ts'
import { streamOf } from '../../log/run-log.ts'
import type { ReadModel } from '../../projections/read-model.ts'
import type { EventStore, ReadError, ReadOptions } from '../../store/event-store.ts'
import { type Entry, entriesOf } from './entry.ts'
import { type Damage, type Text, textOf } from './text.ts'

export type PageDeps = {
  readonly store: EventStore
  readonly readModel: Pick<ReadModel, 'get' | 'caughtUp'>
}

/** One page of a run as observers get it. */
export function readPage(
  runId: string,
  options: ReadOptions,
  { store, readModel }: PageDeps,
  form: Form = 'record',
): ResultAsync<Entry[], ReadError> {
  return store.readStream(streamOf(runId), options).map((events) => {
    const projected = readModel.get(runId)?.state.seq ?? -1
    return entriesOf(events, projected, form)
  })
}

/** As `readPage`, for those who need text and no frames. */
export function readTexts(
  runId: string,
  options: ReadOptions,
  { store, readModel }: PageDeps,
  form: Form,
): ResultAsync<(Text | Damage)[], ReadError> {
  return store.readStream(streamOf(runId), options).map((events) => {
    const projected = readModel.get(runId)?.state.seq ?? -1
    return events.map((event) => textOf(event, event.revision <= projected, form))
  })
}
