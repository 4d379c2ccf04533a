import { err, ok, type Result } from 'neverthrow'
import { OWN_STREAM_PREFIX } from '../domain/records.ts'
import {
  type EventStore,
  type RecordedEvent,
  type StoreFailure,
  type Subscription,
  storeWith,
} from '../store/event-store.ts'
import { artifactOfStream } from './artifact-index.ts'
import { eventAt, type StreamReader } from './stream-pages.ts'

/** The stream of heartbeats of the servers that share a log. It is not a ledger: the store may remove old ones. */
export const SERVERS_STREAM = `${OWN_STREAM_PREFIX}servers`

type Head = { readonly revision: number; readonly id: string }

/**
 * The last entry that this process has seen of each ledger of the log. A store that comes back from an older backup may
 * lack only such entries, a token or a redaction, and hold all records of runs.
 */
export class LedgerHeads {
  readonly #heads = new Map<string, Head>()
  /** As they were when the connection was lost: what arrives after that may be of another log. */
  readonly #beforeLoss = new Map<string, Head>()

  /** The store, whose appends, reads and subscriptions are noted here. */
  noting(store: EventStore): EventStore {
    return storeWith(store, {
      append: (stream, events, options) =>
        store.append(stream, events, options).andTee(({ revision }) => {
          const last = events.at(-1)
          if (last !== undefined) this.#note(stream, { revision, id: last.id })
        }),
      readStream: (stream, options) =>
        store.readStream(stream, options).andTee((events) => this.#noteAll(events)),
      subscribeStream: (stream, options) =>
        isLedger(stream)
          ? this.#noted(stream, store.subscribeStream(stream, options))
          : store.subscribeStream(stream, options),
    })
  }

  /** A ledger that does not hold the entry that was seen last; null if each does. */
  async lacking(store: StreamReader): Promise<Result<string | null, StoreFailure>> {
    const lost = [...this.#beforeLoss]
    for (const [stream, head] of [...lost, ...this.#heads]) {
      const read = await eventAt(store, stream, head.revision)
      if (read.isErr()) return err(read.error)
      if (read.value?.id !== head.id) return ok(stream)
    }
    for (const [stream] of lost) this.#beforeLoss.delete(stream)
    return ok(null)
  }

  async *#noted(stream: string, subscription: Subscription): Subscription {
    for await (const item of subscription) {
      if (item.type === 'events') this.#noteAll(item.events)
      if (item.type === 'interrupted') this.#keep(stream)
      yield item
    }
  }

  #keep(stream: string): void {
    const head = this.#heads.get(stream)
    if (head !== undefined && !this.#beforeLoss.has(stream)) this.#beforeLoss.set(stream, head)
  }

  #noteAll(events: readonly RecordedEvent[]): void {
    for (const { stream, revision, id } of events) this.#note(stream, { revision, id })
  }

  #note(stream: string, head: Head): void {
    if (!isLedger(stream)) return
    if (head.revision > (this.#heads.get(stream)?.revision ?? -1)) this.#heads.set(stream, head)
  }
}

const isLedger = (stream: string): boolean =>
  stream.startsWith(OWN_STREAM_PREFIX) &&
  artifactOfStream(stream) === null &&
  stream !== SERVERS_STREAM
