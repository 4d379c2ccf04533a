import type { Socket } from 'node:net'
import type { WebSocket } from '@fastify/websocket'
import type { EncodedFrame } from './frame.ts'

const TEXT = { binary: false } as const
/** Adjacent frames are written together, up to about this many bytes. */
const SPAN_BYTES = 64 * 1024

/** Bytes of memory that wait to be sent together. */
type Span = Pick<EncodedFrame, 'memory' | 'start' | 'end'>
const EMPTY: Span = { memory: Buffer.alloc(0), start: 0, end: 0 }

/**
 * The sending side of one WebSocket. It buffers a bounded amount for a slow client if its user stops when it is
 * `full` and continues when it is `drained`.
 */
export class SocketWriter {
  readonly #socket: WebSocket
  readonly #connection: Socket
  readonly #maxBytes: number
  readonly #heartbeat: { sent(bytes: number): void }
  /** Frames that wait for the next adjacent ones. */
  #span = EMPTY
  #waiting = 0
  #drained: (() => void)[] | null = null
  /** Created by the first write: most sockets are idle. */
  #onSent: (() => void) | null = null

  /**
   * @param maxBytes how much may wait before the writer is full
   * @param heartbeat is called with all that is sent
   */
  constructor(
    socket: WebSocket,
    connection: Socket,
    maxBytes: number,
    heartbeat: { sent(bytes: number): void },
  ) {
    this.#socket = socket
    this.#connection = connection
    this.#maxBytes = maxBytes
    this.#heartbeat = heartbeat
  }

  get full(): boolean {
    return this.backlog > this.#maxBytes
  }

  /** How many bytes wait to be sent. */
  get backlog(): number {
    return this.#socket.bufferedAmount + this.#span.end - this.#span.start
  }

  /** Sends a text frame with this payload. */
  send(payload: Buffer): void {
    this.#flush()
    this.#socket.send(payload, TEXT, this.#writing())
    this.#heartbeat.sent(payload.length)
  }

  /** Sends an encoded frame. It may wait for adjacent frames until `uncork`. */
  sendFrame({ memory, start, end }: EncodedFrame): void {
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
    this.#span = EMPTY
    if (start === end || this.#socket.readyState !== this.#socket.OPEN) return
    this.#connection.write(memory.subarray(start, end), this.#writing())
    this.#heartbeat.sent(end - start)
  }

  /** Resolves when everything is sent, or the socket has closed. */
  drained(): Promise<void> {
    if (this.#waiting === 0 || this.#socket.readyState === this.#socket.CLOSED) {
      return Promise.resolve()
    }
    return new Promise((resolve) => {
      this.#drained ??= []
      this.#drained.push(resolve)
    })
  }

  /** Holds frames back until `uncork`, so that one system call sends many of them. */
  cork(): void {
    this.#connection.cork()
  }

  uncork(): void {
    this.#flush()
    this.#connection.uncork()
  }

  /** To be called when the socket has closed. */
  closed(): void {
    this.#release()
  }

  #writing(): () => void {
    this.#waiting += 1
    this.#onSent ??= () => {
      this.#waiting -= 1
      if (this.#waiting > 0) return
      this.#onSent = null
      this.#release()
    }
    return this.#onSent
  }

  #release(): void {
    const drained = this.#drained ?? []
    this.#drained = null
    for (const resolve of drained) resolve()
  }
}
