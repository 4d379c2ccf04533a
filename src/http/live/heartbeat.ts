import type { WebSocket } from '@fastify/websocket'
import type { LiveLimits } from './limits.ts'

/** A peer is asked behind every so many bytes, and need not take more within the time it has. */
const ASK_EVERY_BYTES = 64 * 1024

/**
 * Finds out whether a peer gets on. It is asked for a sign of life at a fixed pace, and while much is
 * sent, behind every so many bytes. The pings stand in the stream between the frames, so an answer
 * proves that all before it has been read, whatever the buffers of both kernels hold.
 */
export class Heartbeat {
  readonly #socket: WebSocket
  readonly #stallMs: number
  readonly #onStall: () => void
  #bytes = 0
  #asked = 0
  #answered = 0
  #patience: NodeJS.Timeout | null = null

  /** @param onStall called once no ping has been answered for the time that a peer has */
  constructor(
    socket: WebSocket,
    { pingMs, stallMs }: Pick<LiveLimits, 'pingMs' | 'stallMs'>,
    onStall: () => void,
  ) {
    this.#socket = socket
    this.#stallMs = stallMs
    this.#onStall = onStall
    const pace = setInterval(() => {
      if (this.#asked === this.#answered) this.#ask()
    }, pingMs)
    pace.unref()
    socket.on('pong', (data) => this.#take(Number(data)))
    socket.once('close', () => {
      clearInterval(pace)
      this.#rest()
    })
  }

  /** To be told of all that is sent. */
  sent(bytes: number): void {
    this.#bytes += bytes
    if (this.#bytes >= ASK_EVERY_BYTES) this.#ask()
  }

  #ask(): void {
    this.#bytes = 0
    this.#asked += 1
    this.#socket.ping(String(this.#asked))
    this.#patience ??= setTimeout(this.#onStall, this.#stallMs).unref()
  }

  /** A peer may answer only the last of several pings, and may send pongs that nobody asked for. */
  #take(answer: number): void {
    if (!(answer > this.#answered && answer <= this.#asked)) return
    this.#answered = answer
    if (answer === this.#asked) this.#rest()
    else this.#patience?.refresh()
  }

  #rest(): void {
    clearTimeout(this.#patience ?? undefined)
    this.#patience = null
  }
}
