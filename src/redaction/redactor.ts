import { err, ok, okAsync, type Result, ResultAsync } from 'neverthrow'
import { Backoff, keepRunning, type PauseBoundsMs } from '../lib/backoff.ts'
import type { Logger } from '../lib/logger.ts'
import { Signal } from '../lib/signal.ts'
import { decodeAs } from '../log/codec.ts'
import { streamOf } from '../log/run-log.ts'
import { eventAt, streamPages } from '../log/stream-pages.ts'
import type { EventStore, Overwrite, RecordedEvent, StoreFailure } from '../store/event-store.ts'
import { Redaction } from './redaction.ts'
import { type LoggedRedaction, REDACTIONS, RedactionIndex } from './redaction-index.ts'

/**
 * Rebuilds or drops what was derived from runs. A second call with the same redactions changes nothing. If it rejects,
 * it is called again.
 */
export type Forget = (redactions: readonly LoggedRedaction[]) => Promise<void>

/** `hidden`: nothing serves the text any more. `erased`: the store does not hold it any more. */
export type CarriedOut = { readonly hidden: boolean; readonly erased: boolean }

/** How many records are overwritten at once. */
const ERASED_AT_ONCE = 50
/** Pauses between attempts. */
const RETRY_MS: PauseBoundsMs = [100, 10_000]

/**
 * Follows the ledger of redactions and carries them out: hides the strings from everything that reads through
 * `withRedactions`, lets what was derived from them be rebuilt or dropped, and erases them from the store, if it can. At
 * each start all redactions are carried out from the beginning, so an interruption does no harm.
 */
export class Redactor {
  readonly #store: EventStore
  readonly #log: Logger
  /** What is known of the redactions so far. */
  readonly index = new RedactionIndex()
  readonly #stop = new AbortController()
  #reading: ResultAsync<void, StoreFailure> | null = null
  #ready = false
  /** Up to which revision the ledger is known, its redactions are hidden, and erased. */
  #known = -1
  #hidden = -1
  #erased = -1
  readonly #news = new Signal()
  #following: Promise<void> = Promise.resolve()
  #erasing: Promise<void> = Promise.resolve()

  /** @param store holds the ledger, and the strings are erased from it: not one made by `withRedactions` */
  constructor({ store, log }: { readonly store: EventStore; readonly log: Logger }) {
    this.#store = store
    this.#log = log
  }

