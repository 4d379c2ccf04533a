import websocket from '@fastify/websocket'
import type { FastifyInstance } from 'fastify'
import type { AppDeps } from '../deps.ts'
import { chooseProtocol } from '../plugins/credentials.ts'
import { WatchLog } from '../plugins/watch-log.ts'
import { LIVE_LIMITS } from './limits.ts'
import { createLive, type Live } from './live.ts'

/** Nothing is expected from observers, so nothing large is accepted. */
const MAX_MESSAGE = 16 * 1024

/**
 * Lets routes deliver live, over WebSockets and otherwise. To be called before anything that may refuse
 * a request: only then is the connection of a refused upgrade closed, which HTTP itself has let go of
 * by then.
 */
export async function goLive(app: FastifyInstance, deps: AppDeps): Promise<Live> {
  const { store, readModel, clock, checkpoint } = deps
  const limits = { ...LIVE_LIMITS, ...deps.live }
  const watchLog = new WatchLog(deps.accessLog ?? null, clock)
  const asOfNow = deps.redactions === undefined ? {} : { asOfNow: deps.redactions.asOfNow }
  const live = createLive({
    ...{ store, readModel, clock, checkpoint, watchLog, limits, log: app.log },
    ...asOfNow,
  })
  deps.redactions?.onRedacted((runId) => {
    live.hub.forget(runId)
    live.feed.forget()
  })
  await app.register(websocket, {
    options: { maxPayload: MAX_MESSAGE, handleProtocols: chooseProtocol },
    errorHandler: (error, socket, request) => {
      request.log.debug({ err: error }, 'a WebSocket broke')
      socket.terminate()
    },
    preClose: async () => {
      app.websocketServer.close()
      await Promise.all([live.sockets.close(), live.streams.close()])
    },
  })
  return live
}
