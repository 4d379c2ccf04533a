import { err, ok, type Result } from 'neverthrow'
import { statusOf } from '../domain/state.ts'
import { LruCache } from '../lib/lru-cache.ts'
import { messageOf } from '../lib/message-of.ts'
import type { LoadedRun } from '../log/run-log.ts'
import type { Batch, Checkpoint } from './batch.ts'
import { decodeCursor, encodeCursor } from './list-query.ts'
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
import type { ReadModelTables, UnfinishedRun } from './read-model-tables.ts'

/** How far a run has come. */
type RunHead = { readonly run_id: string; readonly length: number; readonly head: string }

/** Runs that are kept in memory in front of the file. */
const RECENT_RUNS = 256
/** Pages of lists that are kept until a run is listed otherwise. */
const RECENT_PAGES = 64

/**
 * Opens the read model, empty where there is no usable file: whatever is wrong with the content of a
 * file is mended by throwing it away, and logged.
 */
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
 * The read model in a SQLite file beside the log. One projector fills it. A file that turns out to be
 * damaged is thrown away at once, which begins a new generation that a projector fills from zero.
 */
export class SqliteReadModel implements ReadModel {
  readonly #options: ReadModelOptions
  readonly #recent = new LruCache<LoadedRun>(RECENT_RUNS)
  readonly #pages = new LruCache<RunPage>(RECENT_PAGES)
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
    const found = this.#mending((tables) => tables.run(runId))
    if (found !== null) this.#recent.set(runId, found)
    return found
  }

  list(query: RunQuery): RunPage | null {
    const { limit, cursor, status, goal } = query
    const key = JSON.stringify([limit, cursor, status, goal])
    const known = this.#pages.get(key)
    if (known !== undefined) return known
    const page = this.#readPage(query)
    if (page !== null) this.#pages.set(key, page)
    return page
  }

  #readPage(query: RunQuery): RunPage | null {
    const after = decodeCursor(query.cursor)
    if (after === null) return null
    const found = this.#mending((tables) => tables.list(query, after, query.limit + 1))
    const runs = found.slice(0, query.limit)
    const last = runs.at(-1)
    const more = found.length > runs.length && last !== undefined
    return { runs, next: more ? encodeCursor(last) : null }
  }

  waitFor(runId: string, seq: number, timeoutMs: number): Promise<boolean> {
    const run = this.get(runId)
    if (run !== null && run.state.seq >= seq) return Promise.resolve(true)
    return this.#waiters.wait(runId, seq, timeoutMs)
  }

  /** Resolves after `ms` milliseconds, or as soon as a call waits for a record to be projected. */
  unhurried(ms: number): Promise<void> {
    return this.#waiters.nobodyFor(ms)
  }

  get caughtUp(): boolean {
    return this.#caughtUp
  }

  markCaughtUp(): void {
    this.#caughtUp = true
  }

  /** The runs that have not ended as of the checkpoint, oldest first. */
  unfinished(): UnfinishedRun[] {
    return this.#mending((tables) => tables.unfinished())
  }

  /** How far runs have come: at most `limit` whose ids come after `after`, by their ids. */
  heads(after: string, limit: number): readonly RunHead[] {
    return this.#mending((tables) => tables.heads(after, limit))
  }

  /** The runs that were projected since this was last asked for; null if that is not known: look at all. */
  takeChanged(): readonly RunHead[] | null {
    const changed = this.#changed
    this.#changed = new Map()
    return changed === null ? null : [...changed.values()]
  }

  /** Calls `listener` when the end of a run has been projected. */
  whenRunEnds(listener: () => void): void {
    this.#onEnd = listener
  }

  /** Takes the log for its own; what was projected from another log is thrown away. */
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

  /** Whether the run has a record that cannot be read: it is kept as it was before that one. */
  isDamaged(runId: string): boolean {
    return this.#contents.damaged.has(runId)
  }

  /** The last event that is projected; null is none. */
  get checkpoint(): Checkpoint | null {
    return this.#contents.checkpoint
  }

  /** Aborts when all that was projected has been thrown away; then there is a new signal here. */
  get generation(): AbortSignal {
    return this.#generation.signal
  }

  /** Commits runs and checkpoint together, then settles the calls that waited for them. */
  commit(batch: Batch): Result<void, ReadModelFailure> {
    try {
      this.#contents.tables.commit(batch)
    } catch (cause) {
      if (this.#isBroken(cause)) this.startOver(messageOf(cause))
      return err(failure(this.#options.file, cause))
    }
    this.#contents.checkpoint = batch.checkpoint
    for (const { runId } of batch.damaged) this.#contents.damaged.add(runId)
    for (const [runId, run] of batch.runs) {
      if (!isListedAs(run, this.#recent.get(runId))) this.#pages.clear()
      this.#recent.set(runId, run)
      this.#waiters.reached(runId, run.state.seq)
      const length = run.state.seq + 1
      this.#changed?.set(runId, { run_id: runId, length, head: run.head })
      if (run.state.phase.type === 'ended') this.#onEnd()
    }
    return ok(undefined)
  }

  /** Up to which revision of the ledger of redactions the runs here are without what was redacted. */
  get redaction(): number {
    return this.#mending((tables) => tables.redaction())
  }

  /**
   * Replaces what was projected of runs with the same runs, each folded again up to the same record, and leaves
   * nothing of it in the file. @throws what SQLite throws
   */
  replace(runs: readonly LoadedRun[], redaction: number): void {
    this.#contents.tables.replace(runs, redaction)
    for (const run of runs) this.#recent.set(run.state.runId, run)
  }

  /** Why what was there was thrown away, if something else than a server had changed it; null if nothing had. */
  get altered(): string | null {
    return this.#contents.altered
  }

  /**
   * Throws all that was projected away; the log stays the same.
   * @param altered whether that is because something else than this server had changed it
   * @throws when no new file can be made
   */
  startOver(reason: string, { altered = false }: { readonly altered?: boolean } = {}): void {
    const { logId, altered: before } = this.#contents
    this.#caughtUp = false
    this.#changed = null
    this.#recent.clear()
    this.#pages.clear()
    this.#contents.tables.close()
    this.#contents = openNew(this.#options, reason)
    this.#contents.altered = altered ? reason : before
    if (logId !== null) this.#nameLog(logId)
    const over = this.#generation
    this.#generation = new AbortController()
    over.abort()
  }

  close(): void {
    this.#closed = true
    this.#waiters.giveUp()
    this.#contents.tables.close()
  }

  #nameLog(logId: string): void {
    this.#contents.tables.putLogId(logId)
    this.#contents.logId = logId
  }

  /** Reads; where the file turns out to be damaged, what a new and empty one answers. */
  #mending<T>(read: (tables: ReadModelTables) => T): T {
    try {
      return read(this.#contents.tables)
    } catch (cause) {
      if (!this.#isBroken(cause)) throw cause
      this.startOver(messageOf(cause), { altered: cause instanceof Altered })
      return read(this.#contents.tables)
    }
  }

  #isBroken(cause: unknown): boolean {
    return !this.#closed && (isDamage(cause) || !this.#contents.tables.isOpen)
  }
}

/** Whether lists show the same of a run as before: all that can change is its status. */
function isListedAs(run: LoadedRun, before: LoadedRun | undefined): boolean {
  return before !== undefined && statusOf(before.state) === statusOf(run.state)
}
