import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { ProblemCode } from '../../api/problem-codes.ts'
import type { LiveLimits } from '../live/limits.ts'
import { sendProblem } from '../problems/problem.ts'

type PerWhom<T> = { readonly all: T; readonly perClient: T }

/** Counts what is open, in all and by the address of the peer. */
export class Admission {
  readonly #limits: PerWhom<number>
  readonly #codes: PerWhom<ProblemCode>
  readonly #ofClient = new Map<string, number>()
  #open = 0

  /** @param codes of the problems that refuse one more */
  constructor(limits: PerWhom<number>, codes: PerWhom<ProblemCode>) {
    this.#limits = limits
    this.#codes = codes
  }

  /** Why there is no place for one more; null if it has taken its place, until it leaves. */
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

const NO_WEBSOCKET = {
  code: 'bad_request',
  detail: 'This address speaks no WebSocket. /api/ws/{run_id} and /api/ws do.',
} as const

/**
 * Refuses WebSockets at routes that do not speak it, and WebSockets and streams of records beyond the limits, before
 * anything is spent on them. A connection keeps its place until it is closed, a stream until it has ended.
 */
export const limitSockets = fp<Pick<LiveLimits, 'sockets' | 'socketsPerClient'>>(
  async (app, { sockets, socketsPerClient }) => {
    const admission = new Admission(
      { all: sockets, perClient: socketsPerClient },
      { all: 'too_many_sockets', perClient: 'too_many_of_client' },
    )
    app.addHook('onRequest', async (request, reply) => {
      if (!request.ws && !isStream(request)) return
      if (request.ws && !speaksWebSocket(request)) return sendProblem(request, reply, NO_WEBSOCKET)
      const { ip } = request
      const refusal = admission.enter(ip)
      if (refusal !== null) return sendProblem(request, reply, { code: refusal })
      const held = request.ws ? request.raw.socket : reply.raw
      held.once('close', () => admission.leave(ip))
    })
  },
  { name: 'socket-limits', dependencies: ['security'] },
)

/** An address without a route is refused as such. */
const speaksWebSocket = ({ routeOptions: { url } }: FastifyRequest): boolean =>
  url === undefined || /^\/api\/ws\b/.test(url)

const isStream = ({ headers, routeOptions }: FastifyRequest): boolean => {
  const { url = '' } = routeOptions
  return url.endsWith('/events') && /event-stream|ndjson/i.test(headers.accept ?? '')
}
