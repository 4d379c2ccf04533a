import type { EventStoreDBClient } from '@eventstore/db-client'
import type { ReadReq } from '@eventstore/db-client/generated/streams_pb.js'
import { err, errAsync, ok, type Result, ResultAsync } from 'neverthrow'
import { within } from '../../lib/promises.ts'
import {
  type AppendError,
  type Appended,
  appendBytes,
  type EventStore,
  type ExpectedRevision,
  MAX_APPEND_BYTES,
  MAX_PAGE,
  type NewEvent,
  type ReadError,
  type ReadOptions,
  type RecordedEvent,
  type Revision,
  type StoreFailure,
  type Subscription,
} from '../event-store.ts'
import { BatchAppends } from './batch-appends.ts'
import {
  appendError,
  appendWithin,
  call,
  inTime,
  isTombstone,
  readError,
  storeFailure,
} from './calls.ts'
import {
  optionOf,
  readConnectionString,
  scrubbed,
  scrubber,
  unusable,
} from './connection-string.ts'
import { decodePosition, positionInAll } from './event-format.ts'
import { follow } from './follow.ts'
import { connect, ofAll, ofStream, page, protocolOf, readPage } from './protocol.ts'
import { allSource, type Source, streamSource } from './sources.ts'

/** How long the server may take for one call. */
const CALL_TIMEOUT_MS = 10_000
/** How long opening the store waits for a first answer. */
const FIRST_ANSWER_MS = 2_000

export type EventStoreDbOptions = {
  /** `esdb://…` or `esdb+discover://…` */
  readonly connectionString: string
  /** Logs lost connections, without passwords. */
  readonly log?: (message: string) => void
  /** How long a call waits for its answer, in milliseconds; else `defaultDeadline` of the string. */
  readonly timeoutMs?: number
}

/**
 * Opens a store in an EventStoreDB. If the server cannot be reached, that is not an error here: all calls fail with
 * `store_unavailable` until it can be reached.
 * @returns `store_failed` for a bad connection string, or a server that refuses the credentials
 */
export function openEventStoreDb(
  options: EventStoreDbOptions,
): ResultAsync<EventStore, StoreFailure> {
  const scrub = scrubber(options.connectionString)
  const open = async (): Promise<Result<EventStore, StoreFailure>> => {
    const read = readConnectionString(options.connectionString)
    if (read.isErr()) return err(unusable(read.error))
    const address = read.value
    const log = (message: string) => options.log?.(scrub(message))
    const client = connect(address, log)
    if (client.isErr()) return err(scrubbed(client.error, scrub))
    const named = Number(optionOf(address.options, 'defaultdeadline'))
    const store = new ClientStore(client.value, {
      scrub,
      log,
      timeoutMs: options.timeoutMs ?? (named || CALL_TIMEOUT_MS),
    })
    const first = await within(FIRST_ANSWER_MS, store.ping(), () => null)
    if (first === null) log('EventStoreDB does not answer yet.')
    if (first?.isErr() !== true) return ok(store)
    log(first.error.message)
    if (first.error.type === 'store_unavailable') return ok(store)
    await store.close()
    return err(first.error)
  }
  return new ResultAsync(open())
}

type ClientOptions = {
  readonly timeoutMs: number
  /** Removes secrets from a text. */
  readonly scrub: (text: string) => string
  readonly log: (message: string) => void
}

/** The port over one client. */
class ClientStore implements EventStore {
  readonly #client: EventStoreDBClient
  readonly #batches: BatchAppends
  readonly #options: ClientOptions
  readonly #closing = new AbortController()
  readonly #underWay = new Set<Promise<unknown>>()

  constructor(client: EventStoreDBClient, options: ClientOptions) {
    this.#client = client
    this.#batches = new BatchAppends(client)
    this.#options = options
  }

