import type { FastifyReply, FastifyRequest } from 'fastify'
import * as z from 'zod'
import { AllEventsQuery, formIn, PAGE_LIMIT } from '../../api/event-query.ts'
import { allEventsResponse } from '../../api/frames.ts'
import type { Problem } from '../../api/problems.ts'
import { whenClosed } from '../../lib/when-closed.ts'
import type { ZodApp } from '../deps.ts'
import {
  AllRunsFilter,
  type AllRunsStart,
  type StartError,
  startAfter,
} from '../live/all-runs-selection.ts'
import type { Live } from '../live/live-plugin.ts'
import { allRunsLines } from '../live/ndjson.ts'
import { allRunsEventStream, beginEventStream } from '../live/sse.ts'
import { NOT_WRITTEN } from '../plugins/access-log.ts'
import { problems, sendProblem } from '../problems/problem.ts'
import { EVENT_STREAM, formatOf, lastEventId, NDJSON } from '../replies/format.ts'
import { JsonPage } from '../replies/json.ts'

const DESCRIPTION = `
The records of all runs in the order of the log, in the forms of \`GET /api/runs/{run_id}/events\`. Frames have
\`cursor\` beside \`seq\`; it is the \`id\` of server-sent events, and \`after\` accepts it. A cursor names a record, so it
is valid after a restart, for every server on the same log and after the log was moved to another store. A cursor
that does not belong to this log is refused with 400. The event stream has no end.

Filters are about the record: \`status\` is the status of the run as of that record, by the log alone, so the
answer is the same at any time. A run's goal never changes.

In place of a record that cannot be read, there is a frame of kind \`error\` with its seq, for all clients that want
its run; the records of other runs follow.
`

const Headers = z.looseObject({
  'last-event-id': z.string().optional().describe('cursor of the last event received'),
})

type Query = z.output<typeof AllEventsQuery>

/** GET /api/events */
export function allEvents(app: ZodApp, live: Live): void {
  app.route({
    method: 'GET',
    url: '/api/events',
    config: { needs: 'runs:read' },
    exposeHeadRoute: false,
    schema: {
      operationId: 'allEvents',
      tags: ['history'],
      summary: 'Read the history of all runs, or follow it',
      description: DESCRIPTION,
      querystring: AllEventsQuery,
      headers: Headers,
      response: {
        200: allEventsResponse(),
        ...problems(
          'unknown_cursor',
          'invalid_request',
          'not_acceptable',
          'too_many_of_client',
          'too_many_sockets',
          'not_projected',
          'store_unavailable',
          'store_failed',
        ),
      },
    },
    handler: async (request, reply) => {
      const { query } = request
      const format = formatOf(request, query)
      if (format.isErr()) return sendProblem(request, reply, format.error)
      const isLive = format.value === EVENT_STREAM
      const after = (isLive ? lastEventId(request) : undefined) ?? query.after
      const start = await startAfter(after, live)
      if (start.isErr()) return sendProblem(request, reply, problemOf(start.error))
      if (isLive) return sendEvents(request, reply, query, start.value, live)
      if (format.value === NDJSON) return sendLines(reply, query, start.value, live)
      return sendPage(request, reply, query, start.value, live)
    },
  })
}

function problemOf({ type, message }: StartError): Problem {
  return type === 'store_unavailable' ? { code: type } : { code: type, detail: message }
}

async function sendEvents(
  request: FastifyRequest,
  reply: FastifyReply,
  query: Query,
  start: AllRunsStart,
  live: Live,
): Promise<FastifyReply> {
  const watched = live.watchLog.watch(request, 'feed_watched')
  if (!(await beginEventStream(reply, watched))) return sendProblem(request, reply, NOT_WRITTEN)
  const deps = { ...live, heartbeatMs: live.limits.pingMs }
  return live.streams.send(reply, (signal) => {
    const filter = new AllRunsFilter(query, live.facts, signal)
    const wanted = { start, filter, form: formIn(query), watched, live: query.live === true }
    return allRunsEventStream(wanted, deps, signal)
  })
}

function sendLines(
  reply: FastifyReply,
  query: Query,
  start: AllRunsStart,
  live: Live,
): FastifyReply {
  const limit = query.limit ?? Number.POSITIVE_INFINITY
  reply.type(NDJSON)
  return live.streams.send(reply, (signal) => {
    const filter = new AllRunsFilter(query, live.facts, signal)
    return allRunsLines({ start, filter, limit, form: formIn(query) }, live.allRuns, signal)
  })
}

async function sendPage(
  request: FastifyRequest,
  reply: FastifyReply,
  query: Query,
  start: AllRunsStart,
  live: Live,
): Promise<FastifyReply> {
  const page = new JsonPage(query.limit ?? PAGE_LIMIT)
  const leave = new AbortController()
  whenClosed(reply.raw, () => leave.abort())
  const filter = new AllRunsFilter(query, live.facts, leave.signal)
  const form = formIn(query)
  for await (const frames of live.allRuns.history(start.position, form, leave.signal)) {
    const selected = await filter.select(frames, page.left)
    for (const frame of frames) {
      const json = selected.has(frame) ? frame.data.toString() : null
      if (page.add(json, frame.cursor)) return page.send(request, reply)
    }
  }
  return page.sendLast(reply)
}
