import type { EventStoreDBClient } from '@eventstore/db-client'
import { err, errAsync, Result, ResultAsync } from 'neverthrow'
import { appendBytes } from '../../lib/append-bytes.ts'
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
import { type Address, probeHosts } from './address.ts'
import { BatchAppends } from './batch-appends.ts'
import {
  appendError,
  appendWithin,
  call,
  clientMessageOf,
  inTime,
  readError,
  storeFailure,
} from './calls.ts'
import { proxyVariable, scrubbed } from './connect.ts'
import { decodePosition, positionInAll, toEventData } from './event-format.ts'
import { follow } from './follow.ts'
import { answeringNode, ofAll, ofStream, page, protocolOf, readPage } from './protocol.ts'
import { allSource, streamSource } from './sources.ts'

/** The nodes are tried one by one at most this often, milliseconds. */
const DIAGNOSE_EVERY_MS = 5_000

/** The node that answers first: with a cluster it is the leader. */
export type AnsweringNode = { readonly version: string; readonly leader: string }

type ClientOptions = {
  readonly address: Address
  readonly timeoutMs: number
  /** Removes secrets from a text. */
  readonly scrub: (text: string) => string
  readonly log: (message: string) => void
  /** Called at the first answer. */
  readonly onAnswer: (node: AnsweringNode) => void
}

