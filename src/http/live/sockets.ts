import type { WebSocket } from '@fastify/websocket'
import type { FastifyRequest } from 'fastify'
import { CLOSE_CODES } from '../../api/frames.ts'
import { within } from '../../lib/promises.ts'
import { callerOf } from '../plugins/security.ts'
import type { LiveDeps } from './deps.ts'
import { type Observation, Observer } from './observer.ts'
import { type Ending, SocketWriter } from './sinks.ts'
import type { View } from './views.ts'

/** What a client watches over a socket. */
export type Watch<Cursor> = Pick<Observation<Cursor>, 'caughtUp' | 'watched'> & {
  /** Where it begins, or why nothing is sent; null if `signal` has aborted. */
  readonly start: (signal: AbortSignal) => Promise<View<Cursor> | Ending | null>
}

/** An open WebSocket. It holds neither its request nor its response. */
type Served = {
  readonly writer: SocketWriter
  /** Aborts when nothing more may be sent, except what was written already. */
  readonly leave: AbortController
  observer: Pick<Observer<unknown>, 'runId' | 'closed'> | null
}

/** How many times all sockets are checked in the shorter of the two times that a client has. */
const TICKS = 20

/** The open WebSockets of this process. */
export class Sockets {
  readonly #deps: LiveDeps
  readonly #open = new Map<WebSocket, Served>()
  #timer: NodeJS.Timeout | null = null

  constructor(deps: LiveDeps) {
    this.#deps = deps
  }

  get count(): number {
    return this.#open.size
  }

  /** Serves one socket until either side ends it. Listeners are in place before this returns. */
  serve<Cursor>(
    socket: WebSocket,
    request: Pick<FastifyRequest, 'id' | 'raw' | 'caller'>,
    watch: Watch<Cursor>,
  ): void {
    const { limits, log } = this.#deps
    const { id: reqId, raw } = request
    const writer = new SocketWriter(socket, raw.socket, limits)
    const served: Served = { writer, leave: new AbortController(), observer: null }
    this.#open.set(socket, served)
    // The listener of the WebSocket plugin would hold the request while the socket is open.
    socket.removeAllListeners('error')
    socket.on('error', (err) => {
      log.debug({ err }, 'a WebSocket failed')
      socket.terminate()
    })
    const forget = callerOf(request).lifetime.onEnd(() => this.#turnAway(socket))
    // `once` would hold a wrapper while the socket is open.
    socket.on('close', () => {
      forget()
      this.#closed(socket, served)
    })
    const period = Math.min(limits.pingMs, limits.stallMs) / TICKS
    this.#timer ??= setInterval(() => this.#tick(), period).unref()
    void this.#begin(served, watch, (err) => {
      log.error({ reqId, err }, 'serving a WebSocket failed')
      this.#close(socket, CLOSE_CODES.internal_error, 'the server failed; see its log')
    })
  }

  /** Ends the sockets whose clients do not soon read what was sent before a text of this run was redacted. */
  async endOutdated(runId: string): Promise<void> {
    await Promise.all(
      [...this.#open].map(async ([socket, { writer, observer }]) => {
        const isShown = observer !== null && (observer.runId ?? runId) === runId
        if (!isShown || writer.backlog === 0) return
        await within(this.#deps.limits.redactedMs, writer.drained(), () => socket.terminate())
      }),
    )
  }

  /** Closes all sockets, and terminates those whose clients do not answer in time. @param reason of at most 123 bytes */
  async close(reason: string): Promise<void> {
    const cut = setTimeout(() => {
      for (const socket of this.#open.keys()) socket.terminate()
    }, this.#deps.limits.closeMs)
    await Promise.all(
      [...this.#open.keys()].map((socket) => {
        // A client may still break the protocol, so an error must not end this.
        const closed = new Promise((resolve) => socket.on('close', resolve))
        this.#close(socket, CLOSE_CODES.going_away, reason)
        return closed
      }),
    )
    clearTimeout(cut)
  }

  async #begin<Cursor>(
    served: Served,
    { start, ...watch }: Watch<Cursor>,
    onFailure: Observation<Cursor>['onFailure'],
  ): Promise<void> {
    const { writer: sink, leave } = served
    const { signal } = leave
    try {
      const view = await start(signal)
      if (view === null || signal.aborted) return
      if ('type' in view) return await sink.end(view)
      const observer = new Observer({ view, sink, live: this.#deps, signal, onFailure, ...watch })
      served.observer = observer
      observer.wake()
    } catch (error) {
      onFailure(error)
    }
  }

  #closed(socket: WebSocket, { writer, leave, observer }: Served): void {
    this.#open.delete(socket)
    leave.abort()
    writer.release()
    observer?.closed()
    if (this.#open.size > 0) return
    clearInterval(this.#timer ?? undefined)
    this.#timer = null
  }

  /** Detects clients that make no progress. If one reads nothing, `ws` terminates its socket later. */
  #tick(): void {
    const now = performance.now()
    for (const [socket, { writer, leave }] of this.#open) {
      if (!leave.signal.aborted && writer.isStalled(now)) {
        this.#close(socket, CLOSE_CODES.try_again_later, 'the client makes no progress')
      }
    }
  }

  /** Stops at once: a caller that lost its permission gets nothing more, however slowly it leaves. */
  #turnAway(socket: WebSocket): void {
    this.#close(socket, CLOSE_CODES.unauthenticated, 'the token was revoked or has expired')
    setTimeout(() => socket.terminate(), this.#deps.limits.closeMs).unref()
  }

  #close(socket: WebSocket, code: number, reason: string): void {
    this.#open.get(socket)?.leave.abort()
    socket.close(code, reason)
  }
}
