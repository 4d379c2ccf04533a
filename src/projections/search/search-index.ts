import { keepRunning, type PauseBoundsMs, sleep } from '../../lib/backoff.ts'
import type { Logger } from '../../lib/logger.ts'
import { siblingModule } from '../../lib/paths.ts'
import { Thread } from '../../lib/thread.ts'
import { RUN_STREAM_PREFIX } from '../../log/run-log.ts'
import { logPages, lookFor, placeOf } from '../../log/stream-pages.ts'
import type { Forget } from '../../redaction/redactor.ts'
import type { EventStore, RecordedEvent } from '../../store/event-store.ts'
import type { Projector } from '../projector.ts'
import type { SqliteReadModel } from '../sqlite-read-model.ts'
import type { SearchHit, SearchProgress, SearchRequest } from './search-file.ts'
import type { SearchAnswer, SearchOperations } from './search-worker.ts'

const WORKER = siblingModule('search-worker', import.meta.url)

/** How often it looks whether the read model has more than the index, milliseconds. */
const LOOK_MS = 500
/** How many records are added at once: a search waits until they are. */
const BATCH = 200
const RETRY_MS: PauseBoundsMs = [500, 30_000]

type SearchDeps = {
  /** Path of the SQLite file. It belongs to the index, and may be deleted while it is closed. */
  readonly file: string
  /** The log without redacted text. */
  readonly store: EventStore
  readonly readModel: Pick<SqliteReadModel, 'checkpoint' | 'logId' | 'records'>
  readonly projector: Pick<Projector, 'caughtUpOnce'>
  /** An event as it is now: strings may have been redacted since it was read. */
  readonly asOfNow: (event: RecordedEvent) => RecordedEvent
  readonly log: Logger
}

/**
 * The index of words, in a file of its own and a thread of its own. It follows the log after the read model, from where
 * it was, and is rebuilt if it is missing, damaged, of another version or of another log. What it has so far can be
 * searched at any time.
 */
export class SearchIndex {
  readonly #deps: SearchDeps
  readonly #stop = new AbortController()
  #thread: Thread<SearchOperations> | null = null
  /** Null if the file cannot be used. */
  #opening: Promise<SearchProgress | null> | null = null
  #progress: SearchProgress | null = null
  #following: Promise<void> = Promise.resolve()

  constructor(deps: SearchDeps) {
    this.#deps = deps
  }

