import type { DatabaseSync } from 'node:sqlite'
import { err, ok, type Result } from 'neverthrow'
import { isDamage, isInUse, isOfOthers, removeDisposable } from '../lib/disposable-file.ts'
import type { Logger } from '../lib/logger.ts'
import { LruCache } from '../lib/lru-cache.ts'
import { messageOf } from '../lib/message-of.ts'
import { Signal } from '../lib/signal.ts'
import { lockFile } from '../lib/sqlite-file.ts'
import type { LoadedRun } from '../log/run-log.ts'
import type { LogPlace } from '../log/stream-pages.ts'
import type { Position } from '../store/event-store.ts'
import type { Batch, Totals } from './batch.ts'
import type { LaterTags, ReadModel, RunPage, RunQuery } from './read-model.ts'
import { ReadModelFile, type UnfinishedRun } from './read-model-file.ts'

type ReadModelOptions = {
  /** Path of the SQLite file. It belongs to the read model, and may be deleted while it is closed. */
  readonly file: string
  readonly log: Logger
}

/** The file system or SQLite refuses: no access, a full disk, another process that has the file open. */
export type ReadModelFailure = { readonly type: 'read_model_failed'; readonly message: string }

/** The error for what SQLite or the file system threw. */
function failure(file: string, cause: unknown): ReadModelFailure {
  const message = isInUse(cause)
    ? `another process has ${file} open: give each server a data folder of its own`
    : `${file}: ${messageOf(cause)}`
  return { type: 'read_model_failed', message }
}

