import type { WebSocket } from '@fastify/websocket'
import type { LiveLimits } from './limits.ts'

/** A client is pinged after this many bytes, so it never has to read more than that in its time. */
const PING_EVERY_BYTES = 64 * 1024
/** How many times the shared timer fires in the shorter of the two times. */
const TICKS = 20

type Limits = Pick<LiveLimits, 'pingMs' | 'stallMs'>

/**
 * Detects clients that make no progress. Each is pinged at a fixed pace and, while much is sent, after
 * a number of bytes. The pings are between the frames of the stream, so an answer proves that everything
 * before it has been read and is not in a buffer of a kernel. One timer serves all clients.
 */
export class Heartbeats {
  readonly #limits: Limits
  readonly #all = new Map<WebSocket, Heartbeat>()
  #timer: NodeJS.Timeout | null = null

  constructor(limits: Limits) {
    this.#limits = limits
  }

  /** @param onStall is called once if no ping is answered within the time that a client has */
  start(socket: WebSocket, onStall: (socket: WebSocket) => void): Heartbeat {
    const heartbeat = new Heartbeat(socket, this.#limits, onStall)
    this.#all.set(socket, heartbeat)
    socket.on('pong', this.#onPong)
    this.#timer ??= setInterval(
      () => this.#tick(),
      Math.min(this.#limits.pingMs, this.#limits.stallMs) / TICKS,
    ).unref()
    return heartbeat
  }

  /** To be called when the socket has closed. */
  stop(socket: WebSocket): void {
    this.#all.delete(socket)
    if (this.#all.size > 0) return
    clearInterval(this.#timer ?? undefined)
    this.#timer = null
  }

  #tick(): void {
    const now = performance.now()
    for (const heartbeat of this.#all.values()) heartbeat.check(now)
  }

  /** One listener for all sockets. */
  readonly #onPong = ((all) =>
    function (this: WebSocket, data: Buffer): void {
      all.get(this)?.answered(Number(data))
    })(this.#all)
}

/** One client. */
class Heartbeat {
  readonly #socket: WebSocket
  readonly #limits: Limits
  readonly #onStall: (socket: WebSocket) => void
  #bytes = 0
  #asked = 0
  #answered = 0
  /** Times of `performance.now`: the next ping at the fixed pace, and the end of the client's time. */
  #pingAt: number
  #stalledAt = Number.POSITIVE_INFINITY

  constructor(socket: WebSocket, limits: Limits, onStall: (socket: WebSocket) => void) {
    this.#socket = socket
    this.#limits = limits
    this.#onStall = onStall
    this.#pingAt = performance.now() + limits.pingMs
  }

  /** To be called with all that is sent. */
  sent(bytes: number): void {
    this.#bytes += bytes
    if (this.#bytes >= PING_EVERY_BYTES) this.#ping(performance.now())
  }

  check(now: number): void {
    if (now >= this.#stalledAt) {
      this.#stalledAt = Number.POSITIVE_INFINITY
      this.#onStall(this.#socket)
    }
    if (now < this.#pingAt) return
    this.#pingAt += this.#limits.pingMs
    if (this.#asked === this.#answered) this.#ping(now)
  }

  /** A client may answer only the last of several pings, and may send pongs without a ping. */
  answered(ping: number): void {
    if (!(ping > this.#answered && ping <= this.#asked)) return
    this.#answered = ping
    const isDone = ping === this.#asked
    this.#stalledAt = isDone ? Number.POSITIVE_INFINITY : performance.now() + this.#limits.stallMs
  }

  #ping(now: number): void {
    this.#bytes = 0
    // The client's time begins with the first ping that it has not answered.
    if (this.#asked === this.#answered) this.#stalledAt = now + this.#limits.stallMs
    this.#asked += 1
    this.#socket.ping(String(this.#asked))
  }
}
