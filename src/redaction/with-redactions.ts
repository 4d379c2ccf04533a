import { Backoff, type PauseBoundsMs } from '../lib/backoff.ts'
import type { EventStore, RecordedEvent, Subscription } from '../store/event-store.ts'
import type { Redactor } from './redactor.ts'

/** Pauses of a subscription until the redactions can be read. */
const RETRY_MS: PauseBoundsMs = [100, 1_000]

/**
 * The store as all but the redactor read it: without redacted strings, even if the store still has them or cannot
 * erase them.
 */
export function withRedactions(store: EventStore, redactor: Redactor): EventStore {
  const apply = (event: RecordedEvent): RecordedEvent => redactor.apply(event)
  return {
    append: (stream, events, options) => store.append(stream, events, options),
    readStream: (stream, options) =>
      redactor
        .ready()
        .andThen(() => store.readStream(stream, options))
        .map((events) => events.map(apply)),
    subscribeStream: (stream, options) =>
      applied(() => store.subscribeStream(stream, options), redactor, options.signal),
    subscribeAll: (options) => applied(() => store.subscribeAll(options), redactor, options.signal),
    ping: () => store.ping(),
    close: () => store.close(),
  }
}

async function* applied(
  subscribe: () => Subscription,
  redactor: Redactor,
  signal: AbortSignal,
): Subscription {
  const backoff = new Backoff(RETRY_MS)
  while (!signal.aborted) {
    if ((await redactor.ready()).isOk()) break
    await backoff.wait(signal)
  }
  if (signal.aborted) return
  for await (const item of subscribe()) {
    if (item.type !== 'events') yield item
    else yield { type: 'events', events: item.events.map((event) => redactor.apply(event)) }
  }
}
