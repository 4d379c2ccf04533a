import { randomUUID } from 'node:crypto'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import { z } from 'zod'
import type { NewEvent, ReadError, RecordedEvent } from '../store/event-store.ts'
import { OWN_STREAM_PREFIX } from '../store/own-streams.ts'
import type { RunReader } from './run-pages.ts'
import { Checkpoint, RunHead } from './views.ts'

/** The stream of the checkpoints. */
export const CHECKPOINT_STREAM = `${OWN_STREAM_PREFIX}checkpoints`

/** Before each checkpoint stand the runs that are new or longer since the one before, in some events. */
const RUNS = 'checkpoint_runs'
const CHECKPOINT = 'checkpoint'
const Runs = z.strictObject({ runs: z.array(RunHead) })

/** Runs in one event: far below what one append may hold. */
export const RUNS_PER_EVENT = 2000

export const runsEvent = (runs: readonly RunHead[]): NewEvent => event(RUNS, { runs })
export const checkpointEvent = (checkpoint: Checkpoint): NewEvent => event(CHECKPOINT, checkpoint)

const event = (type: string, data: object): NewEvent => {
  return { id: randomUUID(), type, data: JSON.stringify(data), metadata: '{}' }
}

/** All that the stream says up to a revision. */
export type CheckpointLog = {
  /** Of the last event; -1 for none. */
  readonly revision: number
  /** The last checkpoint, and the runs that it is made over. */
  readonly checkpoint: Checkpoint | null
  readonly heads: ReadonlyMap<string, RunHead>
  /** Runs that stand behind it, for a checkpoint that has not been written yet. */
  readonly pending: readonly RunHead[]
}

export const NO_CHECKPOINTS: CheckpointLog = {
  revision: -1,
  checkpoint: null,
  heads: new Map(),
  pending: [],
}

export type CheckpointError =
  | Exclude<ReadError, { type: 'stream_not_found' }>
  /** The stream holds something else. */
  | {
      readonly type: 'damaged_record'
      readonly stream: string
      readonly seq: number
      readonly message: string
    }

/**
 * The stream behind `from`: an entry for each checkpoint, and one for its end. The map of an entry goes
 * on to change as soon as the next one is asked for.
 */
export async function* readCheckpoints(
  store: RunReader,
  from: CheckpointLog = NO_CHECKPOINTS,
): AsyncGenerator<Result<CheckpointLog, CheckpointError>> {
  const heads = new Map(from.heads)
  let log: CheckpointLog = { ...from, heads }
  for (;;) {
    const page = await store.readStream(CHECKPOINT_STREAM, {
      from: log.revision + 1,
      direction: 'forward',
      limit: PAGE,
    })
    if (page.isErr() && page.error.type !== 'stream_not_found') yield err(page.error)
    if (page.isErr()) return
    for (const stored of page.value) {
      const entry = read(stored)
      if (entry.isErr()) {
        yield err(entry.error)
        return
      }
      log = { ...log, revision: stored.revision }
      if ('runs' in entry.value) {
        log = { ...log, pending: [...log.pending, ...entry.value.runs] }
        continue
      }
      for (const head of log.pending) heads.set(head.run_id, head)
      log = { ...log, pending: [], checkpoint: entry.value.checkpoint }
      yield ok(log)
    }
    if (page.value.length < PAGE) break
  }
  yield ok(log)
}

const PAGE = 20

type Entry = { readonly runs: readonly RunHead[] } | { readonly checkpoint: Checkpoint }

function read({ type, data, revision }: RecordedEvent): Result<Entry, CheckpointError> {
  try {
    if (type === RUNS) return ok(Runs.parse(JSON.parse(data)))
    if (type === CHECKPOINT) return ok({ checkpoint: Checkpoint.parse(JSON.parse(data)) })
    throw new Error(`it is a ${type}`)
  } catch (cause) {
    const message = cause instanceof z.ZodError ? z.prettifyError(cause) : String(cause)
    return err({ type: 'damaged_record', stream: CHECKPOINT_STREAM, seq: revision, message })
  }
}

/** The log up to its end. */
export function latestCheckpoint(
  store: RunReader,
  from: CheckpointLog = NO_CHECKPOINTS,
): ResultAsync<CheckpointLog, CheckpointError> {
  const find = async (): Promise<Result<CheckpointLog, CheckpointError>> => {
    let latest = from
    for await (const entry of readCheckpoints(store, from)) {
      if (entry.isErr()) return err(entry.error)
      latest = entry.value
    }
    return ok(latest)
  }
  return new ResultAsync(find())
}

/** The log as of the checkpoint of that number; null where there is none. */
export function checkpointAt(
  store: RunReader,
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

/** At most `limit` checkpoints behind the number `after`, oldest first. */
export function listCheckpoints(
  store: RunReader,
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
