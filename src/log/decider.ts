import { randomBytes } from 'node:crypto'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import type { z } from 'zod'
import { BrokenInvariant } from '../domain/errors.ts'
import type { AppendError, NewEvent, ReadError } from '../store/event-store.ts'
import { GENESIS, type Signer, type Signing, sealEntry } from './chain.ts'
import { type DamagedRecord, decodeAs, encode, type Logged } from './codec.ts'
import { SALT_BYTES } from './commitment.ts'
import type { StreamStore } from './patience.ts'
import { eventAt, type StreamReader, streamPages } from './stream-pages.ts'

/** A chained stream and its fold. Runs are such streams, and so are ledgers. */
export type StreamDefinition<R, S> = {
  readonly stream: string
  readonly schema: z.ZodType<R>
  readonly initial: S
  /** One signature covers all entries of an append. Without it, each has its own, and can be verified without the others. */
  readonly sealedTogether?: true
  /** @throws BrokenInvariant if the stream cannot hold this record there */
  readonly evolve: (state: S, logged: Logged<R>) => S
}

/** A stream folded up to a revision (-1 while it is empty), with the hash of the record there. */
export type Folded<S> = { readonly revision: number; readonly head: string; readonly state: S }

/** Records that are chained and encoded, and the stream after them. */
type Chained<R, S> = {
  readonly events: readonly NewEvent[]
  readonly records: readonly Logged<R>[]
  readonly after: Folded<S>
}

export type LoadError = ReadError | DamagedRecord

/** Who writes: an id that is unique to the command, and the person who gave the command, if there is one. */
export type Author = { readonly commandId: string; readonly principal?: string }

type StoredRecord = { readonly kind: string; readonly payload: object }

/** How often at most a command is decided again because another writer was faster. */
const MAX_CONFLICTS = 50
/** How many attempts at most an append gets while its outcome is unknown. */
const MAX_ATTEMPTS = 3

export function emptyStream<S>({ initial }: { readonly initial: S }): Folded<S> {
  return { revision: -1, head: GENESIS, state: initial }
}

/** Folds one stored record. A record that breaks the order or the chain is damaged. */
export function foldRecord<R, S>(
  { stream, evolve }: StreamDefinition<R, S>,
  { revision, head, state }: Folded<S>,
  logged: Logged<R>,
): Result<Folded<S>, DamagedRecord> {
  const { seq, meta } = logged
  const damaged = (message: string) =>
    err({ type: 'damaged_record' as const, stream, seq, message })
  if (seq !== revision + 1) return damaged(`record ${revision + 1} is expected in its place`)
  if (meta.prev_hash !== head) {
    return damaged('its prev_hash is not the hash of the record before it')
  }
  try {
    return ok({ revision: seq, head: meta.hash, state: evolve(state, logged) })
  } catch (cause) {
    if (cause instanceof BrokenInvariant) return damaged(cause.message)
    throw cause
  }
}

/**
 * Folds a stream from `from` on, up to its end or to the revision `to` (inclusive). Shows each record that it reads
 * to `visit`, and ends after a record for which that returns 'stop'. A stream that does not exist is empty.
 */
export function foldStream<R, S>(
  store: StreamReader,
  definition: StreamDefinition<R, S>,
  options: {
    readonly from?: Folded<S> | undefined
    readonly to?: number
    readonly visit?: (logged: Logged<R>, folded: Folded<S>) => unknown
  } = {},
): ResultAsync<Folded<S>, LoadError> {
  const { from = emptyStream(definition), to = Number.POSITIVE_INFINITY, visit } = options
  const foldPages = async (): Promise<Result<Folded<S>, LoadError>> => {
    let folded = from
    const rest = { after: folded.revision, to }
    for await (const page of streamPages(store, definition.stream, rest)) {
      if (page.isErr()) return page.error.type === 'stream_not_found' ? ok(folded) : err(page.error)
      for (const event of page.value) {
        const logged = decodeAs(definition.schema, event)
        if (logged.isErr()) return err(logged.error)
        const after = foldRecord(definition, folded, logged.value)
        if (after.isErr()) return err(after.error)
        folded = after.value
        if (visit?.(logged.value, folded) === 'stop') return ok(folded)
      }
    }
    return ok(folded)
  }
  return new ResultAsync(foldPages())
}

