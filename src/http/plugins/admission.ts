import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { ProblemCode } from '../../api/problems.ts'
import { whenClosed } from '../../lib/when-closed.ts'
import type { LiveLimits } from '../live/deps.ts'
import { sendProblem } from '../problems/problem.ts'
import { wantsStream } from '../replies/format.ts'
import { endWithProblem } from './errors.ts'

/** Requests may take this many times as long to end as sockets and streams. */
const TIMES_AS_LONG = 2

type Scoped<T> = { readonly all: T; readonly perClient: T }

/** Counts open connections, in all and by the address of the peer. @param codes of the problems that refuse one more */
function admissionOf(limits: Scoped<number>, codes: Scoped<ProblemCode>) {
  const byClient = new Map<string, number>()
  let open = 0
  return {
    /** Counts one more connection until it leaves. Returns null, or the code of the problem that refuses it. */
    enter(address: string): ProblemCode | null {
      const ofClient = byClient.get(address) ?? 0
      if (open >= limits.all) return codes.all
      if (ofClient >= limits.perClient) return codes.perClient
      open += 1
      byClient.set(address, ofClient + 1)
      return null
    },
    leave(address: string): void {
      const others = (byClient.get(address) ?? 0) - 1
      open -= 1
      if (others > 0) byClient.set(address, others)
      else byClient.delete(address)
    },
  }
}

/**
 * Refuses connections beyond the limits with a problem document, before it reads a request. No connection delays the end
 * of the server for long, such as those that browsers open before they have a request.
 */
export function limitConnections(
  app: FastifyInstance,
  { connections, connectionsPerClient, closeMs }: LiveLimits,
): void {
  app.addHook('preClose', (done) => {
    const cut = setTimeout(() => app.server.closeAllConnections(), TIMES_AS_LONG * closeMs)
    app.server.on('close', () => clearTimeout(cut))
    done()
  })
  const admission = admissionOf(
    { all: connections, perClient: connectionsPerClient },
    { all: 'too_many_connections', perClient: 'too_many_connections_of_client' },
  )
  const serve = app.server.listeners('connection')
  app.server.removeAllListeners('connection')
  app.server.on('connection', (socket: Socket) => {
    const address = socket.remoteAddress ?? ''
    const code = admission.enter(address)
    if (code !== null) {
      // No request of a refused connection is carried out. What it sends is dropped: unread, it would make the
      // connection reset before the client has read why.
      socket.on('error', () => socket.destroy()).resume()
      return endWithProblem(socket, { code })
    }
    // `once` would hold a wrapper while the connection is open.
    socket.on('close', () => admission.leave(address))
    for (const listener of serve) listener.call(app.server, socket)
  })
}

/** Whether a route has records, which may be streams. */
const isOfRecords = (route = ''): boolean => route.endsWith('/events')

/**
 * Refuses WebSockets and streams of records beyond the limits, before they cost anything. A connection counts until it
 * is closed, a stream until it has ended.
 */
export function limitSockets(
  app: FastifyInstance,
  { sockets, socketsPerClient }: LiveLimits,
): void {
  const admission = admissionOf(
    { all: sockets, perClient: socketsPerClient },
    { all: 'too_many_sockets', perClient: 'too_many_of_client' },
  )
  app.addHook('onRequest', (request, reply, done) => {
    const { ip, routeOptions } = request
    if (!request.ws && !(isOfRecords(routeOptions.url) && wantsStream(request))) return done()
    const code = admission.enter(ip)
    if (code !== null) {
      void sendProblem(request, reply, { code })
      return
    }
    whenClosed(request.ws ? request.raw.socket : reply.raw, () => admission.leave(ip))
    done()
  })
}
