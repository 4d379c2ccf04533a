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
then what happens live, each event once and in the order of \`seq\`.

- \`seq\` counts the records of the run from 0 without gaps. Kinds that the client did not ask for are omitted,
  so the numbers that arrive may have gaps. After a lost connection, connect again with
  \`?after=\` and the last seq received.
- With \`?meta=true\` each frame also holds \`id\` and \`meta\`: what is stored beside the record, such as
  who caused it and the hashes that verify it. Frames that are not records have neither.
- With \`?caught_up=true\` one frame \`{"kind":"caught_up","run_id":"…","seq":41}\` follows when the server has sent
  all records that are stored at that time. It comes once on a connection, and only if the client asked for it. It is
  not a record and has no other keys. Its \`seq\` is that of the last record that was looked at: \`?after=\` accepts it.
- With \`?live=true\` frames of the kinds \`part\` and \`parts_end\` come between the records: what the model and commands
  write before it is recorded. They are not stored, have no \`seq\`, and are \`"partial":true\`. A part is named by its
  \`attempt\`, by \`of\` (\`text\`, \`reasoning\`, \`arguments\` or \`output\`), and by its \`call\` or \`call_id\`: the frames of
  one name are pieces of one text, each at its \`offset\`. A larger offset than expected means that the text between is lost:
  a client that reads slowly loses parts, never records. A client that joins late gets each part so far, once.
  \`attempt\` is the seq of the record before the attempt. Its parts are replaced by the next record of the run that is no
  ${BETWEEN_TEXT}, and \`parts_end\` follows, also for clients that do not get that record's kind. With
  \`"outcome":"withdrawn"\` nothing replaces them: the attempt failed, or a text of the run was redacted. Only the server
  that works on the run has its parts.
- After \`run_end\` the server closes with code 1000.
- For a run that it does not have, or that was removed, the server sends one frame of kind \`error\` and closes with 4404; for a query that is
  not valid, or an \`after\` beyond the end of the run, it sends one such frame and closes with 4400; for a record that
  cannot be read, it sends one such frame and closes with 1011. The \`seq\` of such a frame is the last one that the
  client has.
- When the server stops, it closes with 1001: connect again later with \`?after=\`. It also does so if the event store came back with
  another log, such as an older backup; then the reason names that.
- The server ignores what the client sends. Every WebSocket client answers pings by itself, in the
  order in which it reads. If a client makes no progress for 60 seconds (it neither reads 64 KiB of
  the frames that wait for it nor answers a ping), the server closes with 1013; the client misses nothing if it connects
  again with \`?after=\`. A client that reads slowly stays connected.
- If the server or the address of the client has too many connections, the server refuses the upgrade with a problem
  document (503 or 429). Connect again later.
- If the server needs a token, send it in the \`Authorization\` header. A browser gets a ticket with
  \`POST /api/tickets\` and sends it as \`?ticket=\` or as a subprotocol, \`new WebSocket(url, ['retrai',
  'retrai.ticket.' + ticket])\`; it may also send the token as a subprotocol, \`'retrai.bearer.' +
  base64url(token)\`. When the token is revoked or expires, the server closes with 4401.
`

const ALL_RUNS = `
A WebSocket. It sends the records of all runs as text frames, in the order of the log, first the history
after \`after\`, then what happens live, each once. A frame has the keys of the frames of one run
(\`/api/ws/{run_id}\`) and \`cursor\`.

- After a lost connection, connect again with \`?after=\` and the last \`cursor\` received. A cursor
  is valid after a restart, for every server on the same log, and for \`GET /api/events\` too.
- If the cursor does not belong to this log, or the query is not valid, the server sends one frame of kind
  \`error\` (with an empty \`run_id\` and no cursor) and closes with 4400.
- In place of a record that cannot be read, there is a frame of kind \`error\` with its seq;
  the records of other runs follow.
- With \`?meta=true\` each frame also holds \`id\` and \`meta\`, as with \`/api/ws/{run_id}\`.
- With \`?live=true\` parts come, as with \`/api/ws/{run_id}\`, for the runs that \`run_id\`, \`goal\` and \`status\` select. They
  have no \`cursor\`.
- With \`?caught_up=true\` one frame \`{"kind":"caught_up","cursor":"…"}\` comes between history and live.
  It is not a record; its cursor is that of the last record of the log that was looked at, selected or not,
  or null if there is none.
- The server closes only with 1001 when it stops, with 1013 if the client makes no progress, and with 4401 if its
  token is no longer valid. Pings and tokens are as with \`/api/ws/{run_id}\`.
`

/** A run, and all runs, over WebSockets. */
export function sockets(app: FastifyInstance, live: Live): void {
  operation(app, 'GET /api/ws/:run_id', {
    ...SOCKET,
    id: 'watchRun',
    summary: 'Watch a run live, over a WebSocket',
    description: ONE_RUN,
    params: RunParams,
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
  const { view, isComplete } = found.value
  if (!isComplete) return view
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
