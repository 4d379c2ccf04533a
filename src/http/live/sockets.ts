import { once } from 'node:events'
import type { Socket } from 'node:net'
import type { WebSocket } from '@fastify/websocket'
import type { FastifyBaseLogger } from 'fastify'
import { RunId } from '../run-id.ts'
import { refusalFrame } from './entry.ts'
import { keepAlive } from './heartbeat.ts'
import { Hub } from './hub.ts'
import { type Ending, observe } from './observe.ts'
import { Outlet } from './outlet.ts'
import type { TopicDeps } from './topic.ts'
import { parseWatch } from './watch-query.ts'

/** How each ending is told in the close frame: codes from 4000 on are the application's own. */
const CLOSES: Record<Ending['type'], readonly [code: number, reason: string]> = {
  complete: [1000, 'the run has ended'],
  unknown_run: [4404, 'no such run'],
  bad_request: [4400, 'bad request'],
  damaged: [1011, 'a record of this run cannot be read'],
}
const GOING_AWAY = 1001
const INTERNAL_ERROR = 1011

export type SocketDeps = TopicDeps & {
  /** Seconds since the epoch. */
  readonly clock: () => number
}

type Request = {
  readonly runId: string
  readonly query: unknown
  readonly connection: Socket
  readonly log: FastifyBaseLogger
}

/** The open WebSockets of this process. */
export class Sockets {
  readonly #deps: SocketDeps
  readonly #hub: Hub
  readonly #open = new Map<WebSocket, AbortController>()

  constructor(deps: SocketDeps) {
    this.#deps = deps
    this.#hub = new Hub(deps)
  }

  /** Serves one socket until either side ends it. Listeners are in place before this returns. */
  serve(socket: WebSocket, request: Request): void {
    const leave = new AbortController()
    this.#open.set(socket, leave)
    socket.once('close', () => {
      this.#open.delete(socket)
      leave.abort()
    })
    const { pingMs, socketBytes } = this.#deps.limits
    const outlet = new Outlet(socket, request.connection, socketBytes, keepAlive(socket, pingMs))
    this.#deliver(socket, outlet, request, leave.signal).catch((err: unknown) => {
      request.log.error({ err }, 'serving a WebSocket failed')
      socket.close(INTERNAL_ERROR, 'the server failed; its log says why')
    })
  }

  /** Tells all peers that the server goes, and cuts off those that do not answer in time. */
  async close(): Promise<void> {
    const cut = setTimeout(() => {
      for (const socket of this.#open.keys()) socket.terminate()
    }, this.#deps.limits.closeMs)
    await Promise.all(
      [...this.#open].map(([socket, leave]) => {
        leave.abort()
        const closed = once(socket, 'close')
        socket.close(GOING_AWAY, 'the server is closing')
        return closed
      }),
    )
    clearTimeout(cut)
  }

  async #deliver(
    socket: WebSocket,
    outlet: Outlet,
    request: Request,
    signal: AbortSignal,
  ): Promise<void> {
    const ending = await this.#observe(outlet, request, signal)
    if (ending === null) return
    if (ending.type !== 'complete') {
      const { cursor, message } = ending
      outlet.send(refusalFrame(request.runId, cursor, this.#deps.clock(), message))
    }
    // A closing socket is cut after a while, so a slow peer must have taken everything before.
    await outlet.drained()
    socket.close(...CLOSES[ending.type])
  }

  async #observe(outlet: Outlet, request: Request, signal: AbortSignal): Promise<Ending | null> {
    const runId = RunId.safeParse(request.runId)
    if (!runId.success) {
      const message = `"${request.runId}" is not a run id. GET /api/runs lists the runs there are.`
      return { type: 'unknown_run', cursor: -1, message }
    }
    const watch = parseWatch(request.query)
    if (watch.isErr()) return { type: 'bad_request', cursor: -1, message: watch.error }
    const observation = { runId: runId.data, watch: watch.value, outlet, signal }
    return observe(observation, this.#hub, this.#deps)
  }
}
