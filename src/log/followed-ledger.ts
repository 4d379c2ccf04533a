import { randomUUID } from 'node:crypto'
import { ok, type Result, type ResultAsync } from 'neverthrow'
import { keepRunning, type PauseBoundsMs } from '../lib/backoff.ts'
import type { Logger } from '../lib/logger.ts'
import type { AppendError, EventStore, RecordedEvent } from '../store/event-store.ts'
import type { Signing } from './chain.ts'
import { type DamagedRecord, decodeAs } from './codec.ts'
import {
  decideAndAppend,
  emptyStream,
  type Folded,
  foldRecord,
  type LoadError,
  type StreamDefinition,
} from './decider.ts'

const RETRY_MS: PauseBoundsMs = [1_000, 1_000]

export type LedgerDeps = {
  readonly store: EventStore
  /** Signs the entries that are appended here. */
  readonly sign: Signing
  readonly log: Pick<Logger, 'warn' | 'error'>
}

/** Who hears of a ledger. `changed`: it was read to its end, and again whenever it is longer. */
type Listener<S> = {
  changed?(folded: Folded<S>): void
  /** An entry cannot be read: it is followed no further. */
  damaged?(damage: DamagedRecord): void
}

/** A ledger as this server knows it: it follows what every server appends, and appends what is decided here. */
export class FollowedLedger<R extends { readonly kind: string; readonly payload: object }, S> {
  readonly #definition: StreamDefinition<R, S>
  readonly #deps: LedgerDeps
  readonly #listener: Listener<S>
  readonly #stop = new AbortController()
  readonly #following: Promise<void>
  #folded: Folded<S>
  #isRead = false

  /** Follows the ledger until `close`. */
  constructor(definition: StreamDefinition<R, S>, deps: LedgerDeps, listener: Listener<S> = {}) {
    this.#definition = definition
    this.#deps = deps
    this.#listener = listener
    this.#folded = emptyStream(definition)
    const onFailure = (err: unknown) =>
      deps.log.warn({ err, stream: definition.stream }, 'a ledger cannot be followed now; retrying')
    const { signal } = this.#stop
    this.#following = keepRunning(() => this.#follow(), { signal, retryMs: RETRY_MS, onFailure })
  }

  /** The ledger as far as it was read. */
  get state(): S {
    return this.#folded.state
  }

  /** Reads the ledger to its end. */
  read(): ResultAsync<S, AppendError | LoadError> {
    return this.extend(null, () => ok([]))
  }

  /** Appends what `decide` returns for the ledger as it is then. @param principal null for what a server does by itself */
  extend<X = never>(
    principal: string | null,
    decide: (state: S) => Result<readonly R[], X>,
  ): ResultAsync<S, AppendError | LoadError | X> {
    const { store, sign } = this.#deps
    const author = { commandId: randomUUID(), ...(principal !== null && { principal }) }
    const options = { from: this.#folded, sign }
    return decideAndAppend(store, this.#definition, decide, author, options).map(
      (folded: Folded<S>) => {
        if (folded.revision > this.#folded.revision) {
          this.#folded = folded
          this.#listener.changed?.(folded)
        }
        return folded.state
      },
    )
  }

  async close(): Promise<void> {
    this.#stop.abort()
    await this.#following
  }

  async #follow(): Promise<void> {
    const { store, log } = this.#deps
    const options = { after: this.#folded.revision, signal: this.#stop.signal }
    for await (const item of store.subscribeStream(this.#definition.stream, options)) {
      if (item.type === 'caught_up') this.#caughtUp()
      if (item.type !== 'events') continue
      const damage = this.#take(item.events)
      if (damage === null) continue
      log.error({ ...damage }, 'a ledger is damaged: it is not followed any further')
      this.#listener.damaged?.(damage)
      this.#stop.abort()
      return
    }
  }

  #caughtUp(): void {
    this.#isRead = true
    this.#listener.changed?.(this.#folded)
  }

  /** Returns the first entry that cannot be read. */
  #take(events: readonly RecordedEvent[]): DamagedRecord | null {
    for (const event of events) {
      if (event.revision <= this.#folded.revision) continue
      const folded = decodeAs(this.#definition.schema, event).andThen((logged) =>
        foldRecord(this.#definition, this.#folded, logged),
      )
      if (folded.isErr()) return folded.error
      this.#folded = folded.value
    }
    if (this.#isRead) this.#listener.changed?.(this.#folded)
    return null
  }
}
