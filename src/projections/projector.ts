import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises'
import { err, ok, type Result } from 'neverthrow'
import type { EventStore, Position, RecordedEvent, StoreFailure } from '../store/event-store.ts'
import { RUN_STREAM_PREFIX } from '../store/run-log.ts'
import { Batch } from './batch.ts'
import type { Log } from './log.ts'
import type { ReadModelFailure } from './open-read-model.ts'
import type { SqliteReadModel } from './sqlite-read-model.ts'

/** A transaction takes so many events or so long, whichever comes first; then others have their turn. */
const MAX_BATCH = 100
const MAX_BATCH_MS = 3

/** Between attempts to go on after the store or the read model's file has failed. */
const RETRY_MS = 1000

export type ProjectorDeps = {
  readonly store: EventStore
  readonly readModel: SqliteReadModel
  readonly log: Log
  /** Stops the projector, as `stop` does. */
  readonly signal?: AbortSignal
  readonly retryMs?: number
}

export type Projector = {
  /**
   * Resolves to true as soon as all that was in the log has been projected, to false if the projector
   * stops before.
   */
  caughtUpOnce(): Promise<boolean>
  /**
   * The position up to which the log is projected; null is none of it. What the read model answers in
   * the same tick speaks of the log up to here.
   */
  checkpoint(): Position | null
  /** Resolves once nothing more is written to the read model. */
  stop(): Promise<void>
}

type Failure = StoreFailure | ReadModelFailure

/**
 * Follows the log from the read model's checkpoint and folds it into the read model, until it is
 * stopped. Failures of the store or of the file are waited out; a damaged run stops no other.
 */
export function startProjector(deps: ProjectorDeps): Projector {
  const stop = new AbortController()
  const signal = AbortSignal.any([stop.signal, ...(deps.signal === undefined ? [] : [deps.signal])])
  const caughtUp = Promise.withResolvers<boolean>()
  const onCaughtUp = (): void => {
    if (!deps.readModel.caughtUp) deps.log.info({}, 'the read model has caught up with the log')
    deps.readModel.markCaughtUp()
    caughtUp.resolve(true)
  }
  const stopped = project(deps, onCaughtUp, signal).then(() => caughtUp.resolve(false))
  return {
    caughtUpOnce: () => caughtUp.promise,
    checkpoint: () => deps.readModel.checkpoint?.position ?? null,
    stop: () => {
      stop.abort()
      return stopped
    },
  }
}

async function project(
  deps: ProjectorDeps,
  onCaughtUp: () => void,
  signal: AbortSignal,
): Promise<void> {
  const { log, readModel, retryMs = RETRY_MS } = deps
  while (!signal.aborted) {
    try {
      const checked = await checkLog(deps)
      const round = AbortSignal.any([signal, readModel.generation])
      const ended = checked.isErr() ? checked : await follow(deps, onCaughtUp, round)
      if (ended.isErr()) log.error({ error: ended.error }, 'the log cannot be projected now')
    } catch (cause) {
      log.error({ err: cause }, 'projecting the log failed unexpectedly')
    }
    await delay(retryMs, undefined, { signal }).catch(() => {})
  }
}

/** Starts over where the log is not the one that was projected: it was restored from a backup, say. */
async function checkLog({ store, readModel }: ProjectorDeps): Promise<Result<void, StoreFailure>> {
  const last = readModel.checkpoint
  if (last === null) return ok(undefined)
  const read = await store.readStream(last.stream, {
    from: last.revision,
    direction: 'forward',
    limit: 1,
  })
  if (read.isErr() && read.error.type !== 'stream_not_found') return err(read.error)
  const found = read.isOk() ? read.value[0] : undefined
  if (found?.id !== last.eventId) {
    readModel.startOver('the log does not hold the last record that was projected')
  }
  return ok(undefined)
}

/** Projects what the log holds and gets, until `round` aborts. */
async function follow(
  deps: ProjectorDeps,
  onCaughtUp: () => void,
  round: AbortSignal,
): Promise<Result<void, Failure>> {
  const { store, readModel } = deps
  const after = readModel.checkpoint?.position ?? null
  const options = { after, prefix: RUN_STREAM_PREFIX, signal: round }
  for await (const item of store.subscribeAll(options)) {
    if (round.aborted) break
    if (item.type === 'caught_up') {
      onCaughtUp()
      continue
    }
    const projected = await projectEvents(deps, item.events, round)
    if (projected.isErr()) return projected
  }
  return ok(undefined)
}

async function projectEvents(
  { readModel, log }: ProjectorDeps,
  events: readonly RecordedEvent[],
  round: AbortSignal,
): Promise<Result<void, Failure>> {
  for (let next = 0; next < events.length; ) {
    const batch = takeBatch(readModel, events, next)
    // The read model may have thrown itself away meanwhile: then this batch belongs to nothing.
    if (round.aborted) return ok(undefined)
    const committed = readModel.commit(batch)
    if (committed.isErr()) return committed
    for (const damaged of batch.damaged) {
      log.error({ ...damaged }, 'a run is damaged: its records from here on are not projected')
    }
    next += batch.size
    await nextTurn()
  }
  return ok(undefined)
}

function takeBatch(readModel: SqliteReadModel, events: readonly RecordedEvent[], from: number) {
  const batch = new Batch(readModel)
  const began = performance.now()
  for (const event of events.slice(from, from + MAX_BATCH)) {
    batch.add(event)
    if (performance.now() - began > MAX_BATCH_MS) break
  }
  return batch
}
