import type { Socket } from 'node:net'
import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Problem, ProblemCode } from '../../api/problems.ts'
import type { LiveLimits } from '../live/limits.ts'
import { sendProblem } from '../problems/problem.ts'
import { endWithProblem } from './errors.ts'

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

  /** Counts one more until it leaves. Returns null, or the code that refuses it. */
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

type ConnectionLimits = {
  /** Connections that may be open at once, in all and from one address. */
  readonly connections: number
  readonly connectionsPerClient: number
  /** How long a client may read nothing of an answer that waits for it, milliseconds. */
  readonly stallMs: number
}

/**
 * Limits what connections cost: refuses connections beyond the limits with a problem document, before it reads a
 * request, and disconnects clients that do not read their answers.
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
        // `once` would hold a wrapper while the connection is open.
        socket.on('close', () => admission.leave(address))
        return
      }
      refused.add(socket)
      endWithProblem(socket, { code })
    })
    app.addHook('onRequest', (request, reply, done) => {
      // The connection has its answer already, so the request must not be carried out.
      if (refused.has(request.raw.socket)) reply.hijack()
      done()
    })
    app.addHook('onSend', (_request, { raw: response }, _payload, done) => {
      // Node checks progress once in each stallMs, so this takes up to twice as long.
      response.setTimeout(limits.stallMs, () => {
        if (response.writableLength > 0) response.destroy()
        // Only the server has nothing to send.
        else response.setTimeout(limits.stallMs)
      })
      done()
    })
  },
  { name: 'connection-limits' },
)

const NO_WEBSOCKET = {
  code: 'bad_request',
  detail: 'This address is not for WebSockets. /api/ws/{run_id} and /api/ws are.',
} as const satisfies Problem

/**
 * Refuses WebSockets at routes that are not for them, and WebSockets and streams of records beyond the limits, before
 * they cost anything. A connection counts until it is closed, a stream until it has ended.
 */
export const limitSockets = fp<Pick<LiveLimits, 'sockets' | 'socketsPerClient'>>(
  async (app, { sockets, socketsPerClient }) => {
    const admission = new Admission(
      { all: sockets, perClient: socketsPerClient },
      { all: 'too_many_sockets', perClient: 'too_many_of_client' },
    )
    const refusalAt = (address: string): Problem | null => {
      const code = admission.enter(address)
      return code === null ? null : { code }
    }
    app.addHook('onRequest', (request, reply, done) => {
      if (!request.ws && !isStream(request)) return done()
      const { ip } = request
      const refusal = request.ws && !speaksWebSocket(request) ? NO_WEBSOCKET : refusalAt(ip)
      if (refusal !== null) {
        void sendProblem(request, reply, refusal)
        return
      }
      const held = request.ws ? request.raw.socket : reply.raw
      // `once` would hold a wrapper while the socket is open.
      held.on('close', () => admission.leave(ip))
      done()
    })
  },
  { name: 'socket-limits', dependencies: ['security'] },
)

/** An address without a route is refused later. */
const speaksWebSocket = ({ routeOptions: { url } }: FastifyRequest): boolean =>
  url === undefined || /^\/api\/ws\b/.test(url)

const isStream = ({ headers, routeOptions }: FastifyRequest): boolean => {
  const { url = '' } = routeOptions
  return url.endsWith('/events') && /event-stream|ndjson/i.test(headers.accept ?? '')
}
