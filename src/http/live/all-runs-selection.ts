import { err, errAsync, ok, okAsync, type Result, ResultAsync } from 'neverthrow'
import type { z } from 'zod'
import {
  type AllEventsQuery,
  type Form,
  type Selection,
  selectionOf,
} from '../../api/event-query.ts'
import { type RunStatus, statusAfter } from '../../domain/state.ts'
import { Backoff } from '../../lib/backoff.ts'
import { LruCache } from '../../lib/lru-cache.ts'
import type { AttemptOf } from '../../live/attempt.ts'
import { decode } from '../../log/codec.ts'
import { RUN_STREAM_PREFIX, streamOf } from '../../log/run-log.ts'
import { logPages } from '../../log/stream-pages.ts'
import type { Checkpoint } from '../../projections/batch.ts'
import type { EventStore, Position, RecordedEvent, StoreFailure } from '../../store/event-store.ts'
import { type AllRunsFrame, type CursorError, cursorOf, locate, runOf } from './all-runs-topic.ts'
import { selects } from './record-json.ts'
import type { PageDeps } from './run-pages.ts'
import type { TopicDeps } from './shared-topic.ts'

/** What one client wants of all runs. */
export type AllRunsSelection = {
  readonly start: AllRunsStart
  readonly filter: AllRunsFilter
  readonly form: Form
}

/** Where a client begins to read all runs: after a position, which the cursor names. */
export type AllRunsStart = { readonly position: Position | null; readonly cursor: string | null }

export type StartError =
  | CursorError
  /** This server does not know the end of the log yet. */
  | { readonly type: 'not_projected'; readonly message: string }

type StartDeps = PageDeps & {
  /** The last record that this server has read from the log. */
  readonly checkpoint: () => Checkpoint | null
}

/** @param after as a client gives it: a cursor, `end`, or nothing for all */
export function startAfter(
  after: string | undefined,
  { store, readModel, checkpoint }: StartDeps,
): ResultAsync<AllRunsStart, StartError> {
  if (after === undefined) return okAsync({ position: null, cursor: null })
  if (after !== 'end') return locate(after, store).map((position) => ({ position, cursor: after }))
  if (!readModel.caughtUp) {
    const message = 'The server has not read the log to its end yet. Try again in a moment.'
    return errAsync({ type: 'not_projected', message })
  }
  return new ResultAsync(endAfter(checkpoint(), store))
}

/** How long a store may be silent while the end of its log is looked up. */
const END_SILENT_MS = 5_000

/** The end of the log: this server may not have read the last records yet, which are committed. */
async function endAfter(
  known: Checkpoint | null,
  store: EventStore,
): Promise<Result<AllRunsStart, StoreFailure>> {
  let last: Place | null = known === null ? null : { ...known, id: known.eventId }
  const rest = { after: last?.position ?? null, prefix: RUN_STREAM_PREFIX }
  for await (const page of logPages(store, { ...rest, silentMs: END_SILENT_MS })) {
    if (page.isErr()) return err(page.error)
    last = page.value.at(-1) ?? last
  }
  if (last === null) return ok({ position: null, cursor: null })
  const runId = runOf(last.stream)
  return ok({ position: last.position, cursor: runId === null ? null : cursorOf(runId, last) })
}

type Place = Pick<RecordedEvent, 'position' | 'stream' | 'revision' | 'id'>

const MAX_GOALS = 1024
/** Records that are read at once to find an earlier status: one of the nearest usually has it. */
const LOOK_BACK = 8

/** Looks up facts about runs that the given records do not hold. */
export class RunFacts {
  readonly #deps: TopicDeps
  readonly #goals = new LruCache<string>(MAX_GOALS)

  constructor(deps: TopicDeps) {
    this.#deps = deps
  }

