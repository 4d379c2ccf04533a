import type { FastifyReply, FastifyRequest } from 'fastify'
import * as z from 'zod'
import { After, formIn, PAGE_LIMIT, RunEventsQuery, selectionOf } from '../../api/event-query.ts'
import { runEventsResponse } from '../../api/frames.ts'
import { RunParams } from '../../api/run-queries.ts'
import type { ZodApp } from '../deps.ts'
import type { Live } from '../live/live-plugin.ts'
import { runLines } from '../live/ndjson.ts'
import { damageMessage, frameText, selects } from '../live/record-json.ts'
import { checkStart, PageSize, pagesOf, type RunSelection } from '../live/run-pages.ts'
import { beginEventStream, runEventStream } from '../live/sse.ts'
import { NOT_WRITTEN } from '../plugins/access-log.ts'
import { problems, READ_PROBLEMS, sendProblem } from '../problems/problem.ts'
import { commandProblem, invalidField } from '../problems/problem-of.ts'
import { EVENT_STREAM, formatOf, lastEventId, NDJSON } from '../replies/format.ts'
import { JsonPage, MAX_PAGE_BYTES } from '../replies/json.ts'

const DESCRIPTION = `
The records of a run, as the WebSocket sends them. The Accept header chooses the form:

- \`application/json\` (the default): one page, an array of frames. A page ends early if its frames are
  large or if filters omit very many; if there is more, the Link header has the address of the next page.
- \`application/x-ndjson\`: all records up to now, a frame a line, streamed. If the server cannot send them all, the
  stream breaks off without a proper end: the JSON page after the last seq then reports why.
- \`text/event-stream\`: history, then live, as server-sent events. The \`id\` of an event is its seq, its
  data is the frame, and it has no name, so that a browser's \`onmessage\` gets it. Between events, comments
  show that the connection is alive. After \`run_end\`, one event named \`end\` follows. A client that connects again
  after it (browsers do so by themselves) gets 204, which stops an EventSource. An event named \`failed\`
  with a frame of kind \`error\` reports a record that cannot be read. \`Last-Event-ID\` takes precedence over \`after\`.

With \`live=true\` an event stream also has events named \`part\`, without an id: what is written before it is recorded, as
with \`WS /api/ws/{run_id}\`.

With \`meta=true\` each frame also holds \`id\` and \`meta\`, what is stored beside the record, in all three forms.
With \`kinds=all\` too, a client can verify the run (docs/verification.md).
`

/** Often one page has no room for more records; if they are small, the next reads are larger. */
const FIRST_READ = 16

const Headers = z.looseObject({
  'last-event-id': z.string().optional().describe('seq of the last event received'),
})

/** GET /api/runs/{run_id}/events */
export function runEvents(app: ZodApp, live: Live): void {
  app.route({
    method: 'GET',
    url: '/api/runs/:run_id/events',
    config: { needs: 'runs:read' },
    exposeHeadRoute: false,
    schema: {
      operationId: 'runEvents',
      tags: ['history'],
      summary: 'Read the history of a run, or follow it',
      description: DESCRIPTION,
      params: RunParams,
      querystring: RunEventsQuery,
      headers: Headers,
      response: {
        200: runEventsResponse(),
        204: z
          .undefined()
          .describe('Event streams only: the run has ended, and the client has all of it'),
        ...problems(
          'invalid_request',
          'run_not_found',
          'not_acceptable',
          'too_many_of_client',
          'too_many_sockets',
          ...READ_PROBLEMS,
        ),
      },
    },
    handler: async (request, reply) => {
      const { query, runId } = request
      const format = formatOf(request, query)
      if (format.isErr()) return sendProblem(request, reply, format.error)
      const wanted = {
        runId,
        after: query.after ?? null,
        direction: query.direction,
        limit: query.limit ?? Number.POSITIVE_INFINITY,
        selection: selectionOf(query),
        form: formIn(query),
        live: query.live === true,
      }
      if (format.value === EVENT_STREAM) return sendEvents(request, reply, wanted, live)
      const ready = await checkStart(wanted, live)
      if (ready.isErr()) return sendProblem(request, reply, ready.error)
      if (format.value !== NDJSON) {
        return sendPage(request, reply, { ...wanted, limit: query.limit ?? PAGE_LIMIT }, live)
      }
      reply.type(NDJSON)
      return live.streams.send(reply, (signal) => runLines(wanted, live, signal))
    },
  })
}

async function sendPage(
  request: FastifyRequest,
  reply: FastifyReply,
  wanted: RunSelection,
  live: Live,
): Promise<FastifyReply> {
  const page = new JsonPage(wanted.limit)
  for await (const read of pagesOf(wanted, new PageSize(MAX_PAGE_BYTES, FIRST_READ), live)) {
    if (read.isErr()) return sendProblem(request, reply, commandProblem(read.error))
    for (const record of read.value) {
      if (record.type === 'damage') {
        // This page has the records before the damaged one; the next page reports the damage.
        if (!page.empty) return page.send(request, reply)
        return sendProblem(request, reply, {
          code: 'damaged_record',
          detail: damageMessage(record),
        })
      }
      const frame = selects(wanted.selection, record.kind, record.json) ? frameText(record) : null
      if (page.add(frame, record.seq)) return page.send(request, reply)
    }
  }
  return page.sendLast(reply)
}

async function sendEvents(
  request: FastifyRequest,
  reply: FastifyReply,
  wanted: RunSelection & { readonly live: boolean },
  live: Live,
): Promise<FastifyReply> {
  const received = After.safeParse(lastEventId(request) ?? String(wanted.after ?? -1))
  if (!received.success) {
    const message = 'Last-Event-ID must be the id of an event of this stream, which is a seq.'
    return sendProblem(request, reply, invalidField('last-event-id', message))
  }
  const after = received.data
  const ready = await checkStart({ ...wanted, after }, live)
  if (ready.isErr()) return sendProblem(request, reply, ready.error)
  if (ready.value.complete) return reply.code(204).send()
  const watched = live.watchLog.watch(request, 'run_watched')
  if (!(await beginEventStream(reply, watched))) return sendProblem(request, reply, NOT_WRITTEN)
  const observation = { ...wanted, after, watched }
  const deps = { ...live, heartbeatMs: live.limits.pingMs }
  return live.streams.send(reply, (signal) => runEventStream(observation, deps, signal))
}
