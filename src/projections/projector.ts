import { setImmediate as nextTurn } from 'node:timers/promises'
import { err, ok, type Result } from 'neverthrow'
import { Backoff, type PauseBoundsMs } from '../lib/backoff.ts'
import type { Logger } from '../lib/logger.ts'
import { messageOf } from '../lib/message-of.ts'
import { ensureLogId, type LogIdError } from '../log/log-identity.ts'
import { RUN_STREAM_PREFIX } from '../log/run-log.ts'
import { eventAt, type LogPlace, lookFor } from '../log/stream-pages.ts'
import { REDACTIONS } from '../redaction/redaction-index.ts'
import type { EventStore, RecordedEvent } from '../store/event-store.ts'
import { Batch } from './batch.ts'
import type { ReadModelFailure, SqliteReadModel } from './sqlite-read-model.ts'

/** Pauses between attempts to continue after the store or the read model's file has failed. */
const RETRY_MS: PauseBoundsMs = [50, 1000]

/** Folding pauses after this many milliseconds, so that other work gets its turn. */
const SLICE_MS = 3

type ProjectorDeps = {
  readonly store: EventStore
  readonly readModel: SqliteReadModel
  readonly log: Logger
  /** An event as it is now: strings may have been redacted since it was delivered. */
  readonly asOfNow?: (event: RecordedEvent) => RecordedEvent
  /** Whether a stream is that of a run that was removed, so that the log lacks its records. */
  readonly isGone?: (stream: string) => boolean
  /**
   * Called once the store holds another log than the one that this process has followed: it came back empty, or
   * from a backup. Whatever the process derived from the log may be wrong now.
   * @param reason for a person
   */
  readonly onLogReplaced?: (reason: string) => void
}

/**
 * Follows the log from the read model's checkpoint and folds it into the read model until it is stopped. After a
 * failure of the store or the file it tries again. A damaged run stops no other run.
 */
export class Projector {
  readonly #deps: ProjectorDeps
  readonly #stop = new AbortController()
  readonly #caughtUp = Promise.withResolvers<boolean>()
  readonly #stopped: Promise<void>
  #isReplaced = false
  #outage: string | null = null
  /** What events are folded into until it is committed; then the next one begins. */
  #batch: Batch

  constructor(deps: ProjectorDeps) {
    this.#deps = deps
    this.#batch = new Batch(deps.readModel)
    this.#stopped = this.#project(this.#stop.signal).then(() => this.#caughtUp.resolve(false))
  }

  /** Resolves to true once everything in the log has been projected, to false if the projector stops before. */
  caughtUpOnce(): Promise<boolean> {
    return this.#caughtUp.promise
  }

  /** Whether the store holds the log that was projected: not another one, and not an older backup. */
  async followsSameLog(): Promise<boolean> {
    const missing = await missingRecord(this.#deps, this.#deps.readModel.checkpoint)
    return !this.#isReplaced && missing.isOk() && missing.value === null
  }

  /** Why the log cannot be followed now, for a person; null while no problem is known. */
  problem(): string | null {
    return this.#outage
  }

  /** Resolves once nothing more is written to the read model. */
  stop(): Promise<void> {
    this.#stop.abort()
    return this.#stopped
  }

  /** Each round follows the log from the checkpoint, until a failure or until its batch is no longer valid. */
  async #project(signal: AbortSignal): Promise<void> {
    const { readModel, onLogReplaced } = this.#deps
    const backoff = new Backoff(RETRY_MS)
    let followed = false
    while (!signal.aborted) {
      const before = readModel.checkpoint
      try {
        const checked = await checkLog(this.#deps, followed)
        const replaced = checked.unwrapOr(null)
        if (replaced !== null && followed) {
          this.#isReplaced = true
          onLogReplaced?.(replaced)
        }
        followed ||= checked.isOk()
        const { generation } = readModel
        const round = AbortSignal.any([signal, generation])
        const ended = checked.isErr() ? checked : await this.#follow(round)
        if (ended.isErr()) this.#noteOutage(ended.error)
        else if (generation.aborted) continue
      } catch (cause) {
        this.#noteOutage(cause)
      }
      if (readModel.checkpoint !== before) backoff.reset()
      await backoff.wait(signal)
    }
  }

  /** Projects the log from the checkpoint on until `round` aborts. */
  async #follow(round: AbortSignal): Promise<Result<void, LogFailure>> {
    const { store, readModel } = this.#deps
    const after = readModel.checkpoint?.position ?? null
    this.#batch = new Batch(readModel)
    const options = { after, prefix: RUN_STREAM_PREFIX, signal: round }
    try {
      for await (const item of store.subscribeAll(options)) {
        if (round.aborted) break
        // Ends the round: the next one begins by checking that the log is still the same.
        if (item.type === 'interrupted') return this.#commit()
        const done =
          item.type === 'caught_up' ? this.#commit() : await this.#fold(item.events, round)
        if (done.isErr()) return done
        if (item.type === 'caught_up') this.#noteCaughtUp()
        this.#noteOutage(null)
      }
    } catch (cause) {
      // What arrived before the subscription broke is kept.
      const committed = round.aborted ? ok(undefined) : this.#commit()
      if (committed.isErr()) this.#noteOutage(committed.error)
      throw cause
    }
    return ok(undefined)
  }

