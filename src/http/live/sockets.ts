import { once } from 'node:events'
import type { WebSocket } from '@fastify/websocket'
import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import { CLOSE_CODES } from '../../api/close-codes.ts'
import type { Watched } from '../plugins/watch-log.ts'
import { Heartbeats } from './heartbeats.ts'
import type { LiveLimits } from './limits.ts'
import { SocketWriter } from './socket-writer.ts'

/** Why the server ends an observation. `cursor` is the seq up to which the observer was served. */
export type Ending =
  | { readonly type: 'complete'; readonly cursor: number }
  | {
      readonly type: 'unknown_run' | 'bad_request' | 'damaged' | 'not_written'
      readonly cursor: number
      /** A sentence for the observer. */
      readonly message: string
    }

/** The close frame of each ending. */
const CLOSES: Record<Ending['type'], readonly [code: number, reason: string]> = {
  complete: [CLOSE_CODES.run_ended, 'the run has ended'],
  unknown_run: [CLOSE_CODES.unknown_run, 'no such run'],
  bad_request: [CLOSE_CODES.bad_request, 'bad request'],
  damaged: [CLOSE_CODES.internal_error, 'a record of this run cannot be read'],
  not_written: [CLOSE_CODES.try_again_later, 'the access log cannot be written'],
}

/** What is sent over a socket. */
export type Observation = {
  /** Sends until there is nothing more to send. Resolves to null if `signal` aborts first. */
  readonly send: (writer: SocketWriter, signal: AbortSignal) => Promise<Ending | null>
  /** The frame that reports to an observer why the server ends the observation. */
  readonly refusal: (ending: Exclude<Ending, { type: 'complete' }>) => Buffer
  /** Ends when the socket has closed. */
  readonly watched: Pick<Watched, 'end'>
}

type Served = {
  readonly leave: AbortController
  readonly writer: SocketWriter
  readonly watched: Pick<Watched, 'end'>
  /** Stops listening for the end of the caller's lease. */
  forget: () => void
}

/** The open WebSockets of this process. An open socket holds neither its request nor its response. */
export class Sockets {
  readonly #limits: LiveLimits
  readonly #log: FastifyBaseLogger
  readonly #heartbeats: Heartbeats
  readonly #open = new Map<WebSocket, Served>()

  constructor(limits: LiveLimits, log: FastifyBaseLogger) {
    this.#limits = limits
    this.#log = log
    this.#heartbeats = new Heartbeats(limits)
  }

  /** Serves one socket until either side ends it. Listeners are in place before this returns. */
  serve(
    socket: WebSocket,
    { send, refusal, watched }: Observation,
    { id, raw, lease }: Pick<FastifyRequest, 'id' | 'raw' | 'lease'>,
  ): void {
    // The listener of the WebSocket plugin would hold the request while the socket is open.
    socket.removeAllListeners('error')
    socket.on('error', this.#onError)
    socket.once('close', this.#onClose)
    const leave = new AbortController()
    const heartbeat = this.#heartbeats.start(socket, this.#onStall)
    const writer = new SocketWriter(socket, raw.socket, this.#limits.socketBytes, heartbeat)
    const served: Served = { leave, writer, watched, forget: () => {} }
    this.#open.set(socket, served)
    served.forget = lease.onEnd(() => this.#turnAway(socket))
    send(writer, leave.signal)
      .then((ending) => end(socket, writer, ending, refusal))
      .catch((err: unknown) => {
        this.#log.error({ reqId: id, err }, 'serving a WebSocket failed')
        socket.close(CLOSE_CODES.internal_error, 'the server failed; see its log')
      })
  }

  /** Closes all sockets, and terminates those whose clients do not answer in time. */
  async close(): Promise<void> {
    const cut = setTimeout(() => {
      for (const socket of this.#open.keys()) socket.terminate()
    }, this.#limits.closeMs)
    await Promise.all(
      [...this.#open].map(([socket, { leave }]) => {
        leave.abort()
        const closed = once(socket, 'close')
        socket.close(CLOSE_CODES.going_away, 'the server is closing')
        return closed
      }),
    )
    clearTimeout(cut)
  }

  /** Stops at once: a caller that lost its permission gets nothing more, however slowly it leaves. */
  #turnAway(socket: WebSocket): void {
    this.#open.get(socket)?.leave.abort()
    socket.close(CLOSE_CODES.unauthenticated, 'the token was revoked or has expired')
    setTimeout(() => socket.terminate(), this.#limits.closeMs).unref()
  }

  /** What is on its way is still sent. If the client reads none of it, the socket is terminated later. */
  readonly #onStall = (socket: WebSocket): void => {
    this.#open.get(socket)?.leave.abort()
    socket.close(CLOSE_CODES.try_again_later, 'the client makes no progress')
  }

  // One listener for all sockets: `this` is the socket.
  readonly #onClose = ((sockets: Sockets) =>
    function (this: WebSocket): void {
      sockets.#forget(this)
    })(this)

  readonly #onError = ((sockets: Sockets) =>
    function (this: WebSocket, err: Error): void {
      sockets.#log.debug({ err }, 'a WebSocket failed')
      this.terminate()
    })(this)

  #forget(socket: WebSocket): void {
    const served = this.#open.get(socket)
    this.#open.delete(socket)
    this.#heartbeats.stop(socket)
    served?.forget()
    served?.leave.abort()
    served?.writer.closed()
    served?.watched.end()
  }
}

async function end(
  socket: WebSocket,
  writer: SocketWriter,
  ending: Ending | null,
  refusal: Observation['refusal'],
): Promise<void> {
  if (ending === null) return
  if (ending.type !== 'complete') writer.send(refusal(ending))
  // A closing socket is terminated after a while, so a slow client must have taken everything before.
  await writer.drained()
  socket.close(...CLOSES[ending.type])
}
