import type { ResultAsync } from 'neverthrow'
import type { Logger } from '../lib/logger.ts'
import { LedgerWork } from '../log/ledger-work.ts'
import { streamOf } from '../log/run-log.ts'
import { eventAt } from '../log/stream-pages.ts'
import type { EventStore, Overwrite, RecordedEvent, StoreFailure } from '../store/event-store.ts'
import type { Redaction } from './redaction.ts'
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

/**
 * Follows the ledger of redactions and carries them out: hides the strings from everything that reads through
 * `withRedactions`, lets what was derived from them be rebuilt or dropped, and erases them from the store, if it can.
 */
export class Redactor {
  readonly #store: EventStore
  /** What is known of the redactions so far. */
  readonly index = new RedactionIndex()
  readonly #hiding: LedgerWork<Redaction>
  readonly #erasing: LedgerWork<Redaction>

  /** @param store holds the ledger, and the strings are erased from it: not one made by `withRedactions` */
  constructor({ store, log }: { readonly store: EventStore; readonly log: Logger }) {
    const { stream, schema } = REDACTIONS
    const see = (redaction: LoggedRedaction) => this.index.add(redaction)
    this.#store = store
    this.#hiding = new LedgerWork({ store, stream, schema, log, see })
    this.#erasing = new LedgerWork({ store, stream, schema, log, see: () => {} })
  }

  /** Resolves once all redactions that were recorded before are known. Only the first call takes a while. */
  ready(): ResultAsync<void, StoreFailure> {
    return this.#hiding.ready()
  }

  /** Up to which revision of the ledger nothing serves the redacted texts any more; -1 for none. */
  get hidden(): number {
    return this.#hiding.done
  }

  /** The event without its redacted strings. */
  apply(event: RecordedEvent): RecordedEvent {
    return this.index.apply(event)
  }

  /** Begins to carry out redactions. Each of `forget` is called in this order, before anything is erased. */
  start(forget: readonly Forget[]): void {
    this.#hiding.start(this.#store, async (redactions) => {
      for (const each of forget) await each(redactions)
    })
    if (this.#store.overwrite === undefined) return
    this.#erasing.start(this.#store, async (redactions, stop) => {
      await this.#hiding.reached(redactions.at(-1)?.seq ?? -1, stop)
      for (let at = 0; at < redactions.length && !stop.aborted; at += ERASED_AT_ONCE) {
        const some = redactions.slice(at, at + ERASED_AT_ONCE)
        await eraseFrom(this.#store, some, (event) => this.apply(event))
      }
    })
  }

  async stop(): Promise<void> {
    await Promise.all([this.#hiding.stop(), this.#erasing.stop()])
  }

  /** Resolves once the ledger is carried out up to a revision, at the latest after `ms`. */
  async carriedOut(revision: number, ms: number): Promise<CarriedOut> {
    const last = this.#store.overwrite === undefined ? this.#hiding : this.#erasing
    await last.reached(revision, AbortSignal.timeout(ms))
    return { hidden: this.#hiding.done >= revision, erased: this.#erasing.done >= revision }
  }

  /** Resolves when everything that is recorded now is carried out, when the ledger cannot be read, or after `ms`. */
  async settled(ms: number): Promise<void> {
    if ((await this.ready()).isOk()) await this.carriedOut(this.#hiding.known, ms)
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
