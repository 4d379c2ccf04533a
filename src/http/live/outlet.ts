import type { Socket } from 'node:net'
import type { WebSocket } from '@fastify/websocket'

const TEXT = { binary: false } as const

/**
 * The sending side of one WebSocket. What waits in it is bounded, however slowly its peer reads, as
 * long as its user stops at `full` and goes on when it is `drained`.
 */
export class Outlet {
  readonly #socket: WebSocket
  readonly #connection: Socket
  readonly #mark: number
  readonly #progress: () => void
  #waiting = 0
  #drained: (() => void)[] = []

  /**
   * @param mark bytes that may wait before the outlet is full
   * @param progress called whenever the peer has taken something
   */
  constructor(socket: WebSocket, connection: Socket, mark: number, progress: () => void) {
    this.#socket = socket
    this.#connection = connection
    this.#mark = mark
    this.#progress = progress
    socket.once('close', () => this.#release())
  }

  get full(): boolean {
    return this.#socket.bufferedAmount > this.#mark
  }

  send(data: Buffer): void {
    this.#waiting += 1
    this.#socket.send(data, TEXT, this.#sent)
  }

  /** Resolves when nothing waits any more, or when the socket has closed. */
  drained(): Promise<void> {
    if (this.#waiting === 0 || this.#socket.readyState === this.#socket.CLOSED) {
      return Promise.resolve()
    }
    return new Promise((resolve) => this.#drained.push(resolve))
  }

  /** Holds small frames back until `uncork`, so that many of them leave in one system call. */
  cork(): void {
    this.#connection.cork()
  }

  uncork(): void {
    this.#connection.uncork()
  }

  readonly #sent = (error?: Error | null): void => {
    this.#waiting -= 1
    if (!error) this.#progress()
    if (this.#waiting === 0) this.#release()
  }

  #release(): void {
    const drained = this.#drained
    this.#drained = []
    for (const resolve of drained) resolve()
  }
}