/** Runs that are kept in memory in front of the file. */
const RECENT_RUNS = 256
/** Pages of lists that are kept in memory until a run changes: a crowd asks for the same one. */
const PAGES = 32

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
  readonly #pages = new LruCache<RunPage>(PAGES)
  /** Notified after each commit, and at the end. */
  readonly #committed = new Signal()
  /** Keeps other servers out. */
  readonly #lock: DatabaseSync
  #file: ReadModelFile
  #laterTags: ReadonlyMap<string, LaterTags> = new Map()
  #generation = new AbortController()
  #caughtUp = false
  #closed = false
  #onEnd: () => void = () => {}

  /** @throws what SQLite and the file system throw; see `openReadModel` */
  constructor(options: ReadModelOptions) {
    this.#options = options
    this.#lock = lockFile(options.file)
    try {
      this.#file = this.#open()
    } catch (cause) {
      this.#lock.close()
      throw cause
    }
  }

  get(runId: string): LoadedRun | null {
    const known = this.#recent.get(runId)
    if (known !== undefined) return known
    const found = this.#read((file) => file.run(runId))
    if (found !== null) this.#recent.set(runId, found)
    return found
  }

  list(query: RunQuery): RunPage | null {
    const name = JSON.stringify(query)
    const known = this.#pages.get(name)
    if (known !== undefined) return known
    const page = this.#read(({ lists }) => lists.page(query))
    if (page !== null) this.#pages.set(name, page)
    return page
  }

  readonly laterTags = (runId: string): LaterTags | null => this.#laterTags.get(runId) ?? null

  /** Takes the tags that runs were given later, by their ids. */
  tag(tagged: ReadonlyMap<string, LaterTags>): void {
    this.#laterTags = tagged
    this.#pages.clear()
  }

  async waitFor(runId: string, seq: number, timeoutMs: number): Promise<boolean> {
    const isThere = () => (this.get(runId)?.state.seq ?? -1) >= seq
    if (isThere()) return true
    const late = AbortSignal.timeout(timeoutMs)
    while (!late.aborted && !this.#closed && !isThere()) await this.#committed.wait(late)
    return !this.#closed && isThere()
  }

  get caughtUp(): boolean {
    return this.#caughtUp
  }

  markCaughtUp(): void {
    this.#caughtUp = true
  }

  /**
   * The runs that have not ended, in the order in which the log has their beginnings, and the position in the log that this is
   * as of. A run that is created later comes after it.
   */
  unfinished(): { readonly runs: UnfinishedRun[]; readonly asOf: Position | null } {
    const runs = this.#read((file) => file.unfinished())
    return { runs, asOf: this.checkpoint?.position ?? null }
  }

  /** At most `limit` runs whose ids come after `after`, ordered by id. */
  heads(after: string, limit: number): ReturnType<ReadModelFile['heads']> {
    return this.#read((file) => file.heads(after, limit))
  }

  /** Calls `listener` when the end of a run has been projected. */
  whenRunEnds(listener: () => void): void {
    this.#onEnd = listener
  }

  /** Names the log that is projected. If another log was projected before, everything is thrown away. */
  adopt(logId: string): Result<void, ReadModelFailure> {
    const before = this.#file.logId
    if (before === logId) return ok(undefined)
    try {
      if (before !== null) this.startOver(`it was made for the log ${before}, not ${logId}`)
      this.#file.putLogId(logId)
      return ok(undefined)
    } catch (cause) {
      return err(failure(this.#options.file, cause))
    }
  }

  /** The log that is projected; null while it is not known. */
  get logId(): string | null {
    return this.#file.logId
  }

  /** The runs that have a record that cannot be read. They stay as they were before that record. */
  get damaged(): ReadonlySet<string> {
    return this.#file.damaged
  }

  get totals(): Totals {
    return this.#file.totals
  }

  statuses(): ReadonlyMap<string, number> {
    return this.#read((file) => file.statuses())
  }

  /** The last event that is projected; null before the first. */
  get checkpoint(): LogPlace | null {
    return this.#file.checkpoint
  }

  /**
   * Aborts when what was folded before must not be committed any more: the read model was thrown away, or a
   * redaction changed it. Then there is a new signal here.
   */
  get generation(): AbortSignal {
    return this.#generation.signal
  }

  /** Commits runs and checkpoint together, then answers the calls that waited for them. */
  commit(batch: Batch): Result<void, ReadModelFailure> {
    const { runs, damaged } = batch
    try {
      this.#file.commit(batch)
    } catch (cause) {
      if (this.#isBroken(cause)) this.startOver(messageOf(cause))
      return err(failure(this.#options.file, cause))
    }
    for (const run of damaged.values()) {
      const message = 'a run is damaged: its records from here on are not projected'
      this.#options.log.error({ ...run }, message)
    }
    for (const [runId, run] of runs) {
      const { state } = run
      this.#recent.set(runId, run)
      if (state.phase.type === 'ended') this.#onEnd()
    }
    this.#pages.clear()
    this.#committed.notify()
    return ok(undefined)
  }

  /** How many records are projected. */
  get records(): number {
    const counts = Object.entries(this.totals).filter(([name]) => name.startsWith('records/'))
    return counts.reduce((sum, [, count]) => sum + count, 0)
  }

  /** The last revision of the ledger of redactions that the runs here are rebuilt for; -1 before the first. */
  get redaction(): number {
    return this.#file.redaction
  }

  /**
   * Replaces runs with the same runs, each folded again up to the same record, and leaves nothing of the old rows in
   * the file. @throws what SQLite throws
   */
  replace(runs: readonly LoadedRun[], redaction: number): void {
    this.#file.replace(runs, redaction)
    for (const run of runs) this.#recent.set(run.state.runId, run)
    this.#beginGeneration()
  }

  /** Removes runs for ever, and leaves nothing of them in the file. @throws what SQLite throws */
  remove(runIds: readonly string[]): void {
    if (!this.#file.remove(runIds)) return
    this.#recent.clear()
    this.#beginGeneration()
  }

  /**
   * Throws away everything that was projected, and begins with an empty file for the same log.
   * @throws when no new file can be made
   */
  startOver(reason: string): void {
    const { logId } = this.#file
    this.#caughtUp = false
    this.#recent.clear()
    this.#file.close()
    this.#file = this.#openNew(reason)
    if (logId !== null) this.#file.putLogId(logId)
    this.#beginGeneration()
  }

  close(): void {
    this.#closed = true
    this.#committed.notify()
    this.#file.close()
    if (this.#lock.isOpen) this.#lock.close()
  }

  #beginGeneration(): void {
    this.#pages.clear()
    const over = this.#generation
    this.#generation = new AbortController()
    over.abort()
  }

  /** If the file is damaged, or another version made it, it is replaced by an empty one. */
  #open(): ReadModelFile {
    try {
      return new ReadModelFile(this.#options.file, this.laterTags)
    } catch (cause) {
      if (isOfOthers(cause)) throw cause
      return this.#openNew(messageOf(cause))
    }
  }

  #openNew(reason: string): ReadModelFile {
    const { file, log } = this.#options
    removeDisposable(file)
    const opened = new ReadModelFile(file, this.laterTags)
    log.warn({ file, reason }, 'the read model was thrown away and is rebuilt from the log')
    return opened
  }

  /** If the file turns out to be damaged, a new and empty one is read instead. */
  #read<T>(read: (file: ReadModelFile) => T): T {
    try {
      return read(this.#file)
    } catch (cause) {
      if (!this.#isBroken(cause)) throw cause
      this.startOver(messageOf(cause))
      return read(this.#file)
    }
  }

  #isBroken(cause: unknown): boolean {
    return !this.#closed && (isDamage(cause) || !this.#file.isOpen)
  }
}
