import type { z } from 'zod'
import { type FeedQuery, type Selection, selectionOf } from '../../api/event-query.ts'
import type { RunStatus } from '../../domain/state.ts'
import { statusAfter } from '../../domain/status-after.ts'
import { Backoff } from '../../lib/backoff.ts'
import { LruCache } from '../../lib/lru-cache.ts'
import { decode } from '../../log/codec.ts'
import { streamOf } from '../../log/run-log.ts'
import type { RecordedEvent } from '../../store/event-store.ts'
import { type FeedEntry, recordOf } from './feed-entry.ts'
import { selects } from './selects.ts'
import type { TopicDeps } from './topic.ts'

const KNOWN_GOALS = 1024
/** Records that are read at once to find the status before one: the nearest of them usually tells it. */
const LOOK_BACK = 8

/** What is known of runs besides the records that pass by. */
export class RunFacts {
  readonly #deps: TopicDeps
  readonly #goals = new LruCache<string>(KNOWN_GOALS)

  constructor(deps: TopicDeps) {
    this.#deps = deps
  }

  /** A run's goal never changes. Null where its first record cannot be read. */
  async goalOf(runId: string, signal: AbortSignal): Promise<string | null> {
    const known = this.#goals.get(runId) ?? this.#deps.readModel.get(runId)?.state.config.goal
    const goal = known ?? (await this.#readGoal(runId, signal))
    if (goal !== null) this.#goals.set(runId, goal)
    return goal
  }

  /** The status as of a record: what the log says, whenever it is asked. Null where it is damaged. */
  async statusAt(entry: FeedEntry, signal: AbortSignal): Promise<RunStatus | null> {
    const status = entry.kind === null ? null : statusAfter(recordOf(entry))
    return status ?? this.#statusBefore(entry, signal)
  }

  async #readGoal(runId: string, signal: AbortSignal): Promise<string | null> {
    const [first] = await this.#read(runId, 0, 1, signal)
    const decoded = first === undefined ? null : decode(first)
    if (decoded === null || decoded.isErr()) return null
    const { record } = decoded.value
    return record.kind === 'run_created' ? record.payload.config.goal : null
  }

  async #statusBefore({ runId, seq }: FeedEntry, signal: AbortSignal): Promise<RunStatus | null> {
    for (let from = seq - 1; from >= 0; from -= LOOK_BACK) {
      for (const event of await this.#read(runId, from, LOOK_BACK, signal)) {
        const decoded = decode(event)
        if (decoded.isErr()) return null
        const status = statusAfter(decoded.value.record)
        if (status !== null) return status
      }
    }
    return null
  }

  /** Store trouble is waited out; nothing once `signal` has aborted. */
  async #read(
    runId: string,
    from: number,
    limit: number,
    signal: AbortSignal,
  ): Promise<RecordedEvent[]> {
    const { store, limits, log } = this.#deps
    const backoff = new Backoff(limits.retryMs)
    while (!signal.aborted) {
      const options = { from, direction: 'backward', limit } as const
      const read = await store.readStream(streamOf(runId), options)
      if (read.isOk()) return read.value
      log.warn({ run_id: runId, error: read.error }, 'cannot look up a run of the feed')
      await backoff.wait(signal)
    }
    return []
  }
}

type Filters = Pick<
  z.output<typeof FeedQuery>,
  'kinds' | 'from_ts' | 'to_ts' | 'run_id' | 'goal' | 'status'
>

/** Which frames of the feed one observer wants. */
export class FeedFilter {
  readonly #selection: Selection
  readonly #filters: Filters
  readonly #facts: RunFacts
  readonly #signal: AbortSignal

  /** @param signal ends look-ups under way; nothing passes then */
  constructor(filters: Filters, facts: RunFacts, signal: AbortSignal) {
    this.#selection = selectionOf(filters)
    this.#filters = filters
    this.#facts = facts
    this.#signal = signal
  }

  /** That a record cannot be read is told to all who want its run, whatever else they want. */
  passes(entry: FeedEntry): boolean | Promise<boolean> {
    const { run_id, goal, status } = this.#filters
    if (run_id !== undefined && !run_id.has(entry.runId)) return false
    if (entry.kind === null) return true
    if (!selects(this.#selection, entry.kind, entry.data)) return false
    return goal === undefined && status === undefined ? true : this.#passesFacts(entry)
  }

  async #passesFacts(entry: FeedEntry): Promise<boolean> {
    const { goal, status } = this.#filters
    if (goal !== undefined && (await this.#facts.goalOf(entry.runId, this.#signal)) !== goal)
      return false
    return status === undefined || (await this.#facts.statusAt(entry, this.#signal)) === status
  }
}
