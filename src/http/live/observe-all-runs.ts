import type { Result } from 'neverthrow'
import type * as z from 'zod'
import { formIn, type WatchAllQuery } from '../../api/event-query.ts'
import { Backoff } from '../../lib/backoff.ts'
import type { AttemptOf } from '../../live/attempt.ts'
import type { Watched } from '../plugins/access-log.ts'
import { AllRunsFilter, type AllRunsStart, startAfter } from './all-runs-selection.ts'
import type { AllRunsPart } from './all-runs-topic.ts'
import { refusalFrame } from './frame.ts'
import type { Live } from './live-plugin.ts'
import { notWritten } from './observe-run.ts'
import { PartsSender } from './parts-follower.ts'
import type { SocketWriter } from './socket-writer.ts'
import type { Ending, Observer, ServedSocket } from './sockets.ts'

/** All runs over a WebSocket, as its address asks for them. */
export const observeAllRuns =
  (query: Result<z.output<typeof WatchAllQuery>, string>, live: Live, watched: Watched) =>
  (socket: ServedSocket): Observer => ({
    advance: () => send(query, socket, live, watched),
    refusal: ({ message }) => refusalFrame('', -1, live.clock(), message),
    shows: (runId) => query.isOk() && (query.value.run_id?.has(runId) ?? true),
    closed: () => watched.end(),
  })

async function send(
  query: Result<z.output<typeof WatchAllQuery>, string>,
  { writer, signal }: ServedSocket,
  live: Live,
  watched: Watched,
): Promise<Ending | null> {
  if (query.isErr()) return { type: 'bad_request', cursor: -1, message: query.error }
  const start = await findStart(query.value.after, live, signal)
  if (start === null || 'type' in start) return start
  if (!(await watched.begin())) return notWritten(-1)
  const filter = new AllRunsFilter(query.value, live.facts, signal)
  const form = formIn(query.value)
  const scope = {
    runId: null,
    wants: (attempt: AttemptOf) => filter.passesParts(attempt, live.clock()),
  }
  const parts = query.value.live === true ? new PartsSender(live.parts, scope, writer) : null
  let { cursor } = start
  try {
    for await (const part of live.allRuns.follow(start.position, { form, filter }, signal)) {
      const { frames } = part
      sendAll(part, { writer, signal, watched, parts })
      if (writer.full) await writer.drained()
      cursor = frames.at(-1)?.cursor ?? cursor
      const historyEnds = frames.length === 0
      if (historyEnds && query.value.caught_up === true) writer.send(caughtUpFrame(cursor))
      if (historyEnds) parts?.begin()
      parts?.send()
    }
  } finally {
    parts?.leave()
  }
  return null
}

/** Waits while the store has trouble. */
async function findStart(
  after: string | undefined,
  live: Live,
  signal: AbortSignal,
): Promise<AllRunsStart | Ending | null> {
  const backoff = new Backoff(live.limits.retryMs)
  while (!signal.aborted) {
    const start = await startAfter(after, live)
    if (start.isOk()) return start.value
    const { type, message } = start.error
    if (type === 'unknown_cursor') return { type: 'bad_request', cursor: -1, message }
    live.log.warn({ error: start.error }, 'cannot look up a cursor, trying again')
    await backoff.wait(signal)
  }
  return null
}

type Sending = {
  readonly writer: SocketWriter
  readonly signal: AbortSignal
  readonly watched: Watched
  readonly parts: PartsSender | null
}

function sendAll(
  { frames, selected }: AllRunsPart,
  { writer, signal, watched, parts }: Sending,
): void {
  writer.cork()
  try {
    for (const frame of frames) {
      if (signal.aborted) return
      if (selected.has(frame)) {
        writer.sendFrame(frame)
        watched.last = frame.cursor
      }
      parts?.passed(frame.runId, frame.seq, frame.kind)
    }
  } finally {
    writer.uncork()
  }
}

/** @param cursor of the last record that was looked at, whether it was selected or not; null for none */
function caughtUpFrame(cursor: string | null): Buffer {
  return Buffer.from(JSON.stringify({ kind: 'caught_up', cursor }))
}