  /** Begins to follow the log once the read model has caught up with it. */
  start(): void {
    const { log, projector } = this.#deps
    const onFailure = (error: unknown): void =>
      log.warn({ err: error }, 'the search index cannot follow the log, trying again')
    this.#following = projector.caughtUpOnce().then(() => {
      const { signal } = this.#stop
      return keepRunning(() => this.#follow(), { signal, retryMs: RETRY_MS, onFailure })
    })
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#following
    await this.#thread?.end()
  }

  /** The records that are found, in the order of the results; null if the index cannot be used now. */
  async find(request: SearchRequest): Promise<readonly SearchHit[] | null> {
    try {
      return (await this.#open()) && (await this.#ask('find', request))
    } catch (error) {
      this.#deps.log.warn({ err: error }, 'a search failed')
      return null
    }
  }

  /** How many records the log has that are not in the index yet. */
  get behind(): number {
    const { checkpoint, records } = this.#deps.readModel
    if ((checkpoint?.position ?? null) === (this.#progress?.last?.position ?? null)) return 0
    return Math.max(1, records - (this.#progress?.records ?? 0))
  }

  /** Throws the index away if a text is redacted that may be in it. Rejects if that cannot be done now. */
  readonly forget: Forget = async (redactions) => {
    const redaction = redactions.at(-1)?.seq ?? -1
    const progress = await this.#open()
    if (progress === null || redaction <= progress.redaction) return
    await this.#startOver(redaction, 'a text was redacted')
  }

  /** Throws the index away if it has one of these runs, which are removed. Rejects if that cannot be done now. */
  async removeRuns(runIds: readonly string[]): Promise<void> {
    const progress = await this.#open()
    if (progress === null) return
    // What was read of the log before this may have the runs, too.
    this.#opening = Promise.resolve(progress)
    if (!(await this.#ask('hasAny', runIds))) return
    await this.#startOver(progress.redaction, 'a run was removed')
  }

  async #startOver(redaction: number, reason: string): Promise<void> {
    this.#opening = this.#ask('startOver', redaction).then((answer) => this.#take(answer, reason))
    await this.#opening
  }

  /** Follows the log while this thread lives: after it, the file may be another one. */
  async #follow(): Promise<void> {
    const { signal } = this.#stop
    const opened = await this.#open()
    const thread = this.#thread
    if (opened === null || thread === null) return void (await sleep(RETRY_MS[1], signal))
    if (!(await this.#isOfThisLog(opened))) {
      await this.#startOver(opened.redaction, 'it was made from another log')
    }
    do {
      const { checkpoint } = this.#deps.readModel
      if ((checkpoint?.position ?? null) !== (this.#progress?.last?.position ?? null))
        await this.#catchUp(thread)
    } while (await sleep(LOOK_MS, signal))
  }

  /** Adds what the log has more, and leaves as much time to others as it takes. */
  async #catchUp(thread: Thread<SearchOperations>): Promise<void> {
    const { store } = this.#deps
    const { signal } = this.#stop
    const opening = this.#opening
    await opening
    const after = this.#progress?.last?.position ?? null
    for await (const page of logPages(store, { after, prefix: RUN_STREAM_PREFIX })) {
      if (page.isErr()) throw new Error(page.error.message)
      for (let at = 0; at < page.value.length; at += BATCH) {
        const began = performance.now()
        // Texts or runs are gone, or the index was thrown away and lacks others first.
        if (this.#opening !== opening) return
        await this.#add(page.value.slice(at, at + BATCH), thread)
        if (!(await sleep(performance.now() - began, signal))) return
      }
    }
  }

  async #add(events: readonly RecordedEvent[], thread: Thread<SearchOperations>): Promise<void> {
    const { readModel, asOfNow } = this.#deps
    const last = events.at(-1)
    const before = this.#progress
    if (last === undefined || before === null) return
    const { checkpoint } = readModel
    const isCurrent = checkpoint?.position === last.position
    const progress = {
      log_id: readModel.logId,
      last: placeOf(last),
      // Both count what they read; runs that were removed since are in one of them only.
      records: isCurrent ? readModel.records : before.records + events.length,
    }
    await thread.ask('add', { events: events.map(asOfNow), progress })
    this.#progress = { ...progress, redaction: before.redaction }
  }

  async #isOfThisLog({ log_id, last }: SearchProgress): Promise<boolean> {
    if (log_id === null || last === null) return true
    if (log_id !== this.#deps.readModel.logId) return false
    const found = await lookFor(this.#deps.store, last)
    if (found.isErr()) throw new Error(found.error.message)
    return found.value === 'there'
  }

  /** Opens the file, again if its thread is lost. */
  #open(): Promise<SearchProgress | null> {
    if (this.#thread !== null && this.#thread.lost !== null) this.#opening = null
    this.#opening ??= (async () => {
      this.#thread = new Thread<SearchOperations>(WORKER, null)
      return this.#take(await this.#ask('open', this.#deps.file), null)
    })()
    return this.#opening.then(() => this.#progress)
  }

  #take({ progress, problem }: SearchAnswer, reason: string | null): SearchProgress | null {
    const { log, file } = this.#deps
    this.#progress = progress
    if (progress === null) log.warn({ file, problem }, 'nothing can be searched')
    else if ((reason ?? problem) !== null)
      log.info({ file, reason: reason ?? problem }, 'the search index is rebuilt from the log')
    return progress
  }

  #ask<K extends keyof SearchOperations>(
    operation: K,
    argument: Parameters<SearchOperations[K]>[0],
  ): Promise<ReturnType<SearchOperations[K]>> {
    if (this.#thread === null) return Promise.reject(new Error('the index is not open'))
    return this.#thread.ask(operation, argument)
  }
}
