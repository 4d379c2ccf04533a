import { randomUUID } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { Checkpoint, PublishedKey, type PublishedKeys, RunHead } from '../api/audit.ts'
import { OWN_STREAM_PREFIX } from '../domain/fields.ts'
import { messageOf } from '../lib/message-of.ts'
import { type DamagedRecord, storedValue } from '../log/codec.ts'
import { type StreamReader, streamPages } from '../log/stream-pages.ts'
import type { NewEvent, ReadError, RecordedEvent } from '../store/event-store.ts'
import { checkSeal, type KnownKeys, knownKeys } from './public-keys.ts'

export const CHECKPOINT_STREAM = `${OWN_STREAM_PREFIX}checkpoints`

/** Before each checkpoint, some events hold the runs that are new or longer since the previous one. */
const RUNS = 'checkpoint_runs'
const CHECKPOINT = 'checkpoint'
const Runs = z.strictObject({ runs: z.array(RunHead) })
/** The metadata of a checkpoint: public keys of the server that wrote it, if the log did not have them yet. */
const Publishes = z.looseObject({ keys: z.array(PublishedKey).readonly().default([]) })

/** Runs in one event: far below the limit of an append. */
const RUNS_PER_EVENT = 2000

/**
 * The events of a checkpoint and of the runs that are new or longer, by appends. The last runs are in the append of the
 * checkpoint, which is usually the only one.
 */
export function checkpointAppends(
  runs: readonly RunHead[],
  checkpoint: Checkpoint,
  keys: readonly PublishedKey[],
): readonly NewEvent[][] {
  const events: NewEvent[] = []
  for (let from = 0; from < runs.length; from += RUNS_PER_EVENT) {
    events.push(event(RUNS, { runs: runs.slice(from, from + RUNS_PER_EVENT) }))
  }
  const last = [...events.splice(-1), checkpointEvent(checkpoint, keys)]
  return [...events.map((one) => [one]), last]
}

/** @param keys that the server publishes with it, so that others can verify what it has signed */
export const checkpointEvent = (checkpoint: Checkpoint, keys: readonly PublishedKey[]): NewEvent =>
  event(CHECKPOINT, checkpoint, keys.length === 0 ? {} : { keys })

export const event = (type: string, data: object, metadata: object = {}): NewEvent => {
  return {
    id: randomUUID(),
    type,
    data: JSON.stringify(data),
    metadata: JSON.stringify(metadata),
  }
}

/** A checkpoint, and the runs and ledgers that it is made over. */
export type CheckpointLog = {
  readonly checkpoint: Checkpoint
  readonly heads: ReadonlyMap<string, RunHead>
}

export type CheckpointError =
  | Exclude<ReadError, { type: 'stream_not_found' }>
  /** The stream holds another event. */
  | DamagedRecord

/** What one event of the stream holds. */
export type CheckpointEntry = { readonly revision: number } & (
  | { readonly runs: readonly RunHead[] }
  | { readonly checkpoint: Checkpoint; readonly keys: readonly PublishedKey[] }
)

/** `to` is inclusive. */
type Range = { readonly after?: number; readonly to?: number }

/** After so many events, other tasks get a turn. */
const PAGE = 20

/** The events of the stream after a revision, up to its end; or from its end on, backward. Ends after an error. */
export async function* checkpointEntries(
  store: StreamReader,
  range: Range | { readonly direction: 'backward' } = {},
): AsyncGenerator<Result<CheckpointEntry, CheckpointError>> {
  for await (const page of streamPages(store, CHECKPOINT_STREAM, { ...range, limit: PAGE })) {
    if (page.isErr() && page.error.type !== 'stream_not_found') yield err(page.error)
    if (page.isErr()) return
    for (const stored of page.value) {
      const entry = read(stored)
      yield entry
      if (entry.isErr()) return
    }
    await nextTurn()
  }
}

