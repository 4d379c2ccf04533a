import websocket from '@fastify/websocket'
import type { FastifyInstance } from 'fastify'
import type { AppDeps } from '../deps.ts'
import { chooseProtocol } from '../security.ts'
import { LIVE_LIMITS } from './limits.ts'
import { Sockets } from './sockets.ts'

/** Nothing is expected from observers, so nothing large is accepted. */
const MAX_MESSAGE = 16 * 1024

/**
 * Lets routes accept WebSockets. To be called before anything that may refuse a request: only then
 * is the connection of a refused upgrade closed, which HTTP itself has let go of by then.
 */
export async function acceptWebSockets(app: FastifyInstance, deps: AppDeps): Promise<Sockets> {
  const { store, readModel, clock } = deps
  const limits = { ...LIVE_LIMITS, ...deps.live }
  const sockets = new Sockets({ store, readModel, clock, limits, log: app.log })
  await app.register(websocket, {
    options: { maxPayload: MAX_MESSAGE, handleProtocols: chooseProtocol },
    errorHandler: (error, socket, request) => {
      request.log.debug({ err: error }, 'a WebSocket broke')
      socket.terminate()
    },
    preClose: async () => {
      app.websocketServer.close()
      await sockets.close()
    },
  })
  return sockets
}
