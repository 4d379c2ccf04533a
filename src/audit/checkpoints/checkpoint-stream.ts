import { randomUUID } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { Checkpoint, PublishedKey, RunHead } from '../../api/audit.ts'
import { OWN_STREAM_PREFIX } from '../../domain/records.ts'
import { type DamagedRecord, storedValue } from '../../log/codec.ts'
import { type StreamReader, streamPages } from '../../log/stream-pages.ts'
import type { NewEvent, ReadError, RecordedEvent } from '../../store/event-store.ts'
import { type KnownKeys, knownKeys } from '../proofs/public-keys.ts'
import { checkSeal } from '../proofs/statements.ts'

export const CHECKPOINT_STREAM = `${OWN_STREAM_PREFIX}checkpoints`

/** Before each checkpoint, some events hold the runs that are new or longer since the previous one. */
const RUNS = 'checkpoint_runs'
const CHECKPOINT = 'checkpoint'
const Runs = z.strictObject({ runs: z.array(RunHead) })
/** The metadata of a checkpoint: public keys of the server that wrote it, if the log did not have them yet. */
const Publishes = z.looseObject({ keys: z.array(PublishedKey).readonly().default([]) })

/** Runs in one event: far below the limit of an append. */
export const RUNS_PER_EVENT = 2000

export const runsEvent = (runs: readonly RunHead[]): NewEvent => event(RUNS, { runs })
/** @param keys that the server publishes with it, so that others can verify what it has signed */
export const checkpointEvent = (
  checkpoint: Checkpoint,
  keys: readonly PublishedKey[] = [],
): NewEvent => event(CHECKPOINT, checkpoint, keys.length === 0 ? {} : { keys })

const event = (type: string, data: object, metadata: object = {}): NewEvent => {
  return {
    id: randomUUID(),
    type,
    data: JSON.stringify(data),
    metadata: JSON.stringify(metadata),
  }
}

/** What the stream holds up to a revision. */
export type CheckpointLog = {
  /** The revision of the last event; -1 for an empty stream. */
  readonly revision: number
  /** The last checkpoint, and the runs that it is made over. */
  readonly checkpoint: Checkpoint | null
  readonly heads: ReadonlyMap<string, RunHead>
  /** Runs after it, for a checkpoint that has not been written yet. */
  readonly pending: readonly RunHead[]
}

const NO_CHECKPOINTS: CheckpointLog = {
  revision: -1,
  checkpoint: null,
  heads: new Map(),
  pending: [],
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

/** The events of the stream after a revision, up to its end. */
export async function* checkpointEntries(
  store: StreamReader,
  after: number,
): AsyncGenerator<Result<CheckpointEntry, CheckpointError>> {
  for await (const page of streamPages(store, CHECKPOINT_STREAM, { after, limit: PAGE })) {
    if (page.isErr() && page.error.type !== 'stream_not_found') yield err(page.error)
    if (page.isErr()) return
    for (const stored of page.value) {
      const entry = read(stored)
      yield entry
      if (entry.isErr()) return
      if (stored.data.length > LARGE) await nextTurn()
    }
  }
}

/** The stream from its start: an entry for each checkpoint and one for the end. An entry's map lasts until the next. */
async function* readCheckpoints(
  store: StreamReader,
): AsyncGenerator<Result<CheckpointLog, CheckpointError>> {
  const heads = new Map<string, RunHead>()
  let log: CheckpointLog = { ...NO_CHECKPOINTS, heads }
  let pending: RunHead[] = []
  for await (const entry of checkpointEntries(store, log.revision)) {
    if (entry.isErr()) {
      yield err(entry.error)
      return
    }
    const { revision } = entry.value
    if ('runs' in entry.value) {
      pending.push(...entry.value.runs)
      log = { ...log, revision, pending }
      continue
    }
    for (const head of pending) heads.set(head.run_id, head)
    pending = []
    log = { revision, heads, pending, checkpoint: entry.value.checkpoint }
    yield ok(log)
  }
  yield ok(log)
}

/** After an event with a longer text, other tasks get a turn. */
const LARGE = 50_000
const PAGE = 20

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
    const message = cause instanceof z.ZodError ? z.prettifyError(cause) : String(cause)
    return err({ type: 'damaged_record', stream: CHECKPOINT_STREAM, seq: revision, message })
  }
}

/** The newest checkpoint that one of these keys has signed; null if there is none. */
export function newestSigned(
  store: StreamReader,
  keys: KnownKeys,
): ResultAsync<Checkpoint | null, CheckpointError> {
  const find = async (): Promise<Result<Checkpoint | null, CheckpointError>> => {
    const back = { direction: 'backward', limit: PAGE } as const
    for await (const page of streamPages(store, CHECKPOINT_STREAM, back)) {
      if (page.isErr()) return page.error.type === 'stream_not_found' ? ok(null) : err(page.error)
      for (const entry of page.value.map(read)) {
        if (entry.isErr()) return err(entry.error)
        const checkpoint = 'checkpoint' in entry.value ? entry.value.checkpoint : null
        if (checkpoint !== null && checkSeal(checkpoint, keys) === 'good') return ok(checkpoint)
      }
    }
    return ok(null)
  }
  return new ResultAsync(find())
}

/** The stream up to the checkpoint of that number; null if there is no such checkpoint. */
export function checkpointAt(
  store: StreamReader,
  number: number | 'latest',
): ResultAsync<CheckpointLog | null, CheckpointError> {
  const find = async (): Promise<Result<CheckpointLog | null, CheckpointError>> => {
    let latest: CheckpointLog | null = null
    for await (const entry of readCheckpoints(store)) {
      if (entry.isErr()) return err(entry.error)
      if (entry.value.checkpoint === null) continue
      if (entry.value.checkpoint.number === number) return ok(entry.value)
      latest = entry.value
    }
    return ok(number === 'latest' ? latest : null)
  }
  return new ResultAsync(find())
}

/** At most `limit` checkpoints after the number `after`, oldest first. */
export function listCheckpoints(
  store: StreamReader,
  after: number,
  limit: number,
): ResultAsync<Checkpoint[], CheckpointError> {
  const list = async (): Promise<Result<Checkpoint[], CheckpointError>> => {
    const found: Checkpoint[] = []
    for await (const entry of readCheckpoints(store)) {
      if (entry.isErr()) return err(entry.error)
      const { checkpoint } = entry.value
      if (checkpoint === null || checkpoint.number <= (found.at(-1)?.number ?? after)) continue
      found.push(checkpoint)
      if (found.length === limit) break
    }
    return ok(found)
  }
  return new ResultAsync(list())
}

/** The keys that servers have published in the log with their checkpoints. */
export function keysInLog(store: StreamReader): ResultAsync<PublishedKey[], CheckpointError> {
  const collect = async (): Promise<Result<PublishedKey[], CheckpointError>> => {
    const found = new Map<string, PublishedKey>()
    for await (const entry of checkpointEntries(store, -1)) {
      if (entry.isErr()) return err(entry.error)
      const keys = 'keys' in entry.value ? entry.value.keys : []
      for (const key of keys) found.set(key.fingerprint, key)
    }
    return ok([...found.values()])
  }
  return new ResultAsync(collect())
}
