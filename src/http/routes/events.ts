import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { err, ok, type Result, safeTry } from 'neverthrow'
import * as z from 'zod'
import { After, AllEventsQuery, RunEventsQuery } from '../../api/event-query.ts'
import { allEventsResponse, runEventsResponse } from '../../api/frames.ts'
import type { Problem } from '../../api/problems.ts'
import { whenClosed } from '../../lib/when-closed.ts'
import type { Live } from '../live/live.ts'
import { Observer } from '../live/observer.ts'
import { EventStream } from '../live/sinks.ts'
import { type View, viewAllRuns, viewRun } from '../live/views.ts'
import { operation } from '../operation.ts'
import type { Watched } from '../plugins/access-log.ts'
import { invalidField } from '../problems/problem-of.ts'
import { EVENT_STREAM, formatOf, lastEventId } from '../replies/format.ts'
import { sendStored } from '../replies/json.ts'

const lastReceived = (what: string) =>
  z.looseObject({
    'last-event-id': z.string().optional().describe(`${what} of the last event received`),
  })

const ONE_RUN = `
The records of a run, as the WebSocket sends them. The Accept header chooses the form:

- \`application/json\` (the default): one page, an array of frames. A page ends early if its frames are
  large or if filters omit very many; if there is more, the Link header has the address of the next page.
- \`application/x-ndjson\`: all records up to now, a frame a line. If the server cannot send them all, the
  stream breaks off without a proper end: the JSON page after the last seq then reports why.
- \`text/event-stream\`: history, then live. The \`id\` of an event is its seq, its data is the frame, and it has no name.
  \`Last-Event-ID\` takes precedence over \`after\`. After \`run_end\`, one event named \`end\` follows; a client that
  connects again after it gets 204, which stops an EventSource. An event named \`failed\` with a frame of kind \`error\` reports
  a record that cannot be read. With \`live=true\`, events named \`part\` have no id.

With \`meta=true\` and \`kinds=all\`, a client can verify the run (docs/verification.md).
`

const ALL_RUNS = `
The records of all runs in the order of the log, in the forms of \`GET /api/runs/{run_id}/events\`. Frames have
\`cursor\` beside \`seq\`; it is the \`id\` of server-sent events, and \`after\` accepts it, on every server of the log and after
the log was moved to another store. One that does not belong to this log is refused with 400. The event stream has no end.

\`status\` is the status of the run as of a record, so the answer is the same at any time. In place of a record that cannot
be read, there is a frame of kind \`error\` with its seq, and the records of other runs follow.
`

/** The records of a run, and of all runs, in the form that a client accepts. */
export function events(app: FastifyInstance, live: Live): void {
  operation(app, 'GET /api/runs/:run_id/events', {
    needs: 'runs:read',
    id: 'runEvents',
    tag: 'history',
    summary: 'Read the history of a run, or follow it',
    description: ONE_RUN,
    query: RunEventsQuery,
    headers: lastReceived('seq'),
    exposeHeadRoute: false,
    answers: {
      200: runEventsResponse(),
      204: z
        .undefined()
        .describe('Event streams only: the run has ended, and the client has all of it'),
    },
    handle: (request, reply) =>
      safeTry<FastifyReply, Problem>(async function* () {
        const { query, runId } = request
        const format = yield* formatOf(request, query)
        const isLive = format === EVENT_STREAM
        const after = isLive ? yield* lastSeq(request, query.after) : query.after
        const view = yield* await viewRun(runId, { ...query, after }, live)
        if (!isLive) return sendStored(request, reply, view, { format, limit: query.limit })
        if (view.isComplete) return ok(reply.code(204).send())
        return ok(sendEvents(reply, view, live.watchLog(request, 'run_watched'), live))
      }),
  })
  operation(app, 'GET /api/events', {
    needs: 'runs:read',
    id: 'allEvents',
    tag: 'history',
    summary: 'Read the history of all runs, or follow it',
    description: ALL_RUNS,
    query: AllEventsQuery,
    headers: lastReceived('cursor'),
    exposeHeadRoute: false,
    answers: { 200: allEventsResponse() },
    handle: (request, reply) =>
      safeTry<FastifyReply, Problem>(async function* () {
        const { query } = request
        const format = yield* formatOf(request, query)
        const isLive = format === EVENT_STREAM
        const after = (isLive ? lastEventId(request) : undefined) ?? query.after
        const view = yield* viewAllRuns({ ...query, after }, live)
        if (!isLive) return sendStored(request, reply, view, { format, limit: query.limit })
        return ok(sendEvents(reply, view, live.watchLog(request, 'feed_watched'), live))
      }),
  })
}

/** The last record of a run that a client of an event stream has. */
function lastSeq(request: FastifyRequest, after = -1): Result<number, Problem> {
  const { data } = After.safeParse(lastEventId(request) ?? String(after))
  const message = 'Last-Event-ID must be the id of an event of this stream, which is a seq.'
  return data === undefined ? err(invalidField('last-event-id', message)) : ok(data)
}

/** Sends history, then live, as server-sent events. After the end of a run comes `end`. */
function sendEvents<Cursor>(
  reply: FastifyReply,
  view: View<Cursor>,
  watched: Watched,
  live: Live,
): FastifyReply {
  const stream = new EventStream()
  const leave = new AbortController()
  const onFailure = (err: unknown): void => {
    live.log.error({ err }, 'serving an event stream failed')
    stream.body.destroy()
  }
  const { signal } = leave
  const to = { sink: stream, caughtUp: null, watched, onFailure }
  const observer = new Observer({ view, live, signal, ...to })
  const timer = setInterval(() => stream.beat(observer.place), live.limits.pingMs)
  live.eventStreams.add(stream.body)
  whenClosed(reply.raw, () => {
    leave.abort()
    clearInterval(timer)
    live.eventStreams.delete(stream.body)
    observer.closed()
  })
  // A client of all runs that loses its connection before the first event resumes after the id.
  if (view.runId === null) stream.beat(view.place)
  observer.wake()
  reply.type(EVENT_STREAM).header('cache-control', 'no-store').header('x-accel-buffering', 'no')
  return reply.send(stream.body)
}
