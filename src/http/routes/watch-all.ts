import * as z from 'zod'
import { asked } from '../asked.ts'
import type { Live } from '../live/live-plugin.ts'
import { observeAllRuns, WatchAllQuery } from '../live/observe-all-runs.ts'
import { problems, sendProblem } from '../problems/problem.ts'
import type { ZodApp } from '../zod-app.ts'

const DESCRIPTION = `
A WebSocket. It sends the records of all runs as text frames, in the order of the log, first the history
behind \`after\`, then what happens live, each once. A frame has the keys of the frames of one run
(\`/api/ws/{run_id}\`) and \`cursor\`.

- To go on after a lost connection, connect again with \`?after=\` and the last \`cursor\` received. It
  holds after a restart, for every server on the same log, and for \`GET /api/events\` too.
- A cursor that is none of this log, or a query that cannot be understood, gets one frame of kind
  \`error\` (with an empty \`run_id\` and no cursor), then close code 4400.
- A record that cannot be read is told of by a frame of kind \`error\` in its place, with its seq;
  the records of other runs go on.
- With \`?meta=true\` each frame also holds \`id\` and \`meta\`, as with \`/api/ws/{run_id}\`.
- With \`?caught_up=true\` one frame \`{"kind":"caught_up","cursor":"…"}\` stands between history and live.
  It is no record; its cursor is that of the last record of the log that was looked at, wanted or not,
  or null where there is none.
- The server never closes by itself, but with 1001 when it stops and with 1013 where the client does
  not get on. Pings and tokens as with \`/api/ws/{run_id}\`.
`

/** WS /api/ws */
export function watchAll(app: ZodApp, live: Live): void {
  app.route({
    method: 'GET',
    url: '/api/ws',
    config: { needs: 'runs:read' },
    schema: {
      operationId: 'watchAll',
      tags: ['live'],
      summary: 'Watch all runs live, over a WebSocket',
      description: DESCRIPTION,
      querystring: WatchAllQuery,
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
      const watched = live.watchLog.watch(request, 'feed_watched')
      const observation = observeAllRuns(asked(request), live, watched)
      live.sockets.serve(socket, observation, request)
    },
  })
}
