import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { onRequestHookHandler } from 'fastify'
import fp from 'fastify-plugin'
import type { ProblemCode } from '../../api/problems.ts'
import { whenClosed } from '../../lib/when-closed.ts'
import type { LiveLimits } from '../live/limits.ts'
import { sendProblem } from '../problems/problem.ts'
import { wantsStream } from '../replies/format.ts'
import { endWithProblem } from './errors.ts'
import { isOfSockets } from './security.ts'

/** Requests may take this many times as long to end as sockets and streams. */
const TIMES_AS_LONG = 2

type Scoped<T> = { readonly all: T; readonly perClient: T }

/** Counts open connections, in all and by the address of the peer. */
class Admission {
  readonly #limits: Scoped<number>
  readonly #codes: Scoped<ProblemCode>
  readonly #ofClient = new Map<string, number>()
  #open = 0

  /** @param codes of the problems that refuse one more */
  constructor(limits: Scoped<number>, codes: Scoped<ProblemCode>) {
    this.#limits = limits
    this.#codes = codes
  }

  /** Counts one more connection until it leaves. Returns null, or the code of the problem that refuses it. */
  enter(address: string): ProblemCode | null {
    const ofClient = this.#ofClient.get(address) ?? 0
    if (this.#open >= this.#limits.all) return this.#codes.all
    if (ofClient >= this.#limits.perClient) return this.#codes.perClient
    this.#open += 1
    this.#ofClient.set(address, ofClient + 1)
    return null
  }

  leave(address: string): void {
    const others = (this.#ofClient.get(address) ?? 0) - 1
    this.#open -= 1
    if (others > 0) this.#ofClient.set(address, others)
    else this.#ofClient.delete(address)
  }
}

/** Connections that may be open at once, in all and from one address, and how long one may take to close. */
type ConnectionLimits = Pick<LiveLimits, 'connections' | 'connectionsPerClient' | 'closeMs'>

/**
 * Refuses connections beyond the limits with a problem document, before it reads a request. No connection delays the end
 * of the server for long: browsers open some before they have a request.
 */
export const limitConnections = fp<ConnectionLimits>(
  async (app, limits) => {
    const { connections, connectionsPerClient, closeMs } = limits
    /** Those that have sent no request yet: for Node, they are not idle. */
    const silent = new Set<Socket>()
    const begun = ({ socket }: IncomingMessage): unknown => silent.delete(socket)
    app.server.on('request', begun).on('upgrade', begun)
    app.addHook('preClose', (done) => {
      for (const socket of silent) socket.destroy()
      const cut = setTimeout(() => app.server.closeAllConnections(), TIMES_AS_LONG * closeMs)
      app.server.on('close', () => clearTimeout(cut))
      done()
    })
    const admission = new Admission(
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
      silent.add(socket)
      // `once` would hold a wrapper while the connection is open.
      socket.on('close', () => {
        silent.delete(socket)
        admission.leave(address)
      })
      for (const listener of serve) listener.call(app.server, socket)
    })
  },
  { name: 'connection-limits' },
)

/**
 * Refuses WebSockets and streams of records beyond the limits, before they cost anything. A connection counts until it
 * is closed, a stream until it has ended.
 */
export const limitSockets = fp<Pick<LiveLimits, 'sockets' | 'socketsPerClient'>>(
  async (app, { sockets, socketsPerClient }) => {
    const admission = new Admission(
      { all: sockets, perClient: socketsPerClient },
      { all: 'too_many_sockets', perClient: 'too_many_of_client' },
    )
    const admit: onRequestHookHandler = (request, reply, done) => {
      if (!request.ws && !wantsStream(request)) return done()
      const { ip } = request
      const code = admission.enter(ip)
      if (code !== null) {
        void sendProblem(request, reply, { code })
        return
      }
      whenClosed(request.ws ? request.raw.socket : reply.raw, () => admission.leave(ip))
      done()
    }
    app.addHook('onRoute', (route) => {
      if (!isOfSockets(route.url) && !route.url.endsWith('/events')) return
      route.onRequest = [...[route.onRequest ?? []].flat(), admit]
    })
  },
  { name: 'socket-limits', dependencies: ['security'] },
)