function read(event: RecordedEvent): Result<CheckpointEntry, CheckpointError> {
  const { type, revision } = event
  try {
    const value = storedValue(event)
    if (type === RUNS) return ok({ revision, ...Runs.parse(value) })
    if (type === CHECKPOINT) {
      const { keys } = Publishes.parse(JSON.parse(event.metadata))
      knownKeys({ keys })
      return ok({ revision, checkpoint: Checkpoint.parse(value), keys })
    }
    throw new Error(`it is a ${type}`)
  } catch (cause) {
    const message = cause instanceof z.ZodError ? z.prettifyError(cause) : messageOf(cause)
    return err({ type: 'damaged_record', stream: CHECKPOINT_STREAM, seq: revision, message })
  }
}

/** A checkpoint in the stream. */
export type StoredCheckpoint = CheckpointLog & {
  readonly revision: number
  /** The keys that were published with it. */
  readonly keys: readonly PublishedKey[]
}

/** The checkpoints of a log, oldest first. Their `heads` are one map, which grows. Ends after an error. */
export async function* checkpointLogs(
  store: StreamReader,
): AsyncGenerator<Result<StoredCheckpoint, CheckpointError>> {
  const heads = new Map<string, RunHead>()
  let pending: RunHead[] = []
  for await (const entry of checkpointEntries(store)) {
    if (entry.isErr()) yield err(entry.error)
    else if ('runs' in entry.value) pending.push(...entry.value.runs)
    else {
      for (const head of pending) heads.set(head.run_id, head)
      pending = []
      yield ok({ ...entry.value, heads })
    }
  }
}

/** Shows the entries to `see`, until it returns something else than undefined; null if it never does. */
function findEntry<E, T>(
  entries: AsyncIterable<Result<E, CheckpointError>>,
  see: (entry: E) => T | undefined,
): ResultAsync<T | null, CheckpointError> {
  const find = async (): Promise<Result<T | null, CheckpointError>> => {
    for await (const entry of entries) {
      if (entry.isErr()) return err(entry.error)
      const found = see(entry.value)
      if (found !== undefined) return ok(found)
    }
    return ok(null)
  }
  return new ResultAsync(find())
}

/** The newest checkpoint that one of these keys has signed; null if they have signed none of the log. */
export const newestSigned = (
  store: StreamReader,
  keys: KnownKeys,
): ResultAsync<Checkpoint | null, CheckpointError> =>
  findEntry(checkpointEntries(store, { direction: 'backward' }), (entry) => {
    const isSigned = 'checkpoint' in entry && checkSeal(entry.checkpoint, keys) === 'good'
    return isSigned ? entry.checkpoint : undefined
  })

/** The checkpoint of that number or at that revision, or the last one; null if there is no such checkpoint. */
export function checkpointAt(
  store: StreamReader,
  at: number | 'latest' | { readonly revision: number },
): ResultAsync<CheckpointLog | null, CheckpointError> {
  let last: CheckpointLog | null = null
  return findEntry(checkpointLogs(store), ({ checkpoint, heads, revision }) => {
    last = { checkpoint, heads }
    const isAt = typeof at === 'object' ? revision === at.revision : checkpoint.number === at
    return isAt ? last : undefined
  }).map((found) => found ?? (at === 'latest' ? last : null))
}

/** At most `limit` checkpoints after the number `after`, oldest first. */
export function listCheckpoints(
  store: StreamReader,
  after: number,
  limit: number,
): ResultAsync<Checkpoint[], CheckpointError> {
  const found: Checkpoint[] = []
  return findEntry(checkpointLogs(store), ({ checkpoint }) => {
    if (checkpoint.number > (found.at(-1)?.number ?? after)) found.push(checkpoint)
    return found.length === limit ? found : undefined
  }).map(() => found)
}

/** The keys of a server, if it is named, then those that others have published in the log with their checkpoints. */
export function keysInLog(
  store: StreamReader,
  { keys: own }: PublishedKeys = { keys: [] },
): ResultAsync<PublishedKeys, CheckpointError> {
  const inLog = new Map<string, PublishedKey>()
  return findEntry(checkpointLogs(store), ({ keys }) => {
    for (const key of keys) inLog.set(key.fingerprint, key)
    return undefined
  }).map(() => {
    for (const { fingerprint } of own) inLog.delete(fingerprint)
    return { keys: [...own, ...inLog.values()] }
  })
}
