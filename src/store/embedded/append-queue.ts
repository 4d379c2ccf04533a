import { channel } from 'node:diagnostics_channel'
import { err, errAsync, ok, okAsync, type Result, ResultAsync } from 'neverthrow'
import { appendBytes } from '../../lib/append-bytes.ts'
import { siblingModule } from '../../lib/package-files.ts'
import {
  type AppendError,
  type Appended,
  type ExpectedRevision,
  MAX_APPEND_BYTES,
  type NewEvent,
  type Overwrite,
  type OverwriteError,
  type RecordedEvent,
  type StoreFailure,
} from '../event-store.ts'
import type { CommitFeed } from './commit-feed.ts'
import {
  type Cell,
  expectedCell,
  FAILED,
  resultOf,
  STORED,
  toCells,
  type WriteReply,
  type WriteRequest,
} from './messages.ts'
import { Thread } from './thread.ts'

type Settled = Extract<WriteReply, { type: 'settled' }>

type Pending = {
  readonly stream: string
  readonly events: readonly NewEvent[]
  readonly expected: ExpectedRevision
  readonly bytes: number
  readonly settle: (result: Result<Appended, AppendError>) => void
}

/** Publishes how many appends went into one commit, for measurements. */
const commits = channel('retrai.store.commit')

/** How many appends are sent at once. More of the same turn follow while the thread writes these. */
const GATHERED = 8

/**
 * How long the event loop stays awake for the answer to an append. On a fast disk, to be woken for it costs a good
 * part of a commit: bench/store-append.ts measures it.
 */
const AWAKE_MS = 0.5
/**
 * How long it sleeps as usual after it has stayed awake in vain twice in a row, which means that the disk is slow or
 * the processors are busy. One slow commit means neither.
 */
const ASLEEP_MS = 10

const WRITER = siblingModule('worker-writer', import.meta.url)

/**
 * The appends under way. Sends the appends of one turn of the event loop to the writing thread together, and settles
 * them in the order in which they were sent.
 */
export class AppendQueue {
  readonly #feed: CommitFeed
  readonly #thread: Thread<WriteRequest, WriteReply>
  #gathered: Pending[] = []
  #sent: Pending[] = []
  #lost: StoreFailure | null = null
  /** Why the last append failed; null if it was written. */
  #trouble: StoreFailure | null = null
  readonly #probes: ((failure: StoreFailure | null) => void)[] = []
  readonly #overwrites: ((failure: OverwriteError | null) => void)[] = []
  #idle: () => void = () => {}
  /** By `performance.now()`; 0 while it does not stay awake. */
  #awakeUntil = 0
  #asleepUntil = 0
  /** How many times in a row it has stayed awake in vain. */
  #inVain = 0

