import { err, ok, type Result } from 'neverthrow'
import { EndStatus, RunRecord } from '../domain/records.ts'
import { modelWait, statusOf } from '../domain/state.ts'
import { LruCache } from '../lib/lru-cache.ts'
import { messageOf } from '../lib/message-of.ts'
import { type DamagedRecord, decode, decodeAs, type LoggedRecord } from '../log/codec.ts'
import type { LoadedRun } from '../log/run-log.ts'
import type { RecordedEvent } from '../store/event-store.ts'
import type { Batch, BatchRows, Checkpoint } from './batch.ts'
import { ProjectionWaiters } from './projection-waiters.ts'
import type { ReadModel, RunPage, RunQuery } from './read-model.ts'
import {
  type Contents,
  failure,
  isDamage,
  openNew,
  openOrRebuild,
  type ReadModelFailure,
  type ReadModelOptions,
} from './read-model-file.ts'
import { Altered } from './read-model-seal.ts'
import type { UnfinishedRun } from './read-model-tables.ts'

/** How many records of a run are projected, and the hash of the last one. */
type RunHead = { readonly run_id: string; readonly length: number; readonly head: string }

/** Runs that are kept in memory in front of the file. */
const RECENT_RUNS = 256

/** Opens the read model. A file whose content cannot be used is replaced by an empty one, which is logged. */
export function openReadModel(
  options: ReadModelOptions,
): Result<SqliteReadModel, ReadModelFailure> {
  try {
    return ok(new SqliteReadModel(options))
  } catch (cause) {
    return err(failure(options.file, cause))
  }
}

/**
 * The read model in a SQLite file beside the log. One projector fills it. If the file turns out to be damaged, it is
 * thrown away at once, and the projector fills a new one from zero.
 */
export class SqliteReadModel implements ReadModel {
  readonly #options: ReadModelOptions
  readonly #recent = new LruCache<LoadedRun>(RECENT_RUNS)
  readonly #waiters = new ProjectionWaiters()
  #contents: Contents
  #generation = new AbortController()
  #caughtUp = false
  #closed = false
  /** Runs that were committed since `takeChanged` was last called; null before the first call. */
  #changed: Map<string, RunHead> | null = null
  #onEnd: () => void = () => {}

  /** @throws what SQLite and the file system throw; see `openReadModel` */
  constructor(options: ReadModelOptions) {
    this.#options = options
    this.#contents = openOrRebuild(options)
  }

  get(runId: string): LoadedRun | null {
    const known = this.#recent.get(runId)
    if (known !== undefined) return known
    const found = this.#read(({ tables }) => tables.run(runId))
    if (found !== null) this.#recent.set(runId, found)
    return found
  }

  list(query: RunQuery): RunPage | null {
    return this.#read(({ lists }) => lists.page(query))
  }

  waitFor(runId: string, seq: number, timeoutMs: number): Promise<boolean> {
    const run = this.get(runId)
    if (run !== null && run.state.seq >= seq) return Promise.resolve(true)
    return this.#waiters.wait(runId, seq, timeoutMs)
  }

  /** Resolves after `ms` milliseconds, or as soon as a call waits for a record to be projected. */
  unhurried(ms: number): Promise<void> {
    return this.#waiters.idleFor(ms)
  }

  get caughtUp(): boolean {
    return this.#caughtUp
  }

  /**
   * To be iterated before `markCaughtUp`, while `generation` has not aborted: each step makes one index of the lists,
   * which takes longer the more runs there are. @throws what SQLite throws
   */
  settle(): Iterable<void> {
    return this.#caughtUp ? [] : this.#contents.tables.settle()
  }

  markCaughtUp(): void {
    this.#caughtUp = true
  }

  /** The runs that have not ended as of the checkpoint, oldest first. */
  unfinished(): UnfinishedRun[] {
    return this.#read(({ tables }) => tables.unfinished())
  }

  /** At most `limit` runs whose ids come after `after`, ordered by id. */
  heads(after: string, limit: number): readonly RunHead[] {
    return this.#read(({ tables }) => tables.heads(after, limit))
  }

  /** The runs that were projected since the last call; null if they are not known, so every run may have changed. */
  takeChanged(): readonly RunHead[] | null {
    const changed = this.#changed
    this.#changed = new Map()
    return changed === null ? null : [...changed.values()]
  }

  /** Calls `listener` when the end of a run has been projected. */
  whenRunEnds(listener: () => void): void {
    this.#onEnd = listener
  }

