import { err, ok, type Result, ResultAsync } from 'neverthrow'
import type { z } from 'zod'
import { keepRunning, type PauseBoundsMs } from '../lib/backoff.ts'
import type { Logger } from '../lib/logger.ts'
import { Signal } from '../lib/signal.ts'
import type { EventStore, RecordedEvent, StoreFailure } from '../store/event-store.ts'
import { decodeAs, type Logged } from './codec.ts'
import { type StreamReader, streamPages } from './stream-pages.ts'

/** Pauses between attempts. */
const RETRY_MS: PauseBoundsMs = [100, 10_000]

type Deps<R> = {
  readonly store: StreamReader
  readonly stream: string
  readonly schema: z.ZodType<R>
  /** Gets each entry once, in order. One that cannot be read has no effect. */
  readonly see: (entry: Logged<R>) => void
  /** Null for a process that only reads the ledger. */
  readonly log: Pick<Logger, 'error'> | null
}

/**
 * A ledger whose entries take effect here: they are known before anything else is read, and later carried out, in order
 * and each again until that succeeds. At each start all of them are, from the beginning, so an interruption does no harm.
 */
export class LedgerWork<R> {
  readonly #deps: Deps<R>
  readonly #stop = new AbortController()
  readonly #news = new Signal()
  #working: Promise<void> = Promise.resolve()
  #reading: ResultAsync<void, StoreFailure> | null = null
  #known = -1
  #done = -1

  constructor(deps: Deps<R>) {
    this.#deps = deps
  }

  /** The last entry that is known; -1 before the first. */
  get known(): number {
    return this.#known
  }

  /** The last entry that is carried out; -1 before the first. */
  get done(): number {
    return this.#done
  }

  /** Resolves once all entries that were made before the first call are known. Only the first call takes a while. */
  ready(): ResultAsync<void, StoreFailure> {
    this.#reading ??= this.read().orTee(() => {
      this.#reading = null
    })
    return this.#reading
  }

  /** Reads what is new. */
  read(): ResultAsync<void, StoreFailure> {
    const { store, stream } = this.#deps
    const read = async (): Promise<Result<void, StoreFailure>> => {
      for await (const page of streamPages(store, stream, { after: this.#known })) {
        if (page.isErr() && page.error.type !== 'stream_not_found') return err(page.error)
        this.#take(page.unwrapOr([]))
      }
      return ok()
    }
    return new ResultAsync(read())
  }

  /** Begins to carry out entries. @param work gets those that are new. If it rejects, it is called with them again */
  start(
    store: Pick<EventStore, 'subscribeStream'>,
    work: (entries: readonly Logged<R>[], stop: AbortSignal) => Promise<void>,
  ): void {
    const { stream, log } = this.#deps
    const { signal } = this.#stop
    const follow = async (): Promise<void> => {
      for await (const item of store.subscribeStream(stream, { after: this.#done, signal })) {
        if (item.type !== 'events') continue
        const entries = this.#take(item.events)
        await work(entries, signal)
        if (signal.aborted) return
        this.#done = item.events.at(-1)?.revision ?? this.#done
        this.#news.notify()
      }
    }
    const onFailure = (err: unknown) =>
      log?.error({ err, stream }, 'a ledger cannot be followed or carried out, trying again')
    this.#working = keepRunning(follow, { signal, retryMs: RETRY_MS, onFailure })
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#working
  }

  /** Waits until the entries up to a revision are carried out, or a signal aborts. @returns whether they are */
  async reached(revision: number, abort: AbortSignal): Promise<boolean> {
    const signal = AbortSignal.any([abort, this.#stop.signal])
    while (this.#done < revision && !signal.aborted) await this.#news.wait(signal)
    return this.#done >= revision
  }

  /** Those that can be read. */
  #take(events: readonly RecordedEvent[]): readonly Logged<R>[] {
    const { schema, see, log } = this.#deps
    return events.flatMap((event) => {
      const entry = decodeAs(schema, event)
      const message = 'an entry of a ledger cannot be read, so it has no effect'
      if (event.revision > this.#known) entry.match(see, (error) => log?.error({ error }, message))
      this.#known = Math.max(this.#known, event.revision)
      return entry.isOk() ? [entry.value] : []
    })
  }
}
