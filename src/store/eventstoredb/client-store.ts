import {
  type AppendExpectedRevision,
  BACKWARDS,
  END,
  type EventStoreDBClient,
  FORWARDS,
  type ReadRevision,
} from '@eventstore/db-client'
import { errAsync, Result, ResultAsync } from 'neverthrow'
import {
  type AppendError,
  type Appended,
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
import { allSource } from './all-source.ts'
import { call, collect, within } from './calls.ts'
import { decodePosition, positionInAll, toEventData, toRecordedEvent } from './events.ts'
import { appendError, clientMessageOf, readError, storeFailure } from './failures.ts'
import { follow } from './follow.ts'
import { redacted } from './redact.ts'
import { streamSource } from './stream-source.ts'

/** The port over one client. */
export class ClientStore implements EventStore {
  readonly #client: EventStoreDBClient
  readonly #timeoutMs: number
  readonly #redact: (text: string) => string
  readonly #log: (message: string) => void
  readonly #closing = new AbortController()
  readonly #underWay = new Set<Promise<unknown>>()

  constructor(
    client: EventStoreDBClient,
    options: {
      readonly timeoutMs: number
      readonly redact: (text: string) => string
      readonly log: (message: string) => void
    },
  ) {
    this.#client = client
    this.#timeoutMs = options.timeoutMs
    this.#redact = options.redact
    this.#log = options.log
  }

  append(
    stream: string,
    events: readonly NewEvent[],
    { expectedRevision }: { readonly expectedRevision: ExpectedRevision },
  ): ResultAsync<Appended, AppendError> {
    const bytes = events.reduce((sum, event) => sum + sizeOf(event), 0)
    if (bytes > MAX_APPEND_BYTES) {
      return errAsync({ type: 'append_too_large', bytes, limit: MAX_APPEND_BYTES })
    }
    const data = encoded(events)
    if (data.isErr()) return errAsync(data.error)
    const options = {
      expectedRevision: toClientRevision(expectedRevision),
      deadline: this.#timeoutMs,
      requiresLeader: true,
    }
    const once = () =>
      within(this.#timeoutMs, this.#client.appendToStream(stream, data.value, options))
    return this.#do(once, (cause) => appendError(cause, { expected: expectedRevision, bytes })).map(
      ({ nextExpectedRevision }) => ({ revision: Number(nextExpectedRevision) }),
    )
  }

  readStream(stream: string, options: ReadOptions): ResultAsync<RecordedEvent[], ReadError> {
    // Nothing lies behind the end; what is read in front of it tells whether there is a stream.
    const onlyExistence = options.from === 'end' && options.direction === 'forward'
    const request = {
      fromRevision: toClientPlace(options.from),
      direction: options.direction === 'forward' && !onlyExistence ? FORWARDS : BACKWARDS,
      maxCount: onlyExistence ? 1 : Math.min(options.limit, MAX_PAGE),
      requiresLeader: true,
    } as const
    const once = () => collect(this.#timeoutMs, this.#client.readStream(stream, request))
    return this.#do(once, (cause) => readError(cause, stream)).map((events) =>
      events
        .slice(0, onlyExistence ? 0 : undefined)
        .flatMap(({ event }) => (event === undefined ? [] : toRecordedEvent(positionInAll(event)))),
    )
  }

  subscribeStream(
    stream: string,
    options: { readonly after: Revision; readonly signal: AbortSignal },
  ): Subscription {
    const source = streamSource(this.#client, stream, this.#timeoutMs)
    const after = options.after < 0 ? null : BigInt(options.after)
    return follow(source, after, { signal: this.#until(options.signal), log: this.#log })
  }

  subscribeAll(options: {
    readonly after: string | null
    readonly prefix: string
    readonly signal: AbortSignal
  }): Subscription {
    const source = allSource(this.#client, options.prefix, this.#timeoutMs)
    const after = options.after === null ? null : decodePosition(options.after)
    return follow(source, after, { signal: this.#until(options.signal), log: this.#log })
  }

  ping(): ResultAsync<void, StoreFailure> {
    const last = { direction: BACKWARDS, fromPosition: END, maxCount: 1 } as const
    const request = { ...last, requiresLeader: true }
    const once = () => collect(this.#timeoutMs, this.#client.readAll(request))
    return this.#do(once, storeFailure).map(() => undefined)
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await Promise.allSettled(this.#underWay)
    await this.#client.dispose()
  }

  #until(signal: AbortSignal): AbortSignal {
    return AbortSignal.any([signal, this.#closing.signal])
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
    return ResultAsync.fromPromise(settled, (cause) => redacted(toError(cause), this.#redact))
  }
}

const encoded = Result.fromThrowable(
  (events: readonly NewEvent[]) => events.map(toEventData),
  (cause): StoreFailure => {
    return { type: 'store_failed', message: `Events must be JSON text: ${clientMessageOf(cause)}` }
  },
)

const sizeOf = ({ data, metadata }: NewEvent): number => {
  return Buffer.byteLength(data) + Buffer.byteLength(metadata)
}

const toClientRevision = (expected: ExpectedRevision): AppendExpectedRevision => {
  return typeof expected === 'number' ? BigInt(expected) : expected
}

const toClientPlace = (from: ReadOptions['from']): ReadRevision => {
  return typeof from === 'number' ? BigInt(from) : from
}
