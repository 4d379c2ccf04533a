import { Backoff } from '../../lib/backoff.ts'
import { streamOf } from '../../log/run-log.ts'
import { NOT_WRITTEN, type Watched } from '../plugins/watch-log.ts'
import { PROJECTION_WAIT_MS } from '../projection-wait.ts'
import { caughtUpFrame, type Entry, entryOf, isEnd } from './entry.ts'
import type { Hub } from './hub.ts'
import type { Outlet } from './outlet.ts'
import { damageOf } from './probe.ts'
import type { TopicDeps } from './topic.ts'
import type { Watch } from './watch-query.ts'

/** Why the server ends an observation; `cursor` is the seq up to which the observer was served. */
export type Ending =
  | { readonly type: 'complete'; readonly cursor: number }
  | {
      readonly type: 'unknown_run' | 'bad_request' | 'damaged' | 'not_written'
      readonly cursor: number
      /** A sentence for the observer. */
      readonly message: string
    }

type Observation = {
  readonly runId: string
  readonly watch: Watch
  readonly outlet: Outlet
  readonly signal: AbortSignal
  readonly watched: Watched
}

/**
 * Sends a run to one observer, from its cursor to the end of the run. Resolves to null when `signal`
 * has aborted before. Who is let go because the run has ended finds that over REST, too, unless the read
 * model is far behind.
 */
export async function observe(
  observation: Observation,
  hub: Hub,
  deps: TopicDeps,
): Promise<Ending | null> {
  const ending = await sendRun(observation, hub, deps)
  if (ending?.type === 'complete') {
    await deps.readModel.waitFor(observation.runId, ending.cursor, PROJECTION_WAIT_MS)
  }
  return ending
}

async function sendRun(
  observation: Observation,
  hub: Hub,
  deps: TopicDeps,
): Promise<Ending | null> {
  const { runId, watch, signal } = observation
  const head = await readHead(runId, signal, deps)
  if (head === null) return null
  if (head === 'unknown_run') {
    const message = `There is no run ${runId}. GET /api/runs lists the runs there are.`
    return { type: 'unknown_run', cursor: -1, message }
  }
  const { after } = watch
  if (after > head.seq) {
    const message = `after=${after} is beyond the last record of this run, which has seq ${head.seq}.`
    return { type: 'bad_request', cursor: after, message }
  }
  const milestone = new Milestone(observation, head.seq, deps)
  if (after === head.seq && isEnd(head)) {
    milestone.tell(after)
    return { type: 'complete', cursor: after }
  }
  if (!(await observation.watched.begin())) return notWritten(after)
  return deliver(hub, observation, milestone)
}

/** @param cursor as of `Ending` */
export const notWritten = (cursor: number): Ending => {
  return { type: 'not_written', cursor, message: NOT_WRITTEN.detail }
}

/** The last record of the run. Store trouble is waited out. */
async function readHead(
  runId: string,
  signal: AbortSignal,
  { store, limits, log }: TopicDeps,
): Promise<Entry | 'unknown_run' | null> {
  const backoff = new Backoff(limits.retryMs)
  while (!signal.aborted) {
    const read = await store.readStream(streamOf(runId), {
      from: 'end',
      direction: 'backward',
      limit: 1,
    })
    if (read.isOk()) {
      const [last] = read.value
      return last === undefined ? 'unknown_run' : entryOf(last, false)
    }
    if (read.error.type === 'stream_not_found') return 'unknown_run'
    log.warn({ run_id: runId, error: read.error }, 'cannot look up a run to watch, trying again')
    await backoff.wait(signal)
  }
  return null
}

async function deliver(
  hub: Hub,
  { runId, watch, outlet, signal, watched }: Observation,
  milestone: Milestone,
): Promise<Ending | null> {
  let cursor = watch.after
  await milestone.reach(cursor)
  const followed = { runId, after: cursor, form: watch.form }
  for await (const entries of hub.follow(followed, signal)) {
    const ending = await sendAll(entries, cursor, { watch, outlet, signal, watched })
    cursor += entries.length
    if (ending?.type === 'complete') milestone.tell(cursor)
    if (ending !== null) return ending
    await milestone.reach(cursor)
  }
  return null
}

/** The end of what is stored, which an observer that asked for it is told of once. */
class Milestone {
  readonly #observation: Observation
  readonly #deps: TopicDeps
  /** What is known to be stored; null when there is nothing to be told any more. */
  #stored: number | null

  constructor(observation: Observation, stored: number, deps: TopicDeps) {
    this.#observation = observation
    this.#deps = deps
    this.#stored = observation.watch.caughtUp ? stored : null
  }

  /** To be called when all up to the cursor is sent: tells it, unless more has been stored meanwhile. */
  async reach(cursor: number): Promise<void> {
    if (this.#stored === null || cursor < this.#stored) return
    const { runId, signal } = this.#observation
    const head = await readHead(runId, signal, this.#deps)
    if (head === null || head === 'unknown_run') return
    if (head.seq > cursor) this.#stored = head.seq
    else this.tell(cursor)
  }

  /** To be called where nothing is stored behind the cursor. */
  tell(cursor: number): void {
    if (this.#stored === null) return
    this.#stored = null
    this.#observation.outlet.send(caughtUpFrame(this.#observation.runId, cursor))
  }
}

/** Sends what was asked for, no faster than the peer takes it. */
async function sendAll(
  entries: readonly Entry[],
  cursor: number,
  { watch, outlet, signal, watched }: Pick<Observation, 'watch' | 'outlet' | 'signal' | 'watched'>,
): Promise<Ending | null> {
  outlet.cork()
  try {
    for (const [index, entry] of entries.entries()) {
      if (signal.aborted) return null
      const expected = cursor + index + 1
      if (entry.type === 'damage') return damaged(entry.seq, entry.message)
      if (entry.seq !== expected) return damaged(expected, `the store gave ${entry.seq} instead`)
      if (watch.kinds.has(entry.kind)) outlet.sendFramed(entry)
      watched.last = entry.seq
      if (isEnd(entry)) return { type: 'complete', cursor: entry.seq }
      if (outlet.full) await outlet.uncorkedDrain()
    }
  } finally {
    outlet.uncork()
  }
  return null
}

function damaged(seq: number, message: string): Ending {
  return { type: 'damaged', cursor: seq - 1, message: damageOf({ seq, message }) }
}
