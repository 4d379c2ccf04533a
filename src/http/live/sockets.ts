import { once } from 'node:events'
import type { WebSocket } from '@fastify/websocket'
import type { FastifyRequest } from 'fastify'
import { Heartbeat } from './heartbeat.ts'
import type { LiveLimits } from './limits.ts'
import type { Ending } from './observe.ts'
import { Outlet } from './outlet.ts'

/** How each ending is told in the close frame: codes from 4000 on are the application's own. */
const CLOSES: Record<Ending['type'], readonly [code: number, reason: string]> = {
  complete: [1000, 'the run has ended'],
  unknown_run: [4404, 'no such run'],
  bad_request: [4400, 'bad request'],
  damaged: [1011, 'a record of this run cannot be read'],
  not_written: [1013, 'the access log cannot be written'],
}
const GOING_AWAY = 1001
const NOT_LET_IN = [4401, 'the token was revoked or has expired'] as const
const INTERNAL_ERROR = 1011
const TRY_AGAIN_LATER = 1013

/** What is sent over a socket. */
export type Observation = {
  /** Sends until there is no more to send; resolves to null when `signal` has aborted before. */
  readonly send: (outlet: Outlet, signal: AbortSignal) => Promise<Ending | null>
  /** The frame that tells an observer why it is not served further. */
  readonly refusal: (ending: Exclude<Ending, { type: 'complete' }>) => Buffer
}

type Request = Pick<FastifyRequest, 'raw' | 'log' | 'lease'>

/** The open WebSockets of this process. */
export class Sockets {
  readonly #limits: LiveLimits
  readonly #open = new Map<WebSocket, AbortController>()

  constructor(limits: LiveLimits) {
    this.#limits = limits
  }

  /** Serves one socket until either side ends it. Listeners are in place before this returns. */
  serve(socket: WebSocket, observation: Observation, request: Request): void {
    const leave = new AbortController()
    this.#open.set(socket, leave)
    const forget = request.lease.onEnd(() => this.#turnAway(socket, leave))
    socket.once('close', () => {
      forget()
      this.#open.delete(socket)
      leave.abort()
    })
    const limits = this.#limits
    const heartbeat = new Heartbeat(socket, limits, () => {
      // What is on its way is still sent. If that gets on no better, the socket is cut after a while.
      leave.abort()
      socket.close(TRY_AGAIN_LATER, 'the peer does not get on')
    })
    const outlet = new Outlet(socket, request.raw.socket, limits.socketBytes, heartbeat)
    deliver(socket, outlet, observation, leave.signal).catch((err: unknown) => {
      request.log.error({ err }, 'serving a WebSocket failed')
      socket.close(INTERNAL_ERROR, 'the server failed; its log says why')
    })
  }

  /** Ends it at once: who may not watch any more gets nothing more, however slowly it leaves. */
  #turnAway(socket: WebSocket, leave: AbortController): void {
    leave.abort()
    socket.close(...NOT_LET_IN)
    setTimeout(() => socket.terminate(), this.#limits.closeMs).unref()
  }

  /** Tells all peers that the server goes, and cuts off those that do not answer in time. */
  async close(): Promise<void> {
    const cut = setTimeout(() => {
      for (const socket of this.#open.keys()) socket.terminate()
    }, this.#limits.closeMs)
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
}

async function deliver(
  socket: WebSocket,
  outlet: Outlet,
  { send, refusal }: Observation,
  signal: AbortSignal,
): Promise<void> {
  const ending = await send(outlet, signal)
  if (ending === null) return
  if (ending.type !== 'complete') outlet.send(refusal(ending))
  // A closing socket is cut after a while, so a slow peer must have taken everything before.
  await outlet.drained()
  socket.close(...CLOSES[ending.type])
}
