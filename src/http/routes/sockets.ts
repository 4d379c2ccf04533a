import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { WatchAllQuery, WatchRunQuery } from '../../api/event-query.ts'
import { RunId } from '../../api/fields.ts'
import { BETWEEN_PARTS } from '../../api/frames.ts'
import { CATALOGUE, type Problem } from '../../api/problems.ts'
import { RunParams } from '../../api/run-requests.ts'
import type { Position } from '../../store/event-store.ts'
import { refusalFrame } from '../live/frame.ts'
import type { Live } from '../live/live.ts'
import type { Ending } from '../live/sinks.ts'
import type { Watch } from '../live/sockets.ts'
import { patiently, type View, viewAllRuns, viewRun } from '../live/views.ts'
import { operation } from '../operation.ts'
import { removedProblem } from '../problems/problem-of.ts'

/** What both routes have. `handle` answers a plain request at the address of a WebSocket. */
const SOCKET = {
  needs: 'runs:read',
  tag: 'live',
  answers: { 101: z.undefined().describe('The connection is a WebSocket from here on') },
  // A WebSocket client cannot read an HTTP response, so the server reports a bad query on the socket.
  attachValidation: true,
  handle: (_request: FastifyRequest, reply: FastifyReply) => {
    reply.header('upgrade', 'websocket')
    return err({ code: 'upgrade_required' } as const)
  },
} as const

/** The query of a route with `attachValidation`; the error is one or more sentences for a person. */
function queryOf<T>({ query, validationError }: FastifyRequest): Result<T, string> {
  return validationError === undefined ? ok(query as T) : err(validationError.message)
}

const BETWEEN_TEXT = BETWEEN_PARTS.map((kind) => `\`${kind}\``).join(', ')

const ONE_RUN = `
A WebSocket. It sends the run's events as text frames, each a JSON object with exactly the keys
\`kind\`, \`run_id\`, \`iteration\`, \`ts\`, \`payload\` and \`seq\`: first the history after \`after\`,
then what happens live, each event once and in the order of \`seq\`, which counts the records of the run from 0. Kinds that the
client did not ask for are omitted. After \`run_end\` the server closes with 1000. After a lost connection, connect again with
\`?after=\` and the last seq received.

- With \`caught_up=true\`, the frame is \`{"kind":"caught_up","run_id":"…","seq":41}\`, with the seq of the last record that was
  looked at: \`?after=\` accepts it.
- With \`live=true\`, a part is named by its \`attempt\` (the seq of the record before it), by \`of\` (\`text\`, \`reasoning\`,
  \`arguments\` or \`output\`), and by its \`call\` or \`call_id\`: the frames of one name are pieces of one text, each at its
  \`offset\`. A larger offset than expected means that the text between is lost: a client that reads slowly loses parts, never
  records. A client that joins late gets each part so far, once. The next record of the run that is no ${BETWEEN_TEXT}
  replaces the parts of an attempt, and \`parts_end\` follows. With \`"outcome":"withdrawn"\` nothing replaces them: the attempt
  failed, or a text of the run was redacted. Only the server that works on the run has its parts.
- One frame of kind \`error\`, with the last seq that the client has, comes before the close with 4404 (there is no such run, or
  it was removed), 4400 (the query is not valid, or \`after\` is beyond the end of the run) and 1011 (a record cannot be read).
- The server closes with 1001 when it stops or its event store came back with another log, which the reason names. Connect
  again later.
- What the client sends is ignored. If it makes no progress for 60 seconds (it neither reads 64 KiB of the frames that wait for
  it nor answers a ping), the server closes with 1013. A client that reads slowly stays connected.
- If there are too many connections, the upgrade is refused with a problem document (503 or 429).
- A token is sent in the \`Authorization\` header. A browser gets a ticket with \`POST /api/tickets\` and sends it as
  \`?ticket=\`, or sends the token as a subprotocol: \`new WebSocket(url, ['retrai', 'retrai.bearer.' + base64url(token)])\`.
  When the token is revoked or expires, the server closes with 4401.
`

