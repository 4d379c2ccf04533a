import type { Form, Selection } from '../../api/event-query.ts'
import type { Watched } from '../plugins/watch-log.ts'
import { Chunks } from './chunks.ts'
import { isEnd, refusalFrame } from './entry.ts'
import type { Hub } from './hub.ts'
import { damageOf } from './probe.ts'
import { selects } from './selects.ts'
import { addEvent, addNotice, SSE_START, sseHeartbeat, withHeartbeat } from './sse.ts'

type Observation = {
  readonly runId: string
  /** -1 is all. */
  readonly after: number
  readonly selection: Selection
  readonly form: Form
  readonly watched: Watched
}

type EventStreamDeps = {
  readonly hub: Hub
  readonly heartbeatMs: number
  /** Seconds since the epoch. */
  readonly clock: () => number
}

/** The wanted records of a run as server-sent events: history, then live, then `end`. */
export async function* runEventStream(
  { runId, after, selection, form, watched }: Observation,
  { hub, heartbeatMs, clock }: EventStreamDeps,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, void> {
  const chunks = new Chunks()
  let cursor = after
  yield SSE_START
  const source = hub.follow({ runId, after, form }, signal)
  for await (const entries of withHeartbeat(source, heartbeatMs)) {
    if (entries === null) yield sseHeartbeat(cursor < 0 ? null : String(cursor))
    for (const entry of entries ?? []) {
      if (entry.type === 'damage') {
        addNotice(chunks, 'failed', refusalFrame(runId, cursor, clock(), damageOf(entry)))
        yield chunks.take()
        return
      }
      cursor = entry.seq
      watched.last = cursor
      const id = String(cursor)
      if (selects(selection, entry.kind, entry.data)) addEvent(chunks, id, entry.data)
      if (isEnd(entry)) addNotice(chunks, 'end', Buffer.from(`{"seq":${id}}`), id)
      if (chunks.full) yield chunks.take()
      if (isEnd(entry)) {
        if (!chunks.empty) yield chunks.take()
        return
      }
    }
    if (!chunks.empty) yield chunks.take()
  }
}
