import { randomBytes } from 'node:crypto'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import type { z } from 'zod'
import type { AppendError, EventStore, NewEvent, RecordedEvent } from '../store/event-store.ts'
import { GENESIS } from './chain.ts'
import { type DamagedRecord, decodeAs, encode, type Logged } from './codec.ts'
import { SALT_BYTES } from './commitment.ts'
import type { Author, LoadError } from './run-log.ts'

/** What a ledger holds. `ts` is in seconds since the epoch. */
export type LedgerEntry = { readonly kind: string; readonly ts: number; readonly payload: object }

/** A chained stream beside those of the runs, hashed like them, and what is folded from it. */
export type Ledger<E extends LedgerEntry, S> = {
  /** Begins with OWN_STREAM_PREFIX. */
  readonly stream: string
  readonly entry: z.ZodType<E>
  readonly initial: S
  readonly evolve: (state: S, logged: Logged<E>) => S
}

/** A ledger folded up to a revision, which is -1 while it is empty, and the hash of its last entry. */
export type LoadedLedger<S> = {
  readonly revision: number
  readonly head: string
  readonly state: S
}

const PAGE = 1000
/** How often is decided anew because somebody else wrote in between. */
const MAX_CONFLICTS = 50
/** How often an append whose answer was lost is made again to learn whether it is stored. */
const MAX_SETTLING = 3

export function emptyLedger<E extends LedgerEntry, S>({ initial }: Ledger<E, S>): LoadedLedger<S> {
  return { revision: -1, head: GENESIS, state: initial }
}

/** Folds one stored entry in; one that breaks the order or the chain is damage. */
export function foldEntry<E extends LedgerEntry, S>(
  { stream, entry, evolve }: Ledger<E, S>,
  { revision, head, state }: LoadedLedger<S>,
  event: RecordedEvent,
): Result<LoadedLedger<S>, DamagedRecord> {
  return decodeAs(entry, event).andThen((logged) => {
    const damaged = (message: string) =>
      err({ type: 'damaged_record' as const, stream, seq: logged.seq, message })
    if (logged.seq !== revision + 1)
      return damaged(`it stands where entry ${revision + 1} is expected`)
    if (logged.meta.prev_hash !== head)
      return damaged('its prev_hash is not the hash of the entry before it')
    return ok({ revision: logged.seq, head: logged.meta.hash, state: evolve(state, logged) })
  })
}

/** Folds a ledger to its end, going on from `from` where that is known. */
export function loadLedger<E extends LedgerEntry, S>(
  store: Pick<EventStore, 'readStream'>,
  ledger: Ledger<E, S>,
  from: LoadedLedger<S> = emptyLedger(ledger),
): ResultAsync<LoadedLedger<S>, LoadError> {
  const foldPages = async (): Promise<Result<LoadedLedger<S>, LoadError>> => {
    let loaded = from
    for (;;) {
      const page = await store.readStream(ledger.stream, {
        from: loaded.revision + 1,
        direction: 'forward',
        limit: PAGE,
      })
      if (page.isErr()) return page.error.type === 'stream_not_found' ? ok(loaded) : err(page.error)
      for (const event of page.value) {
        const folded = foldEntry(ledger, loaded, event)
        if (folded.isErr()) return err(folded.error)
        loaded = folded.value
      }
      if (page.value.length < PAGE) return ok(loaded)
    }
  }
  return new ResultAsync(foldPages())
}

/**
 * Folds the ledger (from `from` on, where that is known), decides what to add, and appends it at exactly
 * the revision that the decision was made on. Decides again when another writer was faster; no entries
 * are no append.
 */
export function extendLedger<E extends LedgerEntry, S, X = never>(
  store: EventStore,
  ledger: Ledger<E, S>,
  decide: (state: S) => Result<readonly E[], X>,
  author: Author,
  from: LoadedLedger<S> = emptyLedger(ledger),
): ResultAsync<LoadedLedger<S>, AppendError | LoadError | X> {
  const attempt = async (): Promise<Result<LoadedLedger<S>, AppendError | LoadError | X>> => {
    let known = from
    for (let conflicts = 0; ; conflicts += 1) {
      const loaded = await loadLedger(store, ledger, known)
      if (loaded.isErr()) return err(loaded.error)
      known = loaded.value
      const entries = decide(known.state)
      if (entries.isErr()) return err(entries.error)
      if (entries.value.length === 0) return ok(known)
      const { events, after } = prepare(ledger, known, entries.value, author)
      const appended = await settle(store, ledger.stream, events, known.revision)
      if (appended === null) return ok(after)
      if (appended.type !== 'wrong_expected_revision' || conflicts >= MAX_CONFLICTS)
        return err(appended)
    }
  }
  return new ResultAsync(attempt())
}

function prepare<E extends LedgerEntry, S>(
  { evolve }: Ledger<E, S>,
  from: LoadedLedger<S>,
  entries: readonly E[],
  { commandId, principal }: Author,
): { readonly events: readonly NewEvent[]; readonly after: LoadedLedger<S> } {
  const events: NewEvent[] = []
  let after = from
  for (const entry of entries) {
    const { event, logged } = encode(after.revision + 1, entry, {
      command_id: commandId,
      ...(principal === undefined ? {} : { principal }),
      salt: randomBytes(SALT_BYTES).toString('hex'),
      prev_hash: after.head,
    })
    events.push(event)
    after = {
      revision: logged.seq,
      head: logged.meta.hash,
      state: evolve(after.state, logged),
    }
  }
  return { events, after }
}

/** Null where the events are stored. */
async function settle(
  store: EventStore,
  stream: string,
  events: readonly NewEvent[],
  revision: number,
): Promise<AppendError | null> {
  const expectedRevision = revision === -1 ? 'no_stream' : revision
  for (let attempt = 1; ; attempt += 1) {
    const appended = await store.append(stream, events, { expectedRevision })
    if (appended.isOk()) return null
    if (appended.error.type !== 'outcome_unknown' || attempt >= MAX_SETTLING) return appended.error
  }
}