  constructor(file: string, feed: CommitFeed) {
    this.#feed = feed
    this.#thread = new Thread<WriteRequest, WriteReply>(
      WRITER,
      file,
      (reply) => {
        if (reply.type === 'settled') this.#settle(reply)
        else if (reply.type === 'overwritten') this.#overwritten(reply.failure)
        else this.#probes.shift()?.(reply.failure)
      },
      (failure) => this.#lose(failure),
    )
  }

  opened(): ResultAsync<void, StoreFailure> {
    return this.#thread.opened()
  }

  append(
    stream: string,
    events: readonly NewEvent[],
    expected: ExpectedRevision,
  ): ResultAsync<Appended, AppendError> {
    if (events.length === 0) throw new RangeError('an append holds at least one event')
    assertRevision(expected)
    if (this.#lost !== null) return errAsync(this.#lost)
    const bytes = appendBytes(events)
    if (bytes > MAX_APPEND_BYTES) {
      return errAsync({ type: 'append_too_large', bytes, limit: MAX_APPEND_BYTES })
    }
    return new ResultAsync(
      new Promise((settle) => {
        if (this.#gathered.length === 0) setImmediate(() => this.#flush())
        this.#gathered.push({ stream, events, expected, bytes, settle })
        if (this.#gathered.length === GATHERED) this.#flush()
      }),
    )
  }

  overwrite(events: readonly Overwrite[]): ResultAsync<void, OverwriteError> {
    if (this.#lost !== null) return errAsync(this.#lost)
    const done = new Promise<OverwriteError | null>((resolve) => {
      this.#overwrites.push(resolve)
      this.#thread.send({ type: 'overwrite', cells: toCells(events) })
    })
    return ResultAsync.fromSafePromise(done).andThen((failure) =>
      failure === null ? ok() : err(failure),
    )
  }

  /** Whether the disk takes appends. After an append has failed, tries to write. */
  ping(): ResultAsync<void, StoreFailure> {
    if (this.#lost !== null) return errAsync(this.#lost)
    if (this.#trouble === null) return okAsync(undefined)
    const probed = new Promise<StoreFailure | null>((resolve) => {
      this.#probes.push(resolve)
      this.#thread.send({ type: 'probe' })
    })
    return ResultAsync.fromSafePromise(probed).andThen((failure) => {
      this.#trouble = failure
      return failure === null ? ok() : err(failure)
    })
  }

  /** Finishes what is under way, and closes the file. No append may follow. */
  async close(): Promise<void> {
    if (this.#isBusy()) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve
      })
    }
    this.#thread.send({ type: 'close' })
    await this.#thread.ended()
  }

  #isBusy(): boolean {
    return this.#gathered.length + this.#sent.length + this.#overwrites.length > 0
  }

  #overwritten(failure: OverwriteError | null): void {
    this.#overwrites.shift()?.(failure)
    if (!this.#isBusy()) this.#idle()
  }

  /** Settles the appends that were sent first. */
  #settle({ outcomes, created, failure }: Settled): void {
    const group = this.#sent.splice(0, outcomes.length / 3)
    this.#trouble = failure
    commits.publish({ appends: group.length })
    const results = group.map((pending, index) => {
      const [outcome = FAILED, revision = 0, position = 0] = outcomes.slice(
        3 * index,
        3 * index + 3,
      )
      if (outcome === STORED) this.#publish(pending, revision, position, created)
      return resultOf(pending.expected, outcome, revision, failure)
    })
    // Subscribers get it first, so that a caller whose append has settled finds it delivered.
    for (const [index, result] of results.entries()) group[index]?.settle(result)
    if (!this.#isBusy()) this.#idle()
  }

  /** The writer has ended: the outcome of the appends that it had is unknown. */
  #lose(failure: StoreFailure): void {
    const { message } = failure
    this.#lost ??= failure
    const [sent, gathered] = [this.#sent, this.#gathered]
    this.#sent = []
    this.#gathered = []
    for (const { settle } of sent) settle(err({ type: 'outcome_unknown', message }))
    for (const { settle } of gathered) settle(err(failure))
    for (const settle of this.#probes.splice(0)) settle(failure)
    for (const settle of this.#overwrites.splice(0)) settle(failure)
    this.#idle()
  }

  #flush(): void {
    const cells: Cell[] = []
    for (const { stream, expected, events } of this.#gathered) {
      cells.push(stream, expectedCell(expected), events.length)
      for (const { id, type, data, metadata } of events) cells.push(id, type, data, metadata)
    }
    if (cells.length === 0) return
    this.#sent.push(...this.#gathered)
    this.#gathered = []
    this.#thread.send({ type: 'append', cells })
    this.#stayAwake()
  }

  /** While the event loop has a next turn, it does not sleep, and takes an answer as soon as it arrives. */
  #stayAwake(): void {
    const now = performance.now()
    if (now < this.#asleepUntil) return
    const isAwake = this.#awakeUntil > 0
    this.#awakeUntil = now + AWAKE_MS
    if (!isAwake) setImmediate(() => this.#turn())
  }

  #turn(): void {
    const now = performance.now()
    const isWaiting = this.#sent.length > 0
    if (isWaiting && now < this.#awakeUntil) {
      setImmediate(() => this.#turn())
      return
    }
    this.#awakeUntil = 0
    this.#inVain = isWaiting ? this.#inVain + 1 : 0
    if (this.#inVain > 1) this.#asleepUntil = now + ASLEEP_MS
  }

  #publish(
    { stream, events, bytes }: Pending,
    last: number,
    position: number,
    created: number,
  ): void {
    if (!this.#feed.hasListeners(stream)) return
    const recorded = events.map(({ id, type, data, metadata }, index): RecordedEvent => {
      const back = events.length - 1 - index
      const place = { position: String(position - back), revision: last - back, created, stream }
      return { id, type, data, metadata, ...place }
    })
    this.#feed.publish(stream, recorded, bytes)
  }
}

/** @throws RangeError if it is not a revision at all: the caller's mistake */
function assertRevision(expected: ExpectedRevision): void {
  if (typeof expected === 'string' || (Number.isSafeInteger(expected) && expected >= 0)) return
  throw new RangeError(`an expected revision is an integer of at least 0, not ${expected}`)
}
