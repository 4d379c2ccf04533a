import { setImmediate as nextTurn } from 'node:timers/promises'
import { ok, type Result } from 'neverthrow'
import { sleep } from '../lib/backoff.ts'
import type { Logger } from '../lib/logger.ts'
import { messageOf } from '../lib/message-of.ts'
import type { LedgerHeads } from '../log/ledger-heads.ts'
import { RUN_STREAM_PREFIX } from '../log/run-log.ts'
import type { EventStore, Position, RecordedEvent } from '../store/event-store.ts'
import { type BatchRows, OpenBatch } from './batch.ts'
import { checkLog, type LogFailure, missingRecord } from './same-log.ts'
import type { SqliteReadModel } from './sqlite-read-model.ts'

/**
 * Between two commits while no call waits for a record: a commit costs more than the records in it. After a page of
 * this many events, more follow at once.
 */
const PACE_MS = 5
const LARGE_PAGE = 100

/** Between attempts to continue after the store or the read model's file has failed. */
const RETRY_MS = 1000

/**
 * Folds the log after a position outside of this thread, up to its end or as far as that is worth it.
 * @param damaged the runs that are known to be damaged
 */
export type Rebuild = (
  after: Position | null,
  damaged: Iterable<string>,
  signal: AbortSignal,
) => AsyncIterable<BatchRows>

type ProjectorDeps = {
  readonly store: EventStore
  readonly readModel: SqliteReadModel
  readonly log: Logger
  /** What this process has seen of the ledgers; without it, only runs show that the log is another one. */
  readonly ledgers?: LedgerHeads
  /** An event as it is now: strings may have been redacted since it was delivered. */
  readonly asOfNow?: (event: RecordedEvent) => RecordedEvent
  /** Folds the log faster than a subscription, while there is much of it that is not projected. */
  readonly rebuild?: Rebuild
  readonly retryMs?: number
  /**
   * Called once the store holds another log than the one that this process has followed: it came back empty, or
   * from a backup. Whatever the process derived from the log may be wrong now.
   * @param reason for a person
   */
  readonly onLogReplaced?: (reason: string) => void
}

export type Projector = {
  /** Resolves to true once everything in the log has been projected, to false if the projector stops before. */
  caughtUpOnce(): Promise<boolean>
  /**
   * The position up to which the log is projected; null is nothing of it. What the read model returns in the
   * same tick is as of this position.
   */
  checkpoint(): Position | null
  /** Whether the store holds the log that was projected: not another one, and not an older backup. */
  followsSameLog(): Promise<boolean>
  /** Why the log cannot be followed now, for a person; null while no problem is known. */
  problem(): string | null
  /** Resolves once nothing more is written to the read model. */
  stop(): Promise<void>
}

/**
 * Follows the log from the read model's checkpoint and folds it into the read model until it is stopped. After a
 * failure of the store or the file it tries again. A damaged run stops no other run.
 */
export function startProjector(deps: ProjectorDeps): Projector {
  const { readModel, log } = deps
  const stop = new AbortController()
  const caughtUp = Promise.withResolvers<boolean>()
  const outage = new OutageLog(log)
  let isReplaced = false
  const on = {
    replaced: (reason: string) => {
      isReplaced = true
      deps.onLogReplaced?.(reason)
    },
    caughtUp: () => {
      const isFirst = !readModel.caughtUp
      readModel.markCaughtUp()
      if (isFirst)
        log.info({ log_id: readModel.logId }, 'the read model has caught up with the log')
      outage.isOver()
      caughtUp.resolve(true)
    },
    projected: () => outage.isOver(),
    failed: (cause: unknown) => outage.met(cause),
  }
  const stopped = project(deps, on, stop.signal).then(() => caughtUp.resolve(false))
  return {
    caughtUpOnce: () => caughtUp.promise,
    checkpoint: () => readModel.checkpoint?.position ?? null,
    followsSameLog: async () => {
      const missing = await missingRecord(deps.store, readModel.checkpoint)
      return !isReplaced && missing.isOk() && missing.value === null
    },
    problem: () => outage.now,
    stop: () => {
      stop.abort()
      return stopped
    },
  }
}

/** What the projector reports of its progress. */
type Progress = {
  replaced(reason: string): void
  caughtUp(): void
  projected(): void
  failed(cause: unknown): void
}

/** Each round follows the log from the checkpoint, until a failure or until its batch is no longer valid. */
async function project(deps: ProjectorDeps, on: Progress, signal: AbortSignal): Promise<void> {
  const { readModel, retryMs = RETRY_MS } = deps
  let followed = false
  while (!signal.aborted) {
    try {
      const checked = await checkLog(deps)
      const replaced = checked.unwrapOr(null)
      if (replaced !== null && followed) on.replaced(replaced)
      followed ||= checked.isOk()
      const { generation } = readModel
      const round = AbortSignal.any([signal, generation])
      const ended = checked.isErr() ? checked : await follow(deps, on, round)
      if (ended.isErr()) on.failed(ended.error)
      else if (generation.aborted) continue
    } catch (cause) {
      on.failed(cause)
    }
    await sleep(retryMs, signal)
  }
}

/** Projects the log from the checkpoint on until `round` aborts. */
async function follow(
  deps: ProjectorDeps,
  on: Progress,
  round: AbortSignal,
): Promise<Result<void, LogFailure>> {
  const { store, readModel, rebuild } = deps
  if (rebuild !== undefined) {
    const { checkpoint, damaged } = readModel
    for await (const rows of rebuild(checkpoint?.position ?? null, damaged, round)) {
      const committed = readModel.commitRows(rows)
      if (committed.isErr()) return committed
      on.projected()
    }
    if (round.aborted) return ok(undefined)
  }
  const after = readModel.checkpoint?.position ?? null
  const open = new OpenBatch(deps)
  const options = { after, prefix: RUN_STREAM_PREFIX, signal: round }
  try {
    for await (const item of store.subscribeAll(options)) {
      if (round.aborted) break
      // Ends the round: the next one begins by checking that the log is still the same.
      if (item.type === 'interrupted') return open.commit()
      if (item.type === 'caught_up') {
        const committed = open.commit()
        if (committed.isErr()) return committed
        for (const _ of readModel.settle()) {
          await nextTurn()
          if (round.aborted) return ok(undefined)
        }
        on.caughtUp()
        continue
      }
      const projected = await open.project(item.events, round)
      if (projected.isErr()) return projected
      on.projected()
      if (item.events.length < LARGE_PAGE) await readModel.unhurried(PACE_MS)
    }
  } catch (cause) {
    // What arrived before the subscription broke is kept.
    const committed = round.aborted ? ok(undefined) : open.commit()
    if (committed.isErr()) on.failed(committed.error)
    throw cause
  }
  return ok(undefined)
}

/** Why the log cannot be projected now. It is logged when it begins, changes and ends, not at each attempt. */
class OutageLog {
  readonly #log: Logger
  #now: string | null = null

  constructor(log: Logger) {
    this.#log = log
  }

  /** For a person; null if there is no outage. */
  get now(): string | null {
    return this.#now
  }

  met(cause: unknown): void {
    const message = messageOf(cause)
    if (message === this.#now) return
    this.#now = message
    const field = cause instanceof Error ? { err: cause } : { error: cause }
    this.#log.error(field, 'the log cannot be projected now; retrying until it can')
  }

  isOver(): void {
    if (this.#now === null) return
    this.#now = null
    this.#log.info({}, 'the log is projected again')
  }
}
