import type { Result } from 'neverthrow'
import type * as z from 'zod'
import { type Form, formIn, type WatchRunQuery } from '../../api/event-query.ts'
import { RunId } from '../../api/fields.ts'
import { ALL_KINDS, DOCUMENTED_KINDS, type Kind } from '../../domain/records.ts'
import { Backoff } from '../../lib/backoff.ts'
import { streamOf } from '../../log/run-log.ts'
import { PROJECTION_WAIT_MS } from '../deps.ts'
import { NOT_WRITTEN, type Watched } from '../plugins/watch-log.ts'
import { caughtUpFrame, framesOf, isEnd, type RunFrame, refusalFrame } from './frame.ts'
import type { Live } from './live-plugin.ts'
import { type Damage, damageMessage } from './record-json.ts'
import type { SocketWriter } from './socket-writer.ts'
import type { Ending, Observation } from './sockets.ts'

/** The projector may not have read the last record yet. */
const NOT_PROJECTED = -1

type Query = Result<z.output<typeof WatchRunQuery>, string>

/** One run over a WebSocket, as its address asks for it. */
export function observeRun(
  givenId: string,
  query: Query,
  live: Live,
  watched: Watched,
): Observation {
  return {
    send: async (writer, signal) => {
      const start = await begin(givenId, query, watched, signal, live)
      return start === null || 'type' in start
        ? start
        : sendRun(start, { writer, signal, watched }, live)
    },
    refusal: refusalOf(givenId, live),
    watched,
  }
}

/** A function of its own, so that it does not hold the query while the socket is open. */
function refusalOf(givenId: string, { clock }: Live): Observation['refusal'] {
  return ({ cursor, message }) => refusalFrame(givenId, cursor, clock(), message)
}

async function sendRun(
  { runId, after, kinds, form, caughtUp, isComplete }: Start,
  { writer, signal, watched }: Omit<Sending, 'kinds'>,
  live: Live,
): Promise<Ending | null> {
  if (isComplete) {
    caughtUp?.send(after, writer)
    return completed(runId, after, live)
  }
  let cursor = after
  await caughtUp?.check(cursor, writer, signal)
  for await (const frames of live.runTopics.follow({ runId, after, form }, signal)) {
    const ending = await sendAll(frames, cursor, { kinds, writer, signal, watched })
    cursor += frames.length
    if (ending?.type === 'complete') {
      caughtUp?.send(cursor, writer)
      return completed(runId, cursor, live)
    }
    if (ending !== null) return ending
    await caughtUp?.check(cursor, writer, signal)
  }
  return null
}

/** A client that reconnects over REST sees the final state, unless the read model lags far behind. */
async function completed(runId: string, cursor: number, { readModel }: Live): Promise<Ending> {
  await readModel.waitFor(runId, cursor, PROJECTION_WAIT_MS)
  return { type: 'complete', cursor }
}

type Start = {
  readonly runId: string
  /** Frames after this seq; -1 is all. */
  readonly after: number
  readonly kinds: ReadonlySet<Kind>
  readonly form: Form
  /** Null if the observer did not ask for it. */
  readonly caughtUp: CaughtUpReport | null
  /** The observer has the whole run already. */
  readonly isComplete: boolean
}

/** What to send, or why nothing is sent; null if `signal` has aborted. */
async function begin(
  givenId: string,
  query: Query,
  watched: Watched,
  signal: AbortSignal,
  live: Live,
): Promise<Start | Ending | null> {
  const refuse = (type: 'unknown_run' | 'bad_request', cursor: number, message: string): Ending => {
    return { type, cursor, message }
  }
  const runId = RunId.safeParse(givenId)
  if (!runId.success) {
    const message = `"${givenId}" is not a run id. GET /api/runs lists all runs.`
    return refuse('unknown_run', -1, message)
  }
  if (query.isErr()) return refuse('bad_request', -1, query.error)
  const head = await readHead(runId.data, signal, live)
  if (head === null) return null
  if (head === 'unknown_run') {
    const message = `There is no run ${runId.data}. GET /api/runs lists all runs.`
    return refuse('unknown_run', -1, message)
  }
  const { after = -1, caught_up: wantsCaughtUp } = query.value
  const kinds = sharedKinds(query.value.kinds)
  const { seq: stored } = head
  if (after > stored) {
    const message = `after=${after} is beyond the last record of this run, which has seq ${stored}.`
    return refuse('bad_request', after, message)
  }
  const isComplete = after === stored && isEnd(head)
  if (!isComplete && !(await watched.begin())) return notWritten(after)
  const caughtUp = wantsCaughtUp === true ? new CaughtUpReport(runId.data, stored, live) : null
  return { runId: runId.data, after, kinds, form: formIn(query.value), caughtUp, isComplete }
}