const ALL_RUNS = `
A WebSocket. It sends the records of all runs in the order of the log, as \`/api/ws/{run_id}\` sends those of one, with these
differences:

- A frame also has \`cursor\`. After a lost connection, connect again with \`?after=\` and the last one received. A cursor
  is valid after a restart, for every server on the same log, and for \`GET /api/events\` too.
- If the cursor does not belong to this log, or the query is not valid, the frame of kind \`error\` has an empty \`run_id\` and no
  cursor. In place of a record that cannot be read, there is a frame of kind \`error\` with its seq, and the records of other
  runs follow.
- Parts come for the runs that \`run_id\`, \`goal\` and \`status\` select, and have no \`cursor\`.
- The frame \`{"kind":"caught_up","cursor":"…"}\` names the last record that was looked at, selected or not; null if there is none.
- The stream has no end.
`

/** A run, and all runs, over WebSockets. */
export function sockets(app: FastifyInstance, live: Live): void {
  operation(app, 'GET /api/ws/:run_id', {
    ...SOCKET,
    id: 'watchRun',
    summary: 'Watch a run live, over a WebSocket',
    description: ONE_RUN,
    query: WatchRunQuery,
    wsHandler: (socket, request) => {
      const { run_id: givenId } = RunParams.parse(request.params)
      const query = queryOf<z.output<typeof WatchRunQuery>>(request)
      const asksCaughtUp = query.isOk() && query.value.caught_up === true
      live.sockets.serve(socket, request, {
        start: (signal) => beginRun(givenId, query, live, signal),
        caughtUp: asksCaughtUp ? caughtUp : null,
        watched: live.watchLog(request, 'run_watched'),
      })
    },
  })
  operation(app, 'GET /api/ws', {
    ...SOCKET,
    id: 'watchAll',
    summary: 'Watch all runs live, over a WebSocket',
    description: ALL_RUNS,
    query: WatchAllQuery,
    wsHandler: (socket, request) => {
      const query = queryOf<z.output<typeof WatchAllQuery>>(request)
      const asksCaughtUp = query.isOk() && query.value.caught_up === true
      live.sockets.serve(socket, request, {
        start: (signal) => beginAll(query, live, signal),
        caughtUp: asksCaughtUp ? ({ place: cursor }) => ({ kind: 'caught_up', cursor }) : null,
        watched: live.watchLog(request, 'feed_watched'),
      })
    },
  })
}

const caughtUp = ({ runId, place }: Pick<View<unknown>, 'runId' | 'place'>) => {
  return { kind: 'caught_up', run_id: runId, seq: place }
}

async function beginRun(
  givenId: string,
  query: Result<z.output<typeof WatchRunQuery>, string>,
  live: Live,
  signal: AbortSignal,
): ReturnType<Watch<number>['start']> {
  const refuse = (type: Exclude<Ending['type'], 'complete'>, message: string, seq = -1) => {
    return { type, last: refusalFrame(givenId, seq, live.clock(), message) } as const
  }
  const { data: runId } = RunId.safeParse(givenId)
  if (runId === undefined) {
    return refuse('unknown_run', `"${givenId}" is not a run id. GET /api/runs lists all runs.`)
  }
  if (query.isErr()) return refuse('bad_request', query.error)
  const removal = live.removalOf(runId)
  if (removal !== undefined) return refuse('removed_run', removedProblem(removal).detail)
  const { after = -1, caught_up } = query.value
  const found = await patiently(() => viewRun(runId, query.value, live), live, signal)
  if (found === null) return null
  if (found.isErr()) {
    const { code, detail = `There is no run ${runId}. GET /api/runs lists all runs.` } = found.error
    if (code === 'run_not_found') return refuse('unknown_run', detail)
    return refuse(code === 'damaged_record' ? 'damaged' : 'bad_request', detail, after)
  }
  const view = found.value
  if (!view.isComplete) return view
  const last = caught_up === true ? Buffer.from(JSON.stringify(caughtUp(view))) : null
  return { type: 'complete', seq: after, last }
}

async function beginAll(
  query: Result<z.output<typeof WatchAllQuery>, string>,
  live: Live,
  signal: AbortSignal,
): ReturnType<Watch<Position | null>['start']> {
  const found = query.isErr()
    ? err<never, Problem>({ code: 'invalid_request', detail: query.error })
    : await patiently(() => viewAllRuns(query.value, live), live, signal)
  if (found === null || found.isOk()) return found?.value ?? null
  const { code, detail = CATALOGUE[code][1] } = found.error
  return { type: 'bad_request', last: refusalFrame('', -1, live.clock(), detail) }
}