  /** Names the log that is projected. If another log was projected before, everything is thrown away. */
  adopt(logId: string): Result<void, ReadModelFailure> {
    const before = this.#contents.logId
    if (before === logId) return ok(undefined)
    try {
      if (before !== null) this.startOver(`it was made for the log ${before}, not ${logId}`)
      this.#nameLog(logId)
      return ok(undefined)
    } catch (cause) {
      return err(failure(this.#options.file, cause))
    }
  }

  /** The log that is projected; null while it is not known. */
  get logId(): string | null {
    return this.#contents.logId
  }

  /** The runs that have a record that cannot be read. They stay as they were before that record. */
  get damaged(): ReadonlySet<string> {
    return this.#contents.damaged
  }

  /** The last event that is projected; null before the first. */
  get checkpoint(): Checkpoint | null {
    return this.#contents.checkpoint
  }

  /**
   * Aborts when what was folded before must not be committed any more: the read model was thrown away, or a
   * redaction changed it. Then there is a new signal here.
   */
  get generation(): AbortSignal {
    return this.#generation.signal
  }

  /** While it catches up, nothing else needs the same records soon, so they are not kept. */
  decode(event: RecordedEvent): Result<LoggedRecord, DamagedRecord> {
    return this.#caughtUp ? decode(event) : decodeAs(RunRecord, event)
  }

  /** Commits runs and checkpoint together, then answers the calls that waited for them. */
  commit(batch: Batch): Result<void, ReadModelFailure> {
    const rows = batch.rows()
    const written = this.#write(rows)
    if (written.isErr()) return written
    for (const [runId, run] of batch.runs) {
      if (!isListedAs(run, this.#recent.get(runId))) this.#contents.lists.forget()
      this.#recent.set(runId, run)
    }
    this.#announce(rows)
    return written
  }

  /** The same for a batch that was folded elsewhere. */
  commitRows(rows: BatchRows): Result<void, ReadModelFailure> {
    const written = this.#write(rows)
    if (written.isErr()) return written
    this.#contents.lists.forget()
    this.#recent.clear()
    this.#announce(rows)
    return written
  }

  #write(rows: BatchRows): Result<void, ReadModelFailure> {
    try {
      this.#contents.tables.commit(rows)
    } catch (cause) {
      if (this.#isBroken(cause)) this.startOver(messageOf(cause))
      return err(failure(this.#options.file, cause))
    }
    this.#contents.checkpoint = rows.checkpoint
    for (const damaged of rows.damaged) {
      this.#contents.damaged.add(damaged.runId)
      const message = 'a run is damaged: its records from here on are not projected'
      this.#options.log.error({ ...damaged }, message)
    }
    return ok(undefined)
  }

  #announce({ rows }: BatchRows): void {
    for (const { run_id, seq, head, status } of rows) {
      this.#waiters.reached(run_id, seq)
      this.#changed?.set(run_id, { run_id, length: seq + 1, head })
      if (EndStatus.safeParse(status).success) this.#onEnd()
    }
  }

  /** The last revision of the ledger of redactions that the runs here are rebuilt for; -1 before the first. */
  get redaction(): number {
    return this.#read(({ tables }) => tables.redaction())
  }

  /**
   * Replaces runs with the same runs, each folded again up to the same record, and leaves nothing of the old rows in
   * the file. @throws what SQLite throws
   */
  replace(runs: readonly LoadedRun[], redaction: number): void {
    this.#contents.tables.replace(runs, redaction)
    for (const run of runs) this.#recent.set(run.state.runId, run)
    this.#beginGeneration()
  }

  /** Why the file was thrown away, if something other than a server had changed it; else null. */
  get altered(): string | null {
    return this.#contents.altered
  }

  /**
   * Throws away everything that was projected, and begins with an empty file for the same log.
   * @param altered whether something other than this server had changed the file
   * @throws when no new file can be made
   */
  startOver(reason: string, { altered = false }: { readonly altered?: boolean } = {}): void {
    const { logId, altered: before } = this.#contents
    this.#caughtUp = false
    this.#changed = null
    this.#recent.clear()
    this.#contents.tables.close()
    this.#contents = openNew(this.#options, reason)
    this.#contents.altered = altered ? reason : before
    if (logId !== null) this.#nameLog(logId)
    this.#beginGeneration()
  }

  close(): void {
    this.#closed = true
    this.#waiters.giveUp()
    this.#contents.tables.close()
  }

  #beginGeneration(): void {
    const over = this.#generation
    this.#generation = new AbortController()
    over.abort()
  }

  #nameLog(logId: string): void {
    this.#contents.tables.putLogId(logId)
    this.#contents.logId = logId
  }

  /** If the file turns out to be damaged, a new and empty one is read instead. */
  #read<T>(read: (contents: Contents) => T): T {
    try {
      return read(this.#contents)
    } catch (cause) {
      if (!this.#isBroken(cause)) throw cause
      this.startOver(messageOf(cause), { altered: cause instanceof Altered })
      return read(this.#contents)
    }
  }

  #isBroken(cause: unknown): boolean {
    return !this.#closed && (isDamage(cause) || !this.#contents.tables.isOpen)
  }
}

/** Whether lists show the run as before. */
const isListedAs = (run: LoadedRun, before: LoadedRun | undefined): boolean =>
  before !== undefined && shown(before) === shown(run)

/** All that lists show of a run and that can change. */
function shown({ state }: LoadedRun): string {
  const { queued, config, iteration, total, endedAt } = state
  const { max_iterations, model_name } = config
  const waits = [queued, modelWait(state)?.nextTry]
  const used = [iteration, total.tokens, total.costUsd]
  return [statusOf(state), ...waits, model_name, max_iterations, ...used, endedAt].join()
}