  /** Folds events in slices, and commits when the batch is full or the read model is current. Ends early if `round` aborts. */
  async #fold(
    events: readonly RecordedEvent[],
    round: AbortSignal,
  ): Promise<Result<void, ReadModelFailure>> {
    const { asOfNow, readModel } = this.#deps
    let began = performance.now()
    for (const event of events) {
      this.#batch.add(asOfNow?.(event) ?? event)
      if (performance.now() - began < SLICE_MS) continue
      const committed = this.#batch.isFull ? this.#commit() : ok(undefined)
      if (committed.isErr()) return committed
      await nextTurn()
      if (round.aborted) return ok(undefined)
      began = performance.now()
    }
    return readModel.caughtUp || this.#batch.isFull ? this.#commit() : ok(undefined)
  }

  #commit(): Result<void, ReadModelFailure> {
    const { readModel } = this.#deps
    if (this.#batch.size === 0) return ok(undefined)
    const committed = readModel.commit(this.#batch)
    if (committed.isOk()) this.#batch = new Batch(readModel)
    return committed
  }

  #noteCaughtUp(): void {
    const { readModel, log } = this.#deps
    if (!readModel.caughtUp)
      log.info({ log_id: readModel.logId }, 'the read model has caught up with the log')
    readModel.markCaughtUp()
    this.#caughtUp.resolve(true)
  }

  /** Logs an outage when it begins, changes and ends, not at each attempt. @param cause null once the log is projected */
  #noteOutage(cause: unknown): void {
    const message = cause === null ? null : messageOf(cause)
    if (message === this.#outage) return
    this.#outage = message
    const { log } = this.#deps
    const field = cause instanceof Error ? { err: cause } : { error: cause }
    if (cause === null) log.info({}, 'the log is projected again')
    else log.error(field, 'the log cannot be projected now; retrying until it can')
  }
}

type LogFailure = LogIdError | ReadModelFailure

/**
 * Starts over if the log is not the one that was projected: another log, one that was restored from a backup, or
 * one that was moved to a store with other positions. Returns why, for a person; null if it is the same.
 */
async function checkLog(
  deps: ProjectorDeps,
  followed: boolean,
): Promise<Result<string | null, LogFailure>> {
  const { store, readModel } = deps
  const logId = await ensureLogId(store)
  if (logId.isErr()) return err(logId.error)
  const before = readModel.generation
  const last = readModel.checkpoint
  const adopted = readModel.adopt(logId.value)
  if (adopted.isErr()) return err(adopted.error)
  if (readModel.generation !== before) return ok('it is another log')
  // If the run of the last record was removed, only this process knows that the log was not moved since.
  const known = followed ? deps : { store }
  let missing = await missingRecord(known, last)
  if (missing.isOk() && missing.value === null) missing = await missingRedaction(deps)
  if (missing.isOk() && missing.value !== null) readModel.startOver(missing.value)
  return missing
}

const WHY = {
  there: null,
  missing: 'the log does not hold the last record that was projected',
  moved: 'the log was moved: its records have other positions now',
} as const

/** Why this log is not the one whose event `last` was projected last; null if it is. */
async function missingRecord(
  { store, isGone }: Pick<ProjectorDeps, 'store' | 'isGone'>,
  last: LogPlace | null,
): Promise<Result<string | null, LogFailure>> {
  if (last === null || isGone?.(last.stream)) return ok(null)
  return lookFor(store, last).map((found) => WHY[found])
}

/** Why this log is an older one, by the redactions that were carried out here; null if it is not. */
async function missingRedaction({
  store,
  readModel,
}: ProjectorDeps): Promise<Result<string | null, LogFailure>> {
  if (readModel.redaction < 0) return ok(null)
  const last = await eventAt(store, REDACTIONS.stream, readModel.redaction)
  return last.map((event) =>
    event === null ? 'the log does not hold the last redaction that was carried out' : null,
  )
}
