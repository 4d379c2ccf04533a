import type { WebSocket } from '@fastify/websocket'
import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import { CLOSE_CODES } from '../../api/close-codes.ts'
import { within } from '../../lib/within.ts'
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

/** Sends to one socket what its client asked for. */
export type Observer = {
  /**
   * Sends what there is to send, no faster than the client reads. Null: that is all for now, or the socket is
   * closing. The observer calls `wake` of the socket when there may be more.
   */
  advance(): Ending | null | Promise<Ending | null>
  /** Whether it sends frames of this run. */
  shows(runId: string): boolean
  /** The frame that reports to the client why the server ends the observation. */
  refusal(ending: Exclude<Ending, { type: 'complete' }>): Buffer
  /** The socket has closed. */
  closed(): void
}

/** Called with what the observer of a socket has thrown. */
type OnFailure = (served: ServedSocket, error: unknown) => void

/** An open WebSocket and its observer. While nothing is sent, it holds no promise and no iterator. */
export class ServedSocket {
  readonly writer: SocketWriter
  /** The id of the request that opened the socket. */
  readonly requestId: string
  readonly #socket: WebSocket
  readonly #leave = new AbortController()
  readonly #onFailure: OnFailure
  readonly #observer: Observer
  #isSending = false

  constructor(
    socket: WebSocket,
    writer: SocketWriter,
    observe: (served: ServedSocket) => Observer,
    { requestId, onFailure }: { readonly requestId: string; readonly onFailure: OnFailure },
  ) {
    this.#socket = socket
    this.writer = writer
    this.requestId = requestId
    this.#onFailure = onFailure
    this.#observer = observe(this)
  }

  /** Aborts when nothing more may be sent. */
  get signal(): AbortSignal {
    return this.#leave.signal
  }

  /** Sends what is new. If it is sending already, it looks once more before it stops. */
  wake(): void {
    if (this.#isSending || this.signal.aborted) return
    try {
      const outcome = this.#observer.advance()
      if (outcome !== null) void this.#finish(outcome)
    } catch (error) {
      this.#fail(error)
    }
  }

  /** Whether text of this run waits to be read by the client. */
  holds(runId: string): boolean {
    return this.writer.backlog > 0 && this.#observer.shows(runId)
  }

  /** Sends nothing more, except what was written already. */
  close(...[code, reason]: readonly [code: number, reason: string]): void {
    this.#leave.abort()
    this.#socket.close(code, reason)
  }

  /** To be called when the socket has closed. */
  closed(): void {
    this.#leave.abort()
    this.writer.closed()
    this.#observer.closed()
  }

  async #finish(outcome: Ending | Promise<Ending | null>): Promise<void> {
    this.#isSending = true
    try {
      let ending = await outcome
      while (ending === null && !this.signal.aborted) {
        const next = this.#observer.advance()
        if (next === null) break
        ending = await next
      }
      if (ending !== null) await this.#end(ending)
      else this.#isSending = false
    } catch (error) {
      this.#fail(error)
    }
  }

  async #end(ending: Ending): Promise<void> {
    if (ending.type !== 'complete') this.writer.send(this.#observer.refusal(ending))
    // `ws` terminates a closing socket after a while, so a slow client must have read everything first.
    await this.writer.drained()
    this.#socket.close(...CLOSES[ending.type])
  }

  #fail(error: unknown): void {
    this.#onFailure(this, error)
    this.close(CLOSE_CODES.internal_error, 'the server failed; see its log')
  }
}

/** The open WebSockets of this process. An open socket holds neither its request nor its response. */
export class Sockets {
  readonly #limits: LiveLimits
  readonly #log: FastifyBaseLogger
  readonly #heartbeats: Heartbeats
  readonly #open = new Map<WebSocket, ServedSocket>()

  constructor(limits: LiveLimits, log: FastifyBaseLogger) {
    this.#limits = limits
    this.#log = log
    this.#heartbeats = new Heartbeats(limits)
  }

  /** Serves one socket until either side ends it. Listeners are in place before this returns. */
  serve(
    socket: WebSocket,
    observe: (served: ServedSocket) => Observer,
    { id, raw, tokenLifetime }: Pick<FastifyRequest, 'id' | 'raw' | 'tokenLifetime'>,
  ): void {
    // The listener of the WebSocket plugin would hold the request while the socket is open.
    socket.removeAllListeners('error')
    socket.on('error', this.#onError)
    // `once` would hold a wrapper while the socket is open.
    socket.on('close', this.#onClose)
    const heartbeat = this.#heartbeats.start(socket, this.#onStall)
    const writer = new SocketWriter(socket, raw.socket, this.#limits.socketBytes, heartbeat)
    const served = new ServedSocket(socket, writer, observe, {
      requestId: id,
      onFailure: this.#onFailure,
    })
    this.#open.set(socket, served)
    socket.on(
      'close',
      tokenLifetime.onEnd(() => this.#turnAway(socket)),
    )
    served.wake()
  }

  /** Ends the sockets whose clients do not soon read what was sent before a text of this run was redacted. */
  async endOutdated(runId: string): Promise<void> {
    const outdated = [...this.#open].filter(([, served]) => served.holds(runId))
    await Promise.all(
      outdated.map(([socket, { writer }]) =>
        within(this.#limits.redactedMs, writer.drained(), () => socket.terminate()),
      ),
    )
  }

  /** Closes all sockets, and terminates those whose clients do not answer in time. @param reason of at most 123 bytes */
  async close(reason: string): Promise<void> {
    const cut = setTimeout(() => {
      for (const socket of this.#open.keys()) socket.terminate()
    }, this.#limits.closeMs)
    await Promise.all(
      [...this.#open].map(([socket, served]) => {
        // A client may still break the protocol, so an error must not end this.
        const closed = new Promise((resolve) => socket.on('close', resolve))
        served.close(CLOSE_CODES.going_away, reason)
        return closed
      }),
    )
    clearTimeout(cut)
  }

  /** Stops at once: a caller that lost its permission gets nothing more, however slowly it leaves. */
  #turnAway(socket: WebSocket): void {
    this.#open
      .get(socket)
      ?.close(CLOSE_CODES.unauthenticated, 'the token was revoked or has expired')
    setTimeout(() => socket.terminate(), this.#limits.closeMs).unref()
  }

  /** What was written is still sent. If the client reads nothing, `ws` terminates the socket later. */
  readonly #onStall = (socket: WebSocket): void => {
    this.#open.get(socket)?.close(CLOSE_CODES.try_again_later, 'the client makes no progress')
  }

  readonly #onFailure: OnFailure = ({ requestId }, err) => {
    this.#log.error({ reqId: requestId, err }, 'serving a WebSocket failed')
  }

  // One listener for all sockets: `this` is the socket.
  readonly #onClose = ((sockets: Sockets) =>
    function (this: WebSocket): void {
      const served = sockets.#open.get(this)
      sockets.#open.delete(this)
      sockets.#heartbeats.stop(this)
      served?.closed()
    })(this)

  readonly #onError = ((sockets: Sockets) =>
    function (this: WebSocket, err: Error): void {
      sockets.#log.debug({ err }, 'a WebSocket failed')
      this.terminate()
    })(this)
}