  append(
    stream: string,
    events: readonly NewEvent[],
    { expectedRevision }: { readonly expectedRevision: ExpectedRevision },
  ): ResultAsync<Appended, AppendError> {
    const bytes = appendBytes(events)
    if (bytes > MAX_APPEND_BYTES) {
      return errAsync({ type: 'append_too_large', bytes, limit: MAX_APPEND_BYTES })
    }
    const append = { stream, events, expectedRevision }
    return this.#write(
      (ms) => this.#batches.append(append, ms),
      (cause) => appendError(cause, { expected: expectedRevision, bytes }),
    ).map((revision) => ({ revision }))
  }

  readStream(
    stream: string,
    { from, direction, limit }: ReadOptions,
  ): ResultAsync<RecordedEvent[], ReadError> {
    const place = ofStream(stream, from === 'end' ? from : BigInt(from))
    const request = page(place, direction, Math.min(limit, MAX_PAGE))
    return this.#read(request, (cause) => readError(cause, stream)).map((events) =>
      events.map(positionInAll),
    )
  }

  subscribeStream(
    stream: string,
    options: { readonly after: Revision; readonly signal: AbortSignal },
  ): Subscription {
    const source = streamSource(this.#client, stream, this.#options.timeoutMs)
    const after = options.after < 0 ? null : BigInt(options.after)
    return this.#follow(source, after, options.signal)
  }

  subscribeAll(options: {
    readonly after: string | null
    readonly prefix: string
    readonly signal: AbortSignal
  }): Subscription {
    const source = allSource(this.#client, options.prefix, this.#options.timeoutMs)
    const after = options.after === null ? null : decodePosition(options.after)
    return this.#follow(source, after, options.signal)
  }

  deleteStream(stream: string): ResultAsync<void, StoreFailure> {
    const options = { expectedRevision: 'any', requiresLeader: true } as const
    const remove = (deadline: number) => this.#client.deleteStream(stream, { ...options, deadline })
    return this.#write((ms) => inTime(ms, remove(ms)), storeFailure).map(() => undefined)
  }

  removeStream(stream: string, last: Revision): ResultAsync<void, AppendError> {
    const options = { expectedRevision: BigInt(last), requiresLeader: true } as const
    const remove = async (deadline: number): Promise<void> => {
      const removed = this.#client.tombstoneStream(stream, { ...options, deadline })
      await inTime(deadline, removed).catch((cause: unknown) => {
        if (!isTombstone(cause)) throw cause
      })
    }
    return this.#write(remove, (cause) => appendError(cause, { expected: last, bytes: 0 }))
  }

  keepLatest(stream: string, count: number): ResultAsync<void, StoreFailure> {
    const limit = async (deadline: number): Promise<void> => {
      const options = { requiresLeader: true, deadline }
      const { metadata = {} } = await this.#client.getStreamMetadata(stream, options)
      const { maxCount, maxAge, truncateBefore } = metadata
      if ((maxCount ?? maxAge ?? truncateBefore) !== undefined) return
      await this.#client.setStreamMetadata(stream, { ...metadata, maxCount: count }, options)
    }
    return this.#write((ms) => inTime(ms, limit(ms)), storeFailure)
  }

  ping(): ResultAsync<void, StoreFailure> {
    return this.#read(page(ofAll('end'), 'backward', 1), storeFailure).map(() => undefined)
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await Promise.allSettled(this.#underWay)
    this.#batches.close()
    await this.#client.dispose()
  }

  #follow<P>(source: Source<P>, after: P | null, signal: AbortSignal): Subscription {
    const until = AbortSignal.any([signal, this.#closing.signal])
    return follow(source, after, { signal: until, log: this.#options.log })
  }

  #read<E extends { readonly type: string }>(request: ReadReq, toError: (cause: unknown) => E) {
    const { timeoutMs } = this.#options
    return this.#do(() => readPage(protocolOf(this.#client), request, timeoutMs), toError)
  }

  /** @param once makes the change within so many milliseconds; it is repeated if the server has dropped it */
  #write<T, E extends { readonly type: string }>(
    once: (ms: number) => Promise<T>,
    toError: (cause: unknown) => E,
  ): ResultAsync<T, E | StoreFailure> {
    return this.#do(() => appendWithin(this.#options.timeoutMs, once), toError)
  }

  #do<T, E extends { readonly type: string }>(
    once: () => Promise<T>,
    toError: (cause: unknown) => E,
  ): ResultAsync<T, E | StoreFailure> {
    if (this.#closing.signal.aborted) {
      return errAsync({ type: 'store_unavailable', message: 'The store is closed' })
    }
    const answer = call(once)
    this.#underWay.add(answer)
    const settled = answer.finally(() => this.#underWay.delete(answer))
    return ResultAsync.fromPromise(settled, (cause) =>
      scrubbed(toError(cause), this.#options.scrub),
    )
  }
}