/** The port over one client. */
export class ClientStore implements EventStore {
  readonly #client: EventStoreDBClient
  readonly #batches: BatchAppends
  readonly #options: ClientOptions
  #hasAnswered = false
  readonly #closing = new AbortController()
  readonly #underWay = new Set<Promise<unknown>>()
  #diagnosis: Promise<readonly string[]> = Promise.resolve([])
  #diagnosedAt = Number.NEGATIVE_INFINITY

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
    const once = this.#appendOnce(stream, events, expectedRevision)
    if (once.isErr()) return errAsync(once.error)
    return this.#do(
      () => appendWithin(this.#options.timeoutMs, once.value),
      (cause) => appendError(cause, { expected: expectedRevision, bytes }),
    ).map((revision) => ({ revision }))
  }

  /** One attempt, with a time limit in milliseconds. The error: the text is not JSON. */
  #appendOnce(
    stream: string,
    events: readonly NewEvent[],
    expectedRevision: ExpectedRevision,
  ): Result<(ms: number) => Promise<Revision>, StoreFailure> {
    return encoded(events).map((data) => async (deadline) => {
      // Only these can be repeated with certainty, so only these may share a call that may end.
      if (typeof expectedRevision === 'number' || expectedRevision === 'no_stream') {
        return this.#batches.append({ stream, events, expectedRevision }, deadline)
      }
      const options = { expectedRevision, requiresLeader: true, deadline }
      const appending = this.#client.appendToStream(stream, data(), options)
      const appended = await inTime(deadline, appending)
      return Number(appended.nextExpectedRevision)
    })
  }

  readStream(stream: string, options: ReadOptions): ResultAsync<RecordedEvent[], ReadError> {
    // There is nothing after the end. A read of the last event shows whether the stream exists.
    const onlyExistence = options.from === 'end' && options.direction === 'forward'
    const direction = onlyExistence ? 'backward' : options.direction
    const limit = onlyExistence ? 1 : Math.min(options.limit, MAX_PAGE)
    const from = typeof options.from === 'number' ? BigInt(options.from) : options.from
    const request = page(ofStream(stream, from), direction, limit)
    const once = () => readPage(protocolOf(this.#client), request, this.#options.timeoutMs)
    return this.#do(once, (cause) => readError(cause, stream)).map((events) =>
      onlyExistence ? [] : events.map(positionInAll),
    )
  }

  subscribeStream(
    stream: string,
    options: { readonly after: Revision; readonly signal: AbortSignal },
  ): Subscription {
    const source = streamSource(this.#client, stream, this.#options.timeoutMs)
    const after = options.after < 0 ? null : BigInt(options.after)
    return follow(source, after, { signal: this.#until(options.signal), log: this.#options.log })
  }

  subscribeAll(options: {
    readonly after: string | null
    readonly prefix: string
    readonly signal: AbortSignal
  }): Subscription {
    const source = allSource(this.#client, options.prefix, this.#options.timeoutMs)
    const after = options.after === null ? null : decodePosition(options.after)
    return follow(source, after, { signal: this.#until(options.signal), log: this.#options.log })
  }

  deleteStream(stream: string): ResultAsync<void, StoreFailure> {
    const options = { expectedRevision: 'any', requiresLeader: true } as const
    const once = () =>
      appendWithin(this.#options.timeoutMs, (deadline) =>
        inTime(deadline, this.#client.deleteStream(stream, { ...options, deadline })),
      )
    return this.#do(once, storeFailure).map(() => undefined)
  }

  keepLatest(stream: string, count: number): ResultAsync<void, StoreFailure> {
    const limit = async (deadline: number): Promise<void> => {
      const options = { requiresLeader: true, deadline }
      const { metadata = {} } = await this.#client.getStreamMetadata(stream, options)
      const { maxCount, maxAge, truncateBefore } = metadata
      if ((maxCount ?? maxAge ?? truncateBefore) !== undefined) return
      await this.#client.setStreamMetadata(stream, { ...metadata, maxCount: count }, options)
    }
    const once = () =>
      appendWithin(this.#options.timeoutMs, (deadline) => inTime(deadline, limit(deadline)))
    return this.#do(once, storeFailure)
  }

  ping(): ResultAsync<void, StoreFailure> {
    const request = page(ofAll('end'), 'backward', 1)
    const once = () => readPage(protocolOf(this.#client), request, this.#options.timeoutMs)
    return this.#do(once, storeFailure)
      .map(() => undefined)
      .orElse((error) => {
        if (error.type !== 'store_unavailable') return errAsync(error)
        const diagnosed = this.diagnose().then((why) => ({
          ...error,
          message: why || error.message,
        }))
        return new ResultAsync(diagnosed.then((failure) => err(failure)))
      })
  }

  /** What keeps the nodes from answering, and what to do; empty if each can be reached. */
  async diagnose(): Promise<string> {
    if (performance.now() - this.#diagnosedAt > DIAGNOSE_EVERY_MS) {
      this.#diagnosedAt = performance.now()
      this.#diagnosis = probeHosts(this.#options.address)
    }
    const problems = await this.#diagnosis
    if (problems.length > 0) return `EventStoreDB does not answer: ${problems.join(' ')}`
    const proxy = proxyVariable(this.#options.address.hosts, process.env)
    return proxy === null
      ? ''
      : `EventStoreDB does not answer through the proxy in ${proxy}, but its hosts can be reached without it. List them in no_proxy.`
  }

  async #noteAnswer(): Promise<void> {
    if (this.#hasAnswered) return
    this.#hasAnswered = true
    const node = await answeringNode(this.#client).catch(() => null)
    if (node !== null && !this.#closing.signal.aborted) this.#options.onAnswer(node)
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await Promise.allSettled(this.#underWay)
    this.#batches.close()
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
    const answer = call(once).then((value) => {
      void this.#noteAnswer()
      return value
    })
    this.#underWay.add(answer)
    const settled = answer.finally(() => this.#underWay.delete(answer))
    return ResultAsync.fromPromise(settled, (cause) =>
      scrubbed(toError(cause), this.#options.scrub),
    )
  }
}

/** Checks that events are JSON text; returns what makes the client's form of them. */
const encoded = Result.fromThrowable(
  (events: readonly NewEvent[]) => {
    for (const { data } of events) JSON.parse(data)
    return () => events.map(toEventData)
  },
  (cause): StoreFailure => {
    return { type: 'store_failed', message: `Events must be JSON text: ${clientMessageOf(cause)}` }
  },
)
