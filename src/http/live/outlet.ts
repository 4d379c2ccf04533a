import type { Socket } from 'node:net'
import type { WebSocket } from '@fastify/websocket'
import type { Heartbeat } from './heartbeat.ts'
import type { Framed } from './wire.ts'

const TEXT = { binary: false } as const
/** Frames that stand together in memory are sent together, up to about so many bytes. */
const SPAN_BYTES = 64 * 1024
const NOTHING = { memory: Buffer.alloc(0), start: 0, end: 0 }

/**
 * The sending side of one WebSocket. What waits in it is bounded, however slowly its peer reads, as
 * long as its user stops at `full` and goes on when it is `drained`.
 */
export class Outlet {
  readonly #socket: WebSocket
  readonly #connection: Socket
  readonly #mark: number
  readonly #heartbeat: Pick<Heartbeat, 'sent'>
  /** Frames that wait for those behind them. */
  #span: Pick<Framed, 'memory' | 'start' | 'end'> = NOTHING
  #waiting = 0
  #drained: (() => void)[] = []

  /**
   * @param mark bytes that may wait before the outlet is full
   * @param heartbeat is told of all that is sent
   */
  constructor(
    socket: WebSocket,
    connection: Socket,
    mark: number,
    heartbeat: Pick<Heartbeat, 'sent'>,
  ) {
    this.#socket = socket
    this.#connection = connection
    this.#mark = mark
    this.#heartbeat = heartbeat
    socket.once('close', () => this.#release())
  }

  get full(): boolean {
    return this.#socket.bufferedAmount + this.#span.end - this.#span.start > this.#mark
  }

  /** Sends a text frame with this payload. */
  send(payload: Buffer): void {
    this.#flush()
    this.#waiting += 1
    this.#socket.send(payload, TEXT, this.#sent)
    this.#heartbeat.sent(payload.length)
  }

  /** Sends what is a whole frame already. It may wait for others to go with it until `uncork`. */
  sendFramed({ memory, start, end }: Framed): void {
    const span = this.#span
    if (span.memory === memory && span.end === start && start - span.start < SPAN_BYTES) {
      this.#span = { memory, start: span.start, end }
      return
    }
    this.#flush()
    this.#span = { memory, start, end }
  }

  #flush(): void {
    const { memory, start, end } = this.#span
    this.#span = NOTHING
    if (start === end || this.#socket.readyState !== this.#socket.OPEN) return
    this.#waiting += 1
    this.#connection.write(memory.subarray(start, end), this.#sent)
    this.#heartbeat.sent(end - start)
  }

  /** Resolves when nothing waits any more, or when the socket has closed. */
  drained(): Promise<void> {
    if (this.#waiting === 0 || this.#socket.readyState === this.#socket.CLOSED) {
      return Promise.resolve()
    }
    return new Promise((resolve) => this.#drained.push(resolve))
  }

  /** Holds frames back until `uncork`, so that many of them leave in one system call. */
  cork(): void {
    this.#connection.cork()
  }

  uncork(): void {
    this.#flush()
    this.#connection.uncork()
  }

  /** `drained`, with nothing held back meanwhile. */
  async uncorkedDrain(): Promise<void> {
    this.uncork()
    await this.drained()
    this.cork()
  }

  readonly #sent = (): void => {
    this.#waiting -= 1
    if (this.#waiting === 0) this.#release()
  }

  #release(): void {
    const drained = this.#drained
    this.#drained = []
    for (const resolve of drained) resolve()
  }
}
