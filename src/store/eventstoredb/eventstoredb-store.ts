import { setTimeout } from 'node:timers/promises'
import type { EventStoreDBClient } from '@eventstore/db-client'
import { err, errAsync, ok, Result, ResultAsync } from 'neverthrow'
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
import { type Address, probeHosts, readAddress } from './address.ts'
import { BatchAppends } from './batch-appends.ts'
import {
  appendError,
  appendWithin,
  call,
  clientMessageOf,
  readError,
  storeFailure,
  THE_USER,
  within,
} from './calls.ts'
import {
  connect,
  namedDeadline,
  proxyVariable,
  scrubbed,
  scrubber,
  silenceServername,
  unusable,
} from './connect.ts'
import { decodePosition, positionInAll, toEventData } from './event-format.ts'
import { follow } from './follow.ts'
import { answeringNode, ofAll, ofStream, page, protocolOf, readPage } from './protocol.ts'
import { allSource, streamSource } from './sources.ts'

/** How long the server may take for one call. */
const CALL_TIMEOUT_MS = 10_000
/** How long opening the store waits for a first answer. */
const FIRST_ANSWER_MS = 2_000
/** The nodes are tried one by one at most this often, milliseconds. */
const DIAGNOSE_EVERY_MS = 5_000

export type EventStoreDbOptions = {
  /** `esdb://…` or `esdb+discover://…` */
  readonly connectionString: string
  /** Logs lost connections, without passwords. */
  readonly log?: (message: string) => void
  /** Called at the first answer of the store. */
  readonly onAnswer?: (node: AnsweringNode) => void
  /** How long a call waits for its answer, in milliseconds; else `defaultDeadline` of the string. */
  readonly timeoutMs?: number
}

/** The node that answers first: with a cluster it is the leader. */
type AnsweringNode = { readonly version: string; readonly leader: string }

/**
 * Opens a store in an EventStoreDB. If the server cannot be reached, that is not an error here: all calls fail with
 * `store_unavailable` until it can be reached.
 * @returns `store_failed` for a bad connection string, or a server that refuses the credentials
 */
export function openEventStoreDb(
  options: EventStoreDbOptions,
): ResultAsync<EventStore, StoreFailure> {
  const scrub = naming(options.connectionString, scrubber(options.connectionString))
  const log = (message: string) => options.log?.(scrub(message))
  const open = async (): Promise<Result<EventStore, StoreFailure>> => {
    const address = readAddress(options.connectionString)
    if (address.isErr()) return err(unusable(address.error))
    silenceServername()
    const client = connect(address.value.connectionString, log)
    if (client.isErr()) return err(scrubbed(client.error, scrub))
    const timeoutMs =
      options.timeoutMs ?? namedDeadline(options.connectionString) ?? CALL_TIMEOUT_MS
    const store = new ClientStore(client.value, {
      ...{ address: address.value, timeoutMs, scrub, log },
      onAnswer: options.onAnswer ?? (() => {}),
    })
    const first = await firstAnswer(store)
    const failure = first?.isErr() ? first.error : null
    if (first !== null && failure === null) return ok(store)
    if (failure === null || failure.type === 'store_unavailable') {
      void store.diagnose().then((why) => log(why || 'EventStoreDB does not answer yet.'))
      return ok(store)
    }
    log(failure.message)
    await store.close()
    return err(failure)
  }
  return new ResultAsync(open())
}

/** Null if the server does not answer in time. */
async function firstAnswer(store: EventStore): Promise<Result<void, StoreFailure> | null> {
  const waited = new AbortController()
  const silence = setTimeout(FIRST_ANSWER_MS, null, waited).catch(() => null)
  return Promise.race([store.ping(), silence]).finally(() => waited.abort())
}

/** The port over one client. */
class ClientStore implements EventStore {
  readonly #client: EventStoreDBClient
  readonly #batches: BatchAppends
  readonly #address: Address
  readonly #timeoutMs: number
  readonly #scrub: (text: string) => string
  readonly #log: (message: string) => void
  readonly #onAnswer: (node: AnsweringNode) => void
  #hasAnswered = false
  readonly #closing = new AbortController()
  readonly #underWay = new Set<Promise<unknown>>()
  #diagnosis: Promise<readonly string[]> = Promise.resolve([])
  #diagnosedAt = Number.NEGATIVE_INFINITY

  constructor(
    client: EventStoreDBClient,
    options: {
      readonly address: Address
      readonly timeoutMs: number
      readonly scrub: (text: string) => string
      readonly log: (message: string) => void
      readonly onAnswer: (node: AnsweringNode) => void
    },
  ) {
    this.#client = client
    this.#batches = new BatchAppends(client)
    this.#address = options.address
    this.#timeoutMs = options.timeoutMs
    this.#scrub = options.scrub
    this.#log = options.log
    this.#onAnswer = options.onAnswer
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
      () => appendWithin(this.#timeoutMs, once.value),
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
      const appended = await within(deadline, appending)
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
    const once = () => readPage(protocolOf(this.#client), request, this.#timeoutMs)
    return this.#do(once, (cause) => readError(cause, stream)).map((events) =>
      onlyExistence ? [] : events.map(positionInAll),
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

  deleteStream(stream: string): ResultAsync<void, StoreFailure> {
    const options = { expectedRevision: 'any', requiresLeader: true } as const
    const once = () =>
      appendWithin(this.#timeoutMs, (deadline) =>
        within(deadline, this.#client.deleteStream(stream, { ...options, deadline })),
      )
    return this.#do(once, storeFailure).map(() => undefined)
  }

  ping(): ResultAsync<void, StoreFailure> {
    const request = page(ofAll('end'), 'backward', 1)
    const once = () => readPage(protocolOf(this.#client), request, this.#timeoutMs)
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
      this.#diagnosis = probeHosts(this.#address)
    }
    const problems = await this.#diagnosis
    if (problems.length > 0) return `EventStoreDB does not answer: ${problems.join(' ')}`
    const proxy = proxyVariable(this.#address.hosts, process.env)
    return proxy === null
      ? ''
      : `EventStoreDB does not answer through the proxy in ${proxy}, but its hosts can be reached without it. List them in no_proxy.`
  }

  async #noteAnswer(): Promise<void> {
    if (this.#hasAnswered) return
    this.#hasAnswered = true
    const node = await answeringNode(this.#client).catch(() => null)
    if (node !== null && !this.#closing.signal.aborted) this.#onAnswer(node)
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
    return ResultAsync.fromPromise(settled, (cause) => scrubbed(toError(cause), this.#scrub))
  }
}

/** Names the user in messages about rights. */
const naming = (connectionString: string, scrub: (text: string) => string) => {
  const user = /:\/\/([^:@/?]*):[^@/?]*@/.exec(connectionString)?.[1]
  if (user === undefined || user === '') return scrub
  return (text: string) => scrub(text).replaceAll(THE_USER, `the user "${user}" in EVENTSTORE_URL`)
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