  /** Resolves once all redactions that were recorded before are known. Only the first call takes a while. */
  ready(): ResultAsync<void, StoreFailure> {
    if (this.#ready) return okAsync()
    this.#reading ??= new ResultAsync(this.#read())
    return this.#reading
  }

  /** Up to which revision of the ledger `apply` knows the redactions; -1 for none. */
  get known(): number {
    return this.#known
  }

  /** Up to which revision of the ledger nothing serves the redacted texts any more; -1 for none. */
  get hidden(): number {
    return this.#hidden
  }

  /** The event without its redacted strings. */
  apply(event: RecordedEvent): RecordedEvent {
    return this.index.apply(event)
  }

  /** Begins to carry out redactions. Each of `forget` is called in this order, before anything is erased. */
  start(forget: readonly Forget[]): void {
    this.#following = this.#follow(forget)
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#following
    await this.#erasing
  }

  /** Resolves once the ledger is carried out up to a revision, at the latest after `ms`. */
  async carriedOut(revision: number, ms: number): Promise<CarriedOut> {
    const patience = AbortSignal.timeout(ms)
    const signal = AbortSignal.any([patience, this.#stop.signal])
    const goal = this.#store.overwrite === undefined ? 'hidden' : 'erased'
    for (;;) {
      const now = { hidden: this.#hidden >= revision, erased: this.#erased >= revision }
      if (now[goal] || signal.aborted) return now
      await this.#news.wait(signal)
    }
  }

  /** Resolves when everything that is recorded now is carried out, when the ledger cannot be read, or after `ms`. */
  async settled(ms: number): Promise<void> {
    if ((await this.ready()).isOk()) await this.carriedOut(this.#known, ms)
  }

  async #read(): Promise<Result<void, StoreFailure>> {
    const rest = { after: this.#known }
    for await (const page of streamPages(this.#store, REDACTIONS.stream, rest)) {
      if (page.isErr() && page.error.type !== 'stream_not_found') {
        this.#reading = null
        return err(page.error)
      }
      this.#take(page.unwrapOr([]))
    }
    this.#ready = true
    return ok()
  }

  /** Adds the redactions to what is known, except those that cannot be read. */
  #take(events: readonly RecordedEvent[]): LoggedRedaction[] {
    return events.flatMap((event) => {
      const decoded = decodeAs(Redaction, event)
      if (decoded.isErr()) {
        this.#log.error(
          { error: decoded.error },
          'a redaction cannot be read, so it is not carried out',
        )
        return []
      }
      if (event.revision > this.#known) this.index.add(decoded.value)
      this.#known = Math.max(this.#known, event.revision)
      return [decoded.value]
    })
  }

  async #follow(forget: readonly Forget[]): Promise<void> {
    const { signal } = this.#stop
    let after = -1
    const follow = async (): Promise<void> => {
      for await (const item of this.#store.subscribeStream(REDACTIONS.stream, { after, signal })) {
        if (item.type !== 'events') continue
        const redactions = this.#take(item.events)
        await this.#patiently(async () => {
          for (const each of forget) await each(redactions)
        })
        if (signal.aborted) return
        after = item.events.at(-1)?.revision ?? after
        this.#hidden = after
        this.#news.notify()
        this.#eraseLater(redactions, after)
      }
    }
    const onFailure = (err: unknown) =>
      this.#log.error({ err }, 'the redactions cannot be followed, trying again')
    await keepRunning(follow, { signal, retryMs: RETRY_MS, onFailure })
  }

  #eraseLater(redactions: readonly LoggedRedaction[], upTo: number): void {
    if (this.#store.overwrite === undefined) return
    this.#erasing = this.#erasing.then(async () => {
      for (let at = 0; at < redactions.length; at += ERASED_AT_ONCE) {
        const some = redactions.slice(at, at + ERASED_AT_ONCE)
        await this.#patiently(() => eraseFrom(this.#store, some, (event) => this.apply(event)))
      }
      if (this.#stop.signal.aborted) return
      this.#erased = upTo
      this.#news.notify()
    })
  }

  /** Repeats the work until it succeeds or the redactor stops. */
  async #patiently(work: () => Promise<void>): Promise<void> {
    const { signal } = this.#stop
    const backoff = new Backoff(RETRY_MS)
    while (!signal.aborted) {
      try {
        await work()
        if (backoff.failures > 0) this.#log.info({}, 'the redaction is carried out now')
        return
      } catch (error) {
        const message = 'a redaction cannot be carried out yet, trying again'
        if (backoff.failures === 0) this.#log.warn({ err: error }, message)
        await backoff.wait(signal)
      }
    }
  }
}

/**
 * Overwrites the redacted records, even those without the strings, so that nothing of the strings can be left in the
 * files. Skips records that do not exist.
 * @param without the event without the strings
 * @throws if the store cannot do it now
 */
async function eraseFrom(
  store: EventStore,
  redactions: readonly LoggedRedaction[],
  without: (event: RecordedEvent) => RecordedEvent,
): Promise<void> {
  const events = new Map<string, Overwrite>()
  for (const { record } of redactions) {
    const { run_id, seq } = record.payload
    const found = await eventAt(store, streamOf(run_id), seq)
    if (found.isErr()) throw failure(found.error)
    if (found.value !== null) events.set(`${run_id}/${seq}`, without(found.value))
  }
  if (events.size === 0) return
  const done = await store.overwrite?.([...events.values()])
  if (done?.isErr() === true) throw failure(done.error)
}

const failure = (error: { readonly type: string; readonly message?: string }): Error =>
  new Error(`${error.type}: ${error.message ?? JSON.stringify(error)}`)
