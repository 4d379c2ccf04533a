import * as z from 'zod'
import { RunParams } from '../../api/run-id.ts'
import { asked } from '../asked.ts'
import type { Live } from '../live/live-plugin.ts'
import { observeRun, WatchQuery } from '../live/observe-run.ts'
import { problems, sendProblem } from '../problems/problem.ts'
import type { ZodApp } from '../zod-app.ts'

const DESCRIPTION = `
A WebSocket. It sends the run's events as text frames, each a JSON object with exactly the keys
\`kind\`, \`run_id\`, \`iteration\`, \`ts\`, \`payload\` and \`seq\`: first the history behind \`after\`,
then what happens live, each event once and in the order of \`seq\`.

- \`seq\` counts the records of the run from 0 without gaps. Kinds that were not asked for are left
  out, so the numbers that arrive may have gaps. To go on after a lost connection, connect again with
  \`?after=\` and the last seq received.
- With \`?meta=true\` each frame also holds \`id\` and \`meta\`: what is stored beside the record, such as
  who caused it and the hashes that verify it. Frames that are no records have neither.
- With \`?caught_up=true\` one frame \`{"kind":"caught_up","run_id":"…","seq":41}\` comes as soon as all
  that is stored when it is said has been sent, and never again on this connection. It is no record:
  it has none of the other keys, and its \`seq\` is that of the last record up to which the run has
  been sent, so that \`?after=\` may take it. Without being asked for it is never sent.
- After \`run_end\` the server closes with code 1000.
- An unknown run gets one frame of kind \`error\`, then close code 4404; a query that cannot be
  understood, or an \`after\` beyond the end of the run, one such frame, then 4400; a record that
  cannot be read, one such frame, then 1011. The \`seq\` of these frames is where the client stood.
- When the server stops it closes with 1001: connect again later with \`?after=\`.
- What the client sends is ignored. Pings are answered by every WebSocket client by itself, in the
  order in which it reads. A client that does not get on for 60 seconds (it neither takes 64 KiB of
  what waits for it nor answers a ping) is closed with 1013; nothing is lost when it connects again
  with \`?after=\`. One that reads slowly is kept.
- Beyond the number of connections that the server allows in all (503) and from one address (429), the
  upgrade is refused with a problem document. Connect again later.
- Where a token is needed, send it in the \`Authorization\` header. A browser gets a ticket with
  \`POST /api/tickets\` and gives it as \`?ticket=\` or as a subprotocol, \`new WebSocket(url, ['retrai',
  'retrai.ticket.' + ticket])\`; it may also give the token as one, \`'retrai.bearer.' +
  base64url(token)\`. As soon as the token is revoked or has expired, the server closes with 4401.
`

/** WS /api/ws/{run_id} */
export function watchRun(app: ZodApp, live: Live): void {
  app.route({
    method: 'GET',
    url: '/api/ws/:run_id',
    config: { needs: 'runs:read' },
    schema: {
      operationId: 'watchRun',
      tags: ['live'],
      summary: 'Watch a run live, over a WebSocket',
      description: DESCRIPTION,
      params: RunParams,
      querystring: WatchQuery,
      response: {
        101: z.undefined().describe('The connection is a WebSocket from here on'),
        ...problems('upgrade_required', 'too_many_of_client', 'too_many_sockets'),
      },
    },
    // A bad query is answered on the socket, where a WebSocket client can read the answer.
    attachValidation: true,
    handler: (request, reply) => {
      reply.header('upgrade', 'websocket')
      return sendProblem(request, reply, { code: 'upgrade_required' })
    },
    wsHandler: (socket, request) => {
      const { run_id: runId } = RunParams.parse(request.params)
      const watched = live.watchLog.watch(request, 'run_watched')
      const observation = observeRun(runId, asked(request), live, watched)
      live.sockets.serve(socket, observation, request)
    },
  })
}