  /** A run's goal never changes. Null if its first record cannot be read. */
  async goalOf(runId: string, signal: AbortSignal): Promise<string | null> {
    const known = this.#goals.get(runId) ?? this.#deps.readModel.get(runId)?.state.config.goal
    const goal = known ?? (await this.#readGoal(runId, signal))
    if (goal !== null) this.#goals.set(runId, goal)
    return goal
  }

  /** The status as of a record, by the log alone. Null if the log is damaged there. */
  async statusAt(frame: AllRunsFrame, signal: AbortSignal): Promise<RunStatus | null> {
    return frame.status ?? this.#statusBefore(frame, signal)
  }

  async #readGoal(runId: string, signal: AbortSignal): Promise<string | null> {
    const [first] = await this.#read(runId, 0, 1, signal)
    const decoded = first === undefined ? null : decode(first)
    if (decoded === null || decoded.isErr()) return null
    const { record } = decoded.value
    return record.kind === 'run_created' ? record.payload.config.goal : null
  }

  async #statusBefore(
    { runId, seq, kind }: AllRunsFrame,
    signal: AbortSignal,
  ): Promise<RunStatus | null> {
    let isClaimed = kind === 'run_claimed'
    for (let from = seq - 1; from >= 0; from -= LOOK_BACK) {
      for (const event of await this.#read(runId, from, LOOK_BACK, signal)) {
        const decoded = decode(event)
        if (decoded.isErr()) return null
        const status = statusAfter(decoded.value.record)
        if (status === 'queued' && isClaimed) return 'running'
        if (status !== null) return status
        isClaimed ||= decoded.value.record.kind === 'run_claimed'
      }
    }
    return null
  }

  /** Waits while the store has trouble. Reads nothing once `signal` has aborted. */
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
      log.warn({ run_id: runId, error: read.error }, 'cannot look up a run, trying again')
      await backoff.wait(signal)
    }
    return []
  }
}

type Filters = Pick<
  z.output<typeof AllEventsQuery>,
  'kinds' | 'from_ts' | 'to_ts' | 'run_id' | 'goal' | 'status'
>

/** Selects the frames of all runs that one observer wants. */
export class AllRunsFilter {
  readonly #selection: Selection
  readonly #filters: Filters
  readonly #facts: RunFacts
  readonly #signal: AbortSignal

  /** @param signal ends look-ups that are running; nothing passes then */
  constructor(filters: Filters, facts: RunFacts, signal: AbortSignal) {
    this.#selection = selectionOf(filters)
    this.#filters = filters
    this.#facts = facts
    this.#signal = signal
  }

  /** The frames that the observer wants, in their order, `limit` at most. Looks up facts only for frames before the last of them. */
  async select(
    frames: readonly AllRunsFrame[],
    limit = Number.POSITIVE_INFINITY,
  ): Promise<ReadonlySet<AllRunsFrame>> {
    const selected = new Set<AllRunsFrame>()
    for (const frame of frames) {
      if (selected.size >= limit) break
      if (!this.#passesAlone(frame)) continue
      if (frame.isDamaged || !this.#asksForFacts || (await this.#passesFacts(frame)))
        selected.add(frame)
    }
    return selected
  }

  get #asksForFacts(): boolean {
    return this.#filters.goal !== undefined || this.#filters.status !== undefined
  }

  /** A damaged record passes for every observer of its run, whatever its other filters are. */
  #passesAlone({ runId, isDamaged, kind, data }: AllRunsFrame): boolean {
    const { run_id } = this.#filters
    if (run_id !== undefined && !run_id.has(runId)) return false
    return isDamaged || selects(this.#selection, kind, data)
  }

  /** Parts come while a run has the status `running`, at the present time. */
  passesParts({ runId, goal }: AttemptOf, now: number): boolean {
    const { run_id, goal: wanted = goal, status = 'running' } = this.#filters
    if (run_id !== undefined && !run_id.has(runId)) return false
    const { fromTs, toTs } = this.#selection
    return goal === wanted && status === 'running' && now >= fromTs && now < toTs
  }

  async #passesFacts(frame: AllRunsFrame): Promise<boolean> {
    const { goal, status } = this.#filters
    if (goal !== undefined && (await this.#facts.goalOf(frame.runId, this.#signal)) !== goal)
      return false
    return status === undefined || (await this.#facts.statusAt(frame, this.#signal)) === status
  }
}