/** Chains, encodes and folds new records after `from`. @param signer signs entries of a ledger */
export function chain<R extends StoredRecord, S>(
  { evolve, stream, sealedTogether }: Omit<StreamDefinition<R, S>, 'schema' | 'initial'>,
  from: Folded<S>,
  records: readonly R[],
  { commandId, principal }: Author,
  signer: Signer | null = null,
): Chained<R, S> {
  const events: NewEvent[] = []
  const encoded: Logged<R>[] = []
  let after = from
  for (const record of records) {
    const seq = after.revision + 1
    const meta = {
      command_id: commandId,
      ...(principal === undefined ? {} : { principal }),
      salt: randomBytes(SALT_BYTES).toString('hex'),
      prev_hash: after.head,
    }
    const first = sealedTogether ? from.revision + 1 : seq
    const isSealed = signer !== null && (!sealedTogether || encoded.length === records.length - 1)
    const seal = isSealed ? (hash: string) => sealEntry(stream, hash, first, signer) : undefined
    const { event, logged } = encode(seq, record, meta, seal)
    events.push(event)
    encoded.push(logged)
    after = { revision: logged.seq, head: logged.meta.hash, state: evolve(after.state, logged) }
  }
  return { events, records: encoded, after }
}

/** How `decideAndAppend` gets to the state that is decided on. */
type DecideOptions<R, S> = {
  /** The stream as far as it is known. */
  readonly from?: Folded<S>
  /** Decides on `from` as it is, and reads the stream only after a conflict. */
  readonly isCurrent?: boolean
  /** Gets each record after `from` once, whether it is read or appended. */
  readonly visit?: (logged: Logged<R>) => void
  /** Signs what is appended to a ledger. */
  readonly sign?: Signing
}

/**
 * Folds a stream, decides which records to add, and appends them at exactly the revision that was decided on.
 * Decides again if another writer was faster. Without records, nothing is appended. The error `outcome_unknown`
 * means that the records may be stored; all others, that they are not.
 */
export function decideAndAppend<R extends StoredRecord, S, X = never>(
  store: StreamStore,
  definition: StreamDefinition<R, S>,
  decide: (
    state: S,
    folded: Folded<S>,
  ) => Result<readonly R[], X> | Promise<Result<readonly R[], X>>,
  author: Author,
  { from = emptyStream(definition), isCurrent = false, visit, sign }: DecideOptions<R, S> = {},
): ResultAsync<Folded<S>, AppendError | LoadError | X> {
  const attempt = async (): Promise<Result<Folded<S>, AppendError | LoadError | X>> => {
    let known = from
    for (let conflicts = 0; ; conflicts += 1) {
      if (!isCurrent || conflicts > 0) {
        const folded = await foldStream(store, definition, {
          from: known,
          visit: (it) => visit?.(it),
        })
        if (folded.isErr()) return err(folded.error)
        known = folded.value
      }
      const decided = await decide(known.state, known)
      if (decided.isErr()) return err(decided.error)
      if (decided.value.length === 0) return ok(known)
      const signer = (await sign?.()) ?? ok(null)
      if (signer.isErr()) return err(signer.error)
      const { events, records, after } = chain(
        definition,
        known,
        decided.value,
        author,
        signer.value,
      )
      const failure = await appendAfter(store, definition.stream, known.revision, events)
      if (failure === null) {
        if (visit !== undefined) records.forEach(visit)
        return ok(after)
      }
      if (!wasOvertaken(failure, known.revision) || conflicts >= MAX_CONFLICTS) return err(failure)
    }
  }
  return new ResultAsync(attempt())
}

/**
 * Whether an append failed because another writer was faster. If the stream ends before `revision`, which was read or
 * appended before, the store has come back without it, and no repetition helps.
 */
export const wasOvertaken = (failure: { readonly type: string }, revision: number): boolean =>
  failure.type === 'wrong_expected_revision' &&
  'actual' in failure &&
  typeof failure.actual === 'number' &&
  failure.actual > revision

/**
 * Appends after `revision` (-1 begins the stream); null if the events are stored. Repeats an append whose outcome is
 * unknown, with the same ids. From then on only a success, or what is read from the stream, decides: a store that
 * refuses the next attempt may have stored the first one.
 */
export async function appendAfter(
  store: StreamStore,
  stream: string,
  revision: number,
  events: readonly NewEvent[],
): Promise<AppendError | null> {
  const expectedRevision = revision === -1 ? 'no_stream' : revision
  let unknown: AppendError | null = null
  for (let attempts = 0; attempts < MAX_ATTEMPTS; attempts += 1) {
    const appended = await store.append(stream, events, { expectedRevision })
    if (appended.isOk()) return null
    const { error } = appended
    if (error.type === 'outcome_unknown') unknown = error
    else if (unknown === null) return error
    else if (error.type === 'wrong_expected_revision') break
  }
  const event = (await eventAt(store, stream, revision + 1)).unwrapOr(null)
  // While the place is free, an append that is still on its way may arrive.
  if (event === null) return unknown
  if (event.id === events[0]?.id) return null
  return { type: 'wrong_expected_revision', expected: expectedRevision, actual: event.revision }
}
