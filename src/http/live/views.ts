import { err, ok, type Result, type ResultAsync } from 'neverthrow'
import type { z } from 'zod'
import {
  type AllEventsQuery,
  type Form,
  formIn,
  type RunEventsQuery,
} from '../../api/event-query.ts'
import { CATALOGUE, type Problem } from '../../api/problems.ts'
import { DOCUMENTED_KINDS, type Kind } from '../../domain/records.ts'
import { AFTER_THE_END, type RunStatus, statusAfter } from '../../domain/state.ts'
import { Backoff } from '../../lib/backoff.ts'
import type { AttemptOf } from '../../live/live-parts.ts'
import { readRecords, statusAt, streamOf } from '../../log/run-log.ts'
import { streamPages } from '../../log/stream-pages.ts'
import type { Position } from '../../store/event-store.ts'
import { PROJECTION_WAIT_MS } from '../deps.ts'
import { isPassing } from '../problems/problem.ts'
import { invalidField, problemOf } from '../problems/problem-of.ts'
import { type AllRunsStart, startAfter } from './cursor.ts'
import type { LiveDeps } from './deps.ts'
import { type Frame, framesOf, payloadOf } from './frame.ts'
import type { PartsScope } from './parts-follower.ts'
import type { Follower, SharedTopic } from './shared-topic.ts'
import { PageSize, type Topics } from './topics.ts'

/** What one client wants to read: a run or all runs, from where on, and which records. */
export type View<Cursor> = {
  /** Null for all runs, which have no end. */
  readonly runId: string | null
  readonly form: Form
  /** It begins after this record. `place` is what the client calls it; null for the first record. */
  readonly start: Cursor
  readonly place: number | string | null
  /** Whether the run had ended there, and whether the client has all of it. */
  readonly isOver?: boolean
  readonly isComplete?: boolean
  /** Whose parts come between live records; null for a client that wants only records. */
  readonly parts: PartsScope | null
  /** Adds a reader of what is stored and of what happens. */
  join(follower: Follower<Cursor>): SharedTopic<Cursor>
  /**
   * What is stored now, page by page. Ends early if `signal` aborts, and with a problem at a record that cannot be read, or
   * if the store has trouble.
   */
  history(signal: AbortSignal): AsyncGenerator<Result<readonly Frame[], Problem>, void, void>
  /** Whether the client wants a frame. A promise if the log must be asked for that. */
  wants(frame: Frame, signal: AbortSignal): boolean | Promise<boolean>
}

/** What a view reads from. */
type Reading = LiveDeps & Topics
type RunQuery = Partial<z.output<typeof RunEventsQuery>>
type AllRunsQuery = z.output<typeof AllEventsQuery>

/** One run, or why it cannot be read from there. */
export async function viewRun(
  runId: string,
  query: RunQuery,
  live: Reading,
): Promise<Result<View<number>, Problem>> {
  const { after = -1, direction = 'forward' } = query
  const isFromStart = direction === 'backward' || after < 0
  const range = { from: isFromStart ? 0 : after, direction: 'forward', limit: 2 } as const
  const read = await live.store.readStream(streamOf(runId), range)
  if (read.isErr()) return err(problemOf(read.error))
  const frames = framesOf(read.value, { form: 'record', ofAll: false, readModel: live.readModel })
  const view = runView(runId, query, live)
  if (direction === 'backward') return ok(view)
  const [at, next] = isFromStart ? [null, frames[0]] : frames
  if (at === undefined) {
    return err(invalidField('after', `after=${after} is beyond the last record of this run.`))
  }
  if (typeof next?.damage === 'string') return err(damageOf(next.damage))
  const mayFollow = at !== null && AFTER_THE_END.some((kind) => kind === at.kind)
  if (mayFollow) await live.readModel.waitFor(runId, after, PROJECTION_WAIT_MS)
  const isEnded = live.readModel.get(runId)?.state.phase.type === 'ended'
  const isOver = at?.kind === 'run_end' || (mayFollow && isEnded)
  return ok({ ...view, isOver, isComplete: isOver && next === undefined })
}

const damageOf = (detail: string): Problem => ({ code: 'damaged_record', detail })

function runView(runId: string, query: RunQuery, live: Reading): View<number> {
  const { after = -1, direction = 'forward' } = query
  const { store, readModel, limits } = live
  const form = formIn(query)
  return {
    runId,
    form,
    start: after,
    place: after,
    parts: query.live === true ? { runId, after } : null,
    join: (follower) => live.runTopics.join(runId, follower),
    wants: (frame) => selects(query, frame),
    async *history(signal) {
      const pageSize = new PageSize(limits.pageBytes)
      const limit = () => pageSize.records
      const range = { after: query.after, direction, limit }
      for await (const page of streamPages(store, streamOf(runId), range)) {
        if (signal.aborted) return
        if (page.isErr()) {
          live.log.warn({ run_id: runId, error: page.error }, 'cannot read a run')
          return yield err(problemOf(page.error))
        }
        const frames = framesOf(page.value, { form, ofAll: false, readModel })
        pageSize.learn(frames)
        const at = frames.findIndex(({ damage }) => damage !== null)
        yield ok(at < 0 ? frames : frames.slice(0, at))
        const damage = frames[at]?.damage
        if (typeof damage === 'string') return yield err(damageOf(damage))
      }
    },
  }
}

