import type { FastifyReply } from 'fastify'
import type { Form, Selection } from '../../api/event-query.ts'
import type { Watched } from '../plugins/watch-log.ts'
import type { AllRunsSelection } from './all-runs-selection.ts'
import type { AllRunsTopic } from './all-runs-topic.ts'
import { isEnd, refusalFrame } from './frame.ts'
import { damageMessage, selects } from './record-json.ts'
import { Chunks } from './response-streams.ts'
import type { RunTopics } from './run-topics.ts'

export const EVENT_STREAM = 'text/event-stream'

/** How long a browser waits before it connects again. */
const RETRY_MS = 1000
const START = Buffer.from(`retry: ${RETRY_MS}\n\n`)

/** Sets the headers of an event stream. */
export function beginEventStream(reply: FastifyReply): FastifyReply {
  return reply
    .type(EVENT_STREAM)
    .header('cache-control', 'no-store')
    .header('x-accel-buffering', 'no')
}

type RunObservation = {
  readonly runId: string
  /** -1 is all. */
  readonly after: number
  readonly selection: Selection
  readonly form: Form
  readonly watched: Watched
}

type RunStreamDeps = {
  readonly runTopics: RunTopics
  readonly heartbeatMs: number
  /** Seconds since the epoch. */
  readonly clock: () => number
}

/** The selected records of a run as server-sent events: history, then live, then `end`. */
export async function* runEventStream(
  { runId, after, selection, form, watched }: RunObservation,
  { runTopics, heartbeatMs, clock }: RunStreamDeps,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, void> {
  const chunks = new Chunks()
  let cursor = after
  yield START
  const source = runTopics.follow({ runId, after, form }, signal)
  for await (const frames of withHeartbeat(source, heartbeatMs)) {
    if (frames === null) yield heartbeat(cursor < 0 ? null : String(cursor))
    for (const frame of frames ?? []) {
      if (frame.type === 'damage') {
        addNotice(chunks, 'failed', refusalFrame(runId, cursor, clock(), damageMessage(frame)))
        yield chunks.take()
        return
      }
      cursor = frame.seq
      watched.last = cursor
      const id = String(cursor)
      if (selects(selection, frame.kind, frame.data)) addEvent(chunks, id, frame.data)
      if (isEnd(frame)) addNotice(chunks, 'end', Buffer.from(`{"seq":${id}}`), id)
      if (chunks.full) yield chunks.take()
      if (isEnd(frame)) {
        if (!chunks.empty) yield chunks.take()
        return
      }
    }
    if (!chunks.empty) yield chunks.take()
  }
}

/** The selected records of all runs as server-sent events: history, then live, without end. */
export async function* allRunsEventStream(
  { start, filter, form, watched }: AllRunsSelection & { readonly watched: Watched },
  { allRuns, heartbeatMs }: { readonly allRuns: AllRunsTopic; readonly heartbeatMs: number },
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, void> {
  const chunks = new Chunks()
  let { cursor } = start
  // A client that loses its connection before the first event resumes here.
  yield Buffer.concat([START, heartbeat(cursor)])
  const source = allRuns.follow(start.position, form, signal)
  for await (const frames of withHeartbeat(source, heartbeatMs)) {
    if (frames === null) yield heartbeat(cursor)
    for (const frame of frames ?? []) {
      cursor = frame.cursor
      const passes = filter.passes(frame)
      if (passes === false || (passes !== true && !(await passes))) continue
      addEvent(chunks, cursor, frame.data)
      watched.last = cursor
      if (chunks.full) yield chunks.take()
    }
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

/** A sign of life. The id moves the cursor of the client past records that it did not select. */
const heartbeat = (id: string | null): Buffer =>
  Buffer.from(id === null ? ':\n\n' : `:\nid: ${id}\n\n`)

/** What the source yields, and null after each interval in which it yields nothing. */
async function* withHeartbeat<T>(
  source: AsyncGenerator<T, void, void>,
  everyMs: number,
): AsyncGenerator<T | null, void, void> {
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
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, everyMs)
          wake = () => {
            clearTimeout(timer)
            resolve()
          }
        })
        if (!settled) yield null
      }
      const { done, value } = await next
      if (done) return
      yield value
    }
  } finally {
    await source.return()
  }
}
