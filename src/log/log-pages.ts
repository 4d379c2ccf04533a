import { ok, type Result } from 'neverthrow'
import type { EventStore, RecordedEvent, StoreFailure } from '../store/event-store.ts'

/** A whole log in pages, in the order it was appended. */
export type LogPages = AsyncIterable<Result<readonly RecordedEvent[], StoreFailure>>

/** The whole log of a store that can be followed. */
export async function* pagesOf(store: EventStore): LogPages {
  const caughtUp = new AbortController()
  const all = { after: null, prefix: '', signal: caughtUp.signal }
  for await (const item of store.subscribeAll(all)) {
    if (item.type === 'events') yield ok(item.events)
    else caughtUp.abort()
  }
}