/** All runs in the order of the log. In place of a record that cannot be read, there is an `error`. */
export function viewAllRuns(
  query: AllRunsQuery,
  live: Reading,
): ResultAsync<View<Position | null>, Problem> {
  return startAfter(query.after, live).map((start) => allRunsView(query, start, live))
}

function allRunsView(
  query: AllRunsQuery,
  { position, cursor }: AllRunsStart,
  live: Reading,
): View<Position | null> {
  const form = formIn(query)
  return {
    runId: null,
    form,
    start: position,
    place: cursor,
    parts:
      query.live === true
        ? { runId: null, wants: (attempt) => passesParts(query, attempt, live.clock()) }
        : null,
    join(follower) {
      live.allRuns.join(follower)
      return live.allRuns
    },
    wants: (frame, signal) => {
      const { run_id, goal, status } = query
      if (run_id !== undefined && !run_id.has(frame.runId)) return false
      // A damaged record passes for every client of its run, whatever its other filters are.
      if (frame.damage !== null) return true
      if (!selects(query, frame)) return false
      return goal === undefined && status === undefined
        ? true
        : passesFacts(query, frame, live, signal)
    },
    async *history(signal) {
      for await (const page of live.allRuns.stored(position, form, signal)) {
        if (page === null) return
        yield ok(page)
      }
    },
  }
}

const DOCUMENTED: ReadonlySet<Kind> = new Set(DOCUMENTED_KINDS)

/** Whether a record is selected. */
function selects(query: RunQuery | AllRunsQuery, frame: Frame): boolean {
  const { kinds = DOCUMENTED, from_ts, to_ts } = query
  if (!kinds.has(frame.kind)) return false
  const hasTimes = from_ts !== undefined || to_ts !== undefined
  return !hasTimes || isWithin(query, recordIn(frame).ts)
}

const recordIn = (frame: Frame) => JSON.parse(payloadOf(frame).toString())

/** @param ts seconds since the epoch */
const isWithin = (
  { from_ts = 0, to_ts = Number.POSITIVE_INFINITY }: Pick<RunQuery, 'from_ts' | 'to_ts'>,
  ts: number,
): boolean => ts >= from_ts && ts < to_ts

/** Parts come while a run has the status `running`, at the present time. */
function passesParts(query: AllRunsQuery, { runId, goal }: AttemptOf, now: number): boolean {
  const { run_id, goal: wanted = goal, status = 'running' } = query
  if (run_id !== undefined && !run_id.has(runId)) return false
  return goal === wanted && status === 'running' && isWithin(query, now)
}

/** Whether the run of a frame has the goal, and had the status. If `signal` aborts, nothing passes. */
async function passesFacts(
  { goal, status }: AllRunsQuery,
  frame: Frame,
  deps: LiveDeps,
  signal: AbortSignal,
): Promise<boolean> {
  if (goal !== undefined && (await goalOf(frame.runId, deps, signal)) !== goal) return false
  return status === undefined || (await statusOf(frame, deps, signal)) === status
}

/** A run's goal never changes. Null if its first record cannot be read. */
async function goalOf(runId: string, deps: LiveDeps, signal: AbortSignal): Promise<string | null> {
  const known = deps.readModel.get(runId)?.state.config.goal
  if (known !== undefined) return known
  const read = () => readRecords(deps.store, runId, 0, 1).mapErr(problemOf)
  const [first] = (await patiently(read, deps, signal))?.unwrapOr([]) ?? []
  const record = first?.record
  return record?.kind === 'run_created' ? record.payload.config.goal : null
}

/** The status as of a record, by the log alone. Null if the log is damaged there. */
async function statusOf(
  frame: Frame,
  deps: LiveDeps,
  signal: AbortSignal,
): Promise<RunStatus | null> {
  const { runId, seq } = frame
  const given = statusAfter(recordIn(frame))
  if (given !== null) return given
  const read = async () => (await statusAt(deps.store, runId, seq)).mapErr(problemOf)
  return (await patiently(read, deps, signal))?.unwrapOr(null) ?? null
}

/** Looks something up in the log. Waits while the store has trouble; null if `signal` aborts. */
export async function patiently<T>(
  lookUp: () => PromiseLike<Result<T, Problem>>,
  { limits, log }: Pick<LiveDeps, 'limits' | 'log'>,
  signal: AbortSignal,
): Promise<Result<T, Problem> | null> {
  const backoff = new Backoff(limits.retryMs)
  while (!signal.aborted) {
    const found = await lookUp()
    if (found.isOk() || !isPassing(CATALOGUE[found.error.code][0])) return found
    log.warn({ error: found.error }, 'cannot look up what a watch needs, trying again')
    await backoff.wait(signal)
  }
  return null
}
