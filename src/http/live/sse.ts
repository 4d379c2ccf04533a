import type { FastifyReply } from 'fastify'
import type { Form, Selection } from '../../api/event-query.ts'
import { whenClosed } from '../../lib/when-closed.ts'
import type { AttemptOf } from '../../live/attempt.ts'
import type { LiveParts } from '../../live/live-parts.ts'
import type { Watched } from '../plugins/access-log.ts'
import { EVENT_STREAM } from '../replies/format.ts'
import type { AllRunsSelection } from './all-runs-selection.ts'
import type { AllRunsPart, AllRunsTopic } from './all-runs-topic.ts'
import { type EncodedFrame, isEnd, refusalFrame } from './frame.ts'
import { PartsFollower } from './parts-follower.ts'
import { damageMessage, selects } from './record-json.ts'
import { Chunks } from './response-streams.ts'
import type { RunTopics } from './run-topics.ts'

/** How long a browser waits before it connects again. */
const RETRY_MS = 1000
const START = Buffer.from(`retry: ${RETRY_MS}\n\n`)

/** Begins a watch, and sets the headers of an event stream. @returns whether records may be sent */
export async function beginEventStream(reply: FastifyReply, watched: Watched): Promise<boolean> {
  if (!(await watched.begin())) return false
  whenClosed(reply.raw, () => watched.end())
  reply.type(EVENT_STREAM).header('cache-control', 'no-store').header('x-accel-buffering', 'no')
  return true
}

type RunObservation = {
  readonly runId: string
  /** -1 is all. */
  readonly after: number
  readonly selection: Selection
  readonly form: Form
  readonly watched: Watched
  /** Whether parts are wanted, too. */
  readonly live: boolean
}

type RunStreamDeps = {
  readonly runTopics: RunTopics
  readonly parts: LiveParts
  readonly heartbeatMs: number
  /** Seconds since the epoch. */
  readonly clock: () => number
}

/** The selected records of a run as server-sent events: history, then live, then `end`. */
export async function* runEventStream(
  { runId, after, selection, form, watched, live }: RunObservation,
  { runTopics, parts, heartbeatMs, clock }: RunStreamDeps,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, void> {
  const chunks = new Chunks()
  let cursor = after
  yield START
  const source = runTopics.follow({ runId, after, form }, signal)
  using news = live ? new PartsNews(parts, { runId, after }) : null
  for await (const frames of withHeartbeat(source, heartbeatMs, news)) {
    if (frames === 'silence') yield heartbeat(cursor < 0 ? null : String(cursor))
    for (const frame of typeof frames === 'string' ? [] : frames) {
      if (frame.type === 'damage') {
        addNotice(chunks, 'failed', refusalFrame(runId, cursor, clock(), damageMessage(frame)))
        yield chunks.take()
        return
      }
      cursor = frame.seq
      watched.last = cursor
      const id = String(cursor)
      if (selects(selection, frame.kind, frame.data)) addEvent(chunks, id, frame.data)
      addParts(chunks, news?.follower.passed(runId, cursor, frame.kind))
      if (isEnd(frame)) {
        addNotice(chunks, 'end', Buffer.from(`{"seq":${id}}`), id)
        yield chunks.take()
        return
      }
    }
    addParts(chunks, news?.follower.take())
    if (!chunks.empty) yield chunks.take()
  }
}

const NOTHING: AllRunsPart = { frames: [], selected: new Set() }

type AllRunsStreamDeps = Omit<RunStreamDeps, 'runTopics'> & { readonly allRuns: AllRunsTopic }

/** The selected records of all runs as server-sent events: history, then live, without end. */
export async function* allRunsEventStream(
  {
    start,
    filter,
    form,
    watched,
    live,
  }: AllRunsSelection & Pick<RunObservation, 'watched' | 'live'>,
  { allRuns, parts, heartbeatMs, clock }: AllRunsStreamDeps,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, void> {
  const chunks = new Chunks()
  let { cursor } = start
  // A client that loses its connection before the first event resumes here.
  yield Buffer.concat([START, heartbeat(cursor)])
  const source = allRuns.follow(start.position, { form, filter }, signal)
  const wants = (attempt: AttemptOf) => filter.passesParts(attempt, clock())
  using news = live ? new PartsNews(parts, { runId: null, wants }) : null
  let inHistory = true
  for await (const part of withHeartbeat(source, heartbeatMs, news)) {
    if (part === 'silence') yield heartbeat(cursor)
    inHistory &&= typeof part === 'string' || part.frames.length > 0
    const { frames, selected } = typeof part === 'string' ? NOTHING : part
    for (const frame of frames) {
      cursor = frame.cursor
      if (selected.has(frame)) {
        addEvent(chunks, cursor, frame.data)
        watched.last = cursor
      }
      addParts(chunks, news?.follower.passed(frame.runId, frame.seq, frame.kind))
    }
    if (!inHistory) addParts(chunks, news?.follower.take())
    if (!chunks.empty) yield chunks.take()
  }
}

/** Adds a frame. The event has no name, so that browsers pass it to `onmessage`. */
function addEvent(chunks: Chunks, id: string, frame: Buffer): void {
  chunks.addText(`id: ${id}\ndata: `)
  chunks.add(frame)
  chunks.addText('\n\n')
}

/** Adds an event with a name, which is not a record. */
function addNotice(chunks: Chunks, name: string, data: Buffer, id?: string): void {
  chunks.addText(`${id === undefined ? '' : `id: ${id}\n`}event: ${name}\ndata: `)
  chunks.add(data)
  chunks.addText('\n\n')
}

/** Adds parts. They have no id, so a client that connects again resumes after the last record. */
function addParts(chunks: Chunks, frames: readonly EncodedFrame[] = []): void {
  for (const { memory, at, end } of frames) addNotice(chunks, 'part', memory.subarray(at, end))
}

/** A sign of life. The id moves the cursor of the client past records that it did not select. */
const heartbeat = (id: string | null): Buffer =>
  Buffer.from(id === null ? ':\n\n' : `:\nid: ${id}\n\n`)

/** The parts for one stream, and the signal that there are new ones. */
class PartsNews {
  readonly follower: PartsFollower
  isNew = false
  /** Called when something is new. */
  wake = (): void => {}

  constructor(parts: LiveParts, scope: ConstructorParameters<typeof PartsFollower>[1]) {
    this.follower = new PartsFollower(parts, scope, () => {
      this.isNew = true
      this.wake()
    })
  }

  [Symbol.dispose](): void {
    this.follower.leave()
  }
}

/** What the source yields, `silence` after each interval in which it yields nothing, and `parts` if there are new ones. */
async function* withHeartbeat<T>(
  source: AsyncGenerator<T, void, void>,
  everyMs: number,
  news: PartsNews | null,
): AsyncGenerator<T | 'silence' | 'parts', void, void> {
  try {
    for (;;) {
      let wake = () => {}
      let settled = false
      const next = source.next().finally(() => {
        settled = true
        wake()
      })
      // A failure is handled below, by the await.
      next.catch(() => {})
      while (!settled) {
        if (news?.isNew === true) {
          news.isNew = false
          yield 'parts'
        }
        const isSilent = await new Promise<boolean>((resolve) => {
          const timer = setTimeout(() => resolve(true), everyMs)
          wake = () => {
            clearTimeout(timer)
            resolve(false)
          }
          if (news !== null) news.wake = wake
          if (settled || news?.isNew === true) wake()
        })
        if (isSilent) yield 'silence'
      }
      const { done, value } = await next
      if (done) return
      yield value
    }
  } finally {
    await source.return()
  }
}
