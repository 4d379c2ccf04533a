import type { Socket } from 'node:net'
import fp from 'fastify-plugin'
import { Admission } from './admission.ts'
import { endWithProblem } from './errors.ts'

export type ConnectionLimits = {
  /** Connections that may be open at once, in all and from one address. */
  readonly connections: number
  readonly connectionsPerClient: number
  /** How long a client may take nothing of an answer that waits for it, milliseconds. */
  readonly stallMs: number
}

/**
 * Bounds what connections may cost: refuses those beyond the limits with a problem document, before a request
 * is read, and cuts off clients that do not read their answers.
 */
export const limitConnections = fp<ConnectionLimits>(
  async (app, limits) => {
    const { connections, connectionsPerClient } = limits
    const admission = new Admission(
      { all: connections, perClient: connectionsPerClient },
      { all: 'too_many_connections', perClient: 'too_many_connections_of_client' },
    )
    const refused = new WeakSet<Socket>()
    app.server.on('connection', (socket) => {
      const address = socket.remoteAddress ?? ''
      const code = admission.enter(address)
      if (code === null) {
        socket.once('close', () => admission.leave(address))
        return
      }
      refused.add(socket)
      endWithProblem(socket, { code })
    })
    app.addHook('onRequest', (request, reply, done) => {
      // Its connection has been answered already; nothing that it asks for may be done.
      if (refused.has(request.raw.socket)) reply.hijack()
      done()
    })
    app.addHook('onSend', (_request, { raw: response }, _payload, done) => {
      // Node looks at progress once in each stallMs, so it takes up to twice as long.
      response.setTimeout(limits.stallMs, () => {
        if (response.writableLength > 0) response.destroy()
        // It is the server that has nothing to send.
        else response.setTimeout(limits.stallMs)
      })
      done()
    })
  },
  { name: 'connection-limits' },
)