const [ALL, DOCUMENTED] = [new Set(ALL_KINDS), new Set(DOCUMENTED_KINDS)]

/** Most observers want the same kinds, so they share one set. */
function sharedKinds(kinds: ReadonlySet<Kind> | undefined): ReadonlySet<Kind> {
  if (kinds === undefined) return DOCUMENTED
  return kinds.size === ALL.size ? ALL : kinds
}

/** @param cursor as of `Ending` */
export const notWritten = (cursor: number): Ending => {
  return { type: 'not_written', cursor, message: NOT_WRITTEN.detail }
}

/** The last record of the run. Waits while the store has trouble; null if `signal` aborts. */
async function readHead(
  runId: string,
  signal: AbortSignal,
  { store, limits, log }: Live,
): Promise<RunFrame | 'unknown_run' | null> {
  const backoff = new Backoff(limits.retryMs)
  while (!signal.aborted) {
    const options = { from: 'end', direction: 'backward', limit: 1 } as const
    const read = await store.readStream(streamOf(runId), options)
    if (read.isOk()) return framesOf(read.value, NOT_PROJECTED)[0] ?? 'unknown_run'
    if (read.error.type === 'stream_not_found') return 'unknown_run'
    log.warn({ run_id: runId, error: read.error }, 'cannot look up a run to watch, trying again')
    await backoff.wait(signal)
  }
  return null
}

/** Sends one frame as soon as the observer has everything that is stored. */
class CaughtUpReport {
  readonly #runId: string
  readonly #live: Live
  /** seq of the last record that is known to be stored; null once the frame is sent. */
  #stored: number | null

  constructor(runId: string, stored: number, live: Live) {
    this.#runId = runId
    this.#stored = stored
    this.#live = live
  }

  /** To be called when everything up to the cursor is sent. Sends unless more is stored by now. */
  async check(cursor: number, writer: SocketWriter, signal: AbortSignal): Promise<void> {
    if (this.#stored === null || cursor < this.#stored) return
    const head = await readHead(this.#runId, signal, this.#live)
    if (head === null || head === 'unknown_run') return
    if (head.seq > cursor) this.#stored = head.seq
    else this.send(cursor, writer)
  }

  /** To be called if nothing is stored after the cursor. */
  send(cursor: number, writer: SocketWriter): void {
    if (this.#stored === null) return
    this.#stored = null
    writer.send(caughtUpFrame(this.#runId, cursor))
  }
}

type Sending = {
  readonly kinds: ReadonlySet<Kind>
  readonly writer: SocketWriter
  readonly signal: AbortSignal
  readonly watched: Watched
}

/** Sends the selected frames, no faster than the client reads. */
async function sendAll(
  frames: readonly RunFrame[],
  cursor: number,
  { kinds, writer, signal, watched }: Sending,
): Promise<Ending | null> {
  writer.cork()
  try {
    for (const [index, frame] of frames.entries()) {
      if (signal.aborted) return null
      const expected = cursor + index + 1
      if (frame.type === 'damage') return damaged(frame)
      if (frame.seq !== expected) {
        return damaged({ seq: expected, message: `the store returned ${frame.seq} instead` })
      }
      if (kinds.has(frame.kind)) writer.sendFrame(frame)
      watched.last = frame.seq
      if (isEnd(frame)) return { type: 'complete', cursor: frame.seq }
      if (writer.full) await writer.uncorkedDrain()
    }
  } finally {
    writer.uncork()
  }
  return null
}

function damaged(damage: Omit<Damage, 'type'>): Ending {
  return { type: 'damaged', cursor: damage.seq - 1, message: damageMessage(damage) }
}
