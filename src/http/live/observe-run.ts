import type { Result } from 'neverthrow'
import type * as z from 'zod'
import { type Form, formIn, type WatchRunQuery } from '../../api/event-query.ts'
import { RunId } from '../../api/fields.ts'
import { ALL_KINDS, DOCUMENTED_KINDS, type Kind } from '../../domain/records.ts'
import { PROJECTION_WAIT_MS } from '../deps.ts'
import { NOT_WRITTEN, type Watched } from '../plugins/access-log.ts'
import { CaughtUpReport, readHead } from './caught-up.ts'
import { isEnd, type RunFrame, refusalFrame } from './frame.ts'
import type { Live } from './live-plugin.ts'
import { PartsSender } from './parts-follower.ts'
import { type Damage, damageMessage } from './record-json.ts'
import type { RunTopic } from './run-topics.ts'
import type { Follower } from './shared-topic.ts'
import type { Ending, Observer, ServedSocket } from './sockets.ts'

type Query = Result<z.output<typeof WatchRunQuery>, string>

/** One run over a WebSocket, as its address asks for it. */
export const observeRun =
  (givenId: string, query: Query, live: Live, watched: Watched) =>
  (socket: ServedSocket): Observer =>
    new RunObserver(givenId, query, socket, live, watched)

/** Sends the selected frames of a run. Only this object waits for the next one. */
class RunObserver implements Observer, Follower<number> {
  form: Form = 'record'
  /** Frames up to this seq have been taken. */
  cursor = -1
  readonly #givenId: string
  /** In lower case; empty until it is known to be a run id. */
  #runId = ''
  readonly #socket: ServedSocket
  readonly #live: Live
  readonly #watched: Watched
  /** Null once it was read: an idle socket does not hold it. */
  #query: Query | null
  #topic: RunTopic | null = null
  #kinds: ReadonlySet<Kind> = DOCUMENTED
  #caughtUp: CaughtUpReport | null = null
  #parts: PartsSender | null = null

  constructor(givenId: string, query: Query, socket: ServedSocket, live: Live, watched: Watched) {
    this.#givenId = givenId
    this.#query = query
    this.#socket = socket
    this.#live = live
    this.#watched = watched
  }

  advance(): Ending | null | Promise<Ending | null> {
    if (this.#topic === null) return this.#begin()
    const seq = this.cursor + 1
    const frames = this.#topic.take(this)
    if (frames === null) return this.#catchUp(this.#topic)
    const sent = frames.length === 0 ? null : this.#send(frames, seq)
    this.#parts?.send()
    return sent ?? this.#caughtUp?.check(this.cursor, this.#socket) ?? null
  }

  onNews(): void {
    this.#socket.wake()
  }

  shows(runId: string): boolean {
    return runId === this.#runId
  }

  refusal({ cursor, message }: Parameters<Observer['refusal']>[0]): Buffer {
    return refusalFrame(this.#givenId, cursor, this.#live.clock(), message)
  }

  closed(): void {
    this.#topic?.leave(this)
    this.#parts?.leave()
    this.#watched.end()
  }

  /** Joins the topic of the run, or returns why nothing is sent. */
  async #begin(): Promise<Ending | null> {
    const query = this.#query
    if (query === null) return null
    const { signal } = this.#socket
    const parsed = RunId.safeParse(this.#givenId)
    if (!parsed.success) {
      const message = `"${this.#givenId}" is not a run id. GET /api/runs lists all runs.`
      return { type: 'unknown_run', cursor: -1, message }
    }
    const runId = parsed.data
    this.#runId = runId
    if (query.isErr()) return { type: 'bad_request', cursor: -1, message: query.error }
    const head = await readHead(runId, signal, this.#live)
    if (head === null) return null
    if (head === 'unknown_run') {
      const message = `There is no run ${runId}. GET /api/runs lists all runs.`
      return { type: 'unknown_run', cursor: -1, message }
    }
    const { after = -1, kinds, caught_up: wantsCaughtUp, live: wantsParts } = query.value
    if (after > head.seq) {
      const message = `after=${after} is beyond the last record of this run, which has seq ${head.seq}.`
      return { type: 'bad_request', cursor: after, message }
    }
    this.cursor = after
    this.form = formIn(query.value)
    this.#kinds = sharedKinds(kinds)
    if (wantsCaughtUp === true) {
      this.#caughtUp = new CaughtUpReport(runId, head.seq, this.#live)
    }
    if (after === head.seq && isEnd(head)) return this.#complete(after)
    if (signal.aborted) return null
    if (!(await this.#watched.begin())) return notWritten(after)
    this.#query = null
    if (signal.aborted) return null
    this.#topic = this.#live.runTopics.join(runId, this)
    if (wantsParts !== true) return null
    this.#parts = new PartsSender(this.#live.parts, { runId, after }, this.#socket.writer)
    return null
  }

  async #catchUp(topic: RunTopic): Promise<Ending | null> {
    const { signal } = this.#socket
    let seq = this.cursor + 1
    for await (const page of topic.catchUp(this, signal)) {
      const ending = await this.#send(page, seq)
      if (ending !== null) return ending
      if (this.cursor < seq + page.length - 1) return null
      seq = this.cursor + 1
    }
    return null
  }

  /**
   * Sends those of the frames that are selected.
   * @param seq of the first frame
   */
  #send(
    frames: readonly RunFrame[],
    seq: number,
    start = 0,
  ): Ending | null | Promise<Ending | null> {
    const { writer, signal } = this.#socket
    let index = start
    writer.cork()
    try {
      for (; index < frames.length; index += 1) {
        const frame = frames[index]
        if (frame === undefined || signal.aborted) return null
        if (frame.type === 'damage') return damaged(frame)
        if (frame.seq !== seq + index) {
          const message = `the store returned ${frame.seq} instead`
          return damaged({ seq: seq + index, message })
        }
        if (this.#kinds.has(frame.kind)) writer.sendFrame(frame)
        this.#parts?.passed(this.#runId, frame.seq, frame.kind)
        this.#watched.last = frame.seq
        if (isEnd(frame)) return this.#complete(frame.seq)
        if (writer.full) break
      }
    } finally {
      writer.uncork()
    }
    return index < frames.length ? this.#sendLater(frames, seq, index + 1) : null
  }

  /** The rest is read again if something is redacted before the client has read what was sent. */
  async #sendLater(
    frames: readonly RunFrame[],
    seq: number,
    start: number,
  ): Promise<Ending | null> {
    const forgotten = this.#topic?.forgotten
    await this.#socket.writer.drained()
    if (forgotten === this.#topic?.forgotten) return this.#send(frames, seq, start)
    this.cursor = seq + start - 1
    return null
  }

  /** A client that then asks over REST sees the final state, unless the read model lags far behind. */
  async #complete(cursor: number): Promise<Ending> {
    this.#caughtUp?.send(cursor, this.#socket)
    await this.#live.readModel.waitFor(this.#runId, cursor, PROJECTION_WAIT_MS)
    return { type: 'complete', cursor }
  }
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

function damaged(damage: Omit<Damage, 'type'>): Ending {
  return { type: 'damaged', cursor: damage.seq - 1, message: damageMessage(damage) }
}
