import type { Form } from '../../api/event-query.ts'
import type { Watched } from '../plugins/watch-log.ts'
import { Chunks } from './chunks.ts'
import type { Feed } from './feed.ts'
import type { FeedFilter } from './feed-filter.ts'
import type { FeedStart } from './feed-start.ts'
import { addEvent, SSE_START, sseHeartbeat, withHeartbeat } from './sse.ts'

type Observation = {
  readonly start: FeedStart
  readonly filter: FeedFilter
  readonly form: Form
}

/** The wanted records of all runs as server-sent events: history, then live, without end. */
export async function* feedEventStream(
  { start, filter, form, watched }: Observation & { readonly watched: Watched },
  { feed, heartbeatMs }: { readonly feed: Feed; readonly heartbeatMs: number },
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, void> {
  const chunks = new Chunks()
  let { cursor } = start
  // A client that loses its connection before anything happens goes on from here.
  yield Buffer.concat([SSE_START, sseHeartbeat(cursor)])
  const source = feed.follow(start.position, signal)
  for await (const entries of withHeartbeat(source, heartbeatMs)) {
    if (entries === null) yield sseHeartbeat(cursor)
    for (const entry of entries ?? []) {
      cursor = entry.cursor
      const passes = filter.passes(entry)
      if (passes === false || (passes !== true && !(await passes))) continue
      addEvent(chunks, cursor, entry.dataIn(form))
      watched.last = cursor
      if (chunks.full) yield chunks.take()
    }
    if (!chunks.empty) yield chunks.take()
  }
}

/**
 * The wanted records as lines of JSON, up to the end of the log as it is now.
 * @throws when `signal` aborts: what breaks off must not look complete
 */
export async function* feedLines(
  { start, filter, form, limit }: Observation & { readonly limit: number },
  feed: Feed,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, void> {
  const chunks = new Chunks()
  let left = limit
  for await (const entries of feed.history(start.position, signal)) {
    for (const entry of entries) {
      const passes = filter.passes(entry)
      if (passes === false || (passes !== true && !(await passes))) continue
      chunks.add(entry.dataIn(form))
      chunks.addText('\n')
      left -= 1
      if (chunks.full) yield chunks.take()
      if (left === 0) break
    }
    if (left === 0) break
  }
  signal.throwIfAborted()
  if (!chunks.empty) yield chunks.take()
}
