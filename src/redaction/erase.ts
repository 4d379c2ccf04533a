import { streamOf } from '../log/run-log.ts'
import type { EventStore, Overwrite, RecordedEvent } from '../store/event-store.ts'
import type { LoggedRedaction } from './redaction-ledger.ts'

/**
 * Overwrites the records that strings were taken out of, also those that lack them already: only so it
 * is sure that nothing of them is left in the files. Records that are not there are left out.
 * @param without the event without the strings
 * @throws where the store cannot do it now
 */
export async function eraseFrom(
  store: EventStore,
  redactions: readonly LoggedRedaction[],
  without: (event: RecordedEvent) => RecordedEvent,
): Promise<void> {
  const events = new Map<string, Overwrite>()
  for (const { record } of redactions) {
    const { run_id, seq } = record.payload
    const options = { from: seq, direction: 'forward', limit: 1 } as const
    const page = await store.readStream(streamOf(run_id), options)
    if (page.isErr() && page.error.type !== 'stream_not_found') throw failure(page.error)
    for (const event of page.unwrapOr([])) events.set(`${run_id}/${seq}`, without(event))
  }
  if (events.size === 0) return
  const done = await store.overwrite?.([...events.values()])
  if (done?.isErr() === true) throw failure(done.error)
}

const failure = (error: { readonly type: string; readonly message?: string }): Error =>
  new Error(`${error.type}: ${error.message ?? JSON.stringify(error)}`)
