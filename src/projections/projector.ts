import { setImmediate as nextTurn } from 'node:timers/promises'
import { err, ok, type Result } from 'neverthrow'
import { sleep } from '../lib/backoff.ts'
import type { Logger } from '../lib/logger.ts'
import { ensureLogId, type LogIdError } from '../log/log-id.ts'
import { RUN_STREAM_PREFIX } from '../log/run-log.ts'
import type { EventStore, Position, RecordedEvent } from '../store/event-store.ts'
import { Batch } from './batch.ts'
import type { ReadModelFailure } from './open-read-model.ts'
import type { SqliteReadModel } from './sqlite-read-model.ts'
import { Trouble } from './trouble.ts'

/** A transaction takes so many events or so long, whichever comes first; then others have their turn. */
const MAX_BATCH = 100
const MAX_BATCH_MS = 3

/**
 * While nobody waits, so much time passes from one transaction to the next: what comes in between is
 * committed together, since a transaction costs more than the records in it. Milliseconds.
 */
const PACE_MS = 5

/** Between attempts to go on after the store or the read model's file has failed. */
const RETRY_MS = 1000

export type ProjectorDeps = {
  readonly store: EventStore
  readonly readModel: SqliteReadModel
  readonly log: Logger
  /** An event as it is now: strings may have been taken out of it since it was delivered. */
  readonly asOfNow?: (event: RecordedEvent) => RecordedEvent
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
  /** Why the log cannot be followed now, for a person; null while it can, as far as is known. */
  problem(): string | null
  /** Resolves once nothing more is written to the read model. */
  stop(): Promise<void>
}

type Failure = LogIdError | ReadModelFailure

/**
 * Follows the log from the read model's checkpoint and folds it into the read model, until it is
 * stopped. Failures of the store or of the file are waited out; a damaged run stops no other.
 */
export function startProjector(deps: ProjectorDeps): Projector {
  const { readModel, log } = deps
  const stop = new AbortController()
  const signal = AbortSignal.any([stop.signal, ...(deps.signal === undefined ? [] : [deps.signal])])
  const caughtUp = Promise.withResolvers<boolean>()
  const trouble = new Trouble(log)
  const on = {
    caughtUp: () => {
      if (!readModel.caughtUp) log.info({}, 'the read model has caught up with the log')
      readModel.markCaughtUp()
      trouble.isOver()
      caughtUp.resolve(true)
    },
    projected: () => trouble.isOver(),
    failed: (cause: unknown) => trouble.met(cause),
  }
  const stopped = project(deps, on, signal).then(() => caughtUp.resolve(false))
  return {
    caughtUpOnce: () => caughtUp.promise,
    checkpoint: () => readModel.checkpoint?.position ?? null,
    problem: () => trouble.now,
    stop: () => {
      stop.abort()
      return stopped
    },
  }
}

/** What the projector tells of its way. */
type Progress = {
  caughtUp(): void
  projected(): void
  failed(cause: unknown): void
}

async function project(deps: ProjectorDeps, on: Progress, signal: AbortSignal): Promise<void> {
  const { readModel, retryMs = RETRY_MS } = deps
  while (!signal.aborted) {
    try {
      const checked = await checkLog(deps)
      const round = AbortSignal.any([signal, readModel.generation])
      const ended = checked.isErr() ? checked : await follow(deps, on, round)
      if (ended.isErr()) on.failed(ended.error)
    } catch (cause) {
      on.failed(cause)
    }
    await sleep(retryMs, signal)
  }
}

/**
 * Starts over where the log is not the one that was projected: another one, one that was restored from
 * a backup, or one that was moved to a store with other positions.
 */
async function checkLog({ store, readModel }: ProjectorDeps): Promise<Result<void, Failure>> {
  const logId = await ensureLogId(store)
  if (logId.isErr()) return err(logId.error)
  const adopted = readModel.adopt(logId.value)
  const last = readModel.checkpoint
  if (adopted.isErr() || last === null) return adopted
  const read = await store.readStream(last.stream, {
    from: last.revision,
    direction: 'forward',
    limit: 1,
  })
  if (read.isErr() && read.error.type !== 'stream_not_found') return err(read.error)
  const found = read.isOk() ? read.value[0] : undefined
  if (found?.id !== last.eventId) {
    readModel.startOver('the log does not hold the last record that was projected')
  } else if (found.position !== last.position) {
    readModel.startOver('the log was moved: its records have other positions now')
  }
  return ok(undefined)
}

/** Projects what the log holds and gets, until `round` aborts. */
async function follow(
  deps: ProjectorDeps,
  on: Progress,
  round: AbortSignal,
): Promise<Result<void, Failure>> {
  const { store, readModel } = deps
  const after = readModel.checkpoint?.position ?? null
  const options = { after, prefix: RUN_STREAM_PREFIX, signal: round }
  for await (const item of store.subscribeAll(options)) {
    if (round.aborted) break
    if (item.type === 'caught_up') {
      on.caughtUp()
      continue
    }
    const projected = await projectEvents(deps, item.events, round)
    if (projected.isErr()) return projected
    on.projected()
    if (item.events.length < MAX_BATCH) await readModel.unhurried(PACE_MS)
  }
  return ok(undefined)
}

async function projectEvents(
  { readModel, log, asOfNow = same }: ProjectorDeps,
  events: readonly RecordedEvent[],
  round: AbortSignal,
): Promise<Result<void, Failure>> {
  for (let next = 0; next < events.length; ) {
    const batch = takeBatch(readModel, events.slice(next, next + MAX_BATCH).map(asOfNow))
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

const same = (event: RecordedEvent): RecordedEvent => event

function takeBatch(readModel: SqliteReadModel, events: readonly RecordedEvent[]) {
  const batch = new Batch(readModel)
  const began = performance.now()
  for (const event of events) {
    batch.add(event)
    if (performance.now() - began > MAX_BATCH_MS) break
  }
  return batch
}
