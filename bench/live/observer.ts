import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { FrameParser, pongFrame } from './frames.ts'

const END_OF_HEAD = Buffer.from('\r\n\r\n')

export type Target = {
  readonly port: number
  readonly path: string
  /** Whether frames may be compressed. The observer only counts them, so it reads both forms alike. */
  readonly deflate?: boolean
}
type OnFrame = (buffer: Buffer, at: number, length: number) => void

/**
 * A WebSocket client on a bare TCP socket. Receiving costs little there, so the bench measures the server.
 */
export class Observer {
  readonly socket: Socket
  readonly #parser: FrameParser
  readonly #accepted = Promise.withResolvers<void>()
  /** The part of the handshake's answer that has arrived; null once it is complete. */
  #head: Buffer | null = Buffer.alloc(0)
  /** Text frames received. */
  frames = 0
  /** The server's close code. */
  closed: number | null = null

  private constructor(socket: Socket, onFrame: OnFrame) {
    this.socket = socket
    this.#parser = new FrameParser({
      text: (buffer, at, length) => {
        this.frames += 1
        onFrame(buffer, at, length)
      },
      ping: (payload) => socket.write(pongFrame(payload)),
      close: (code) => {
        this.closed = code
        socket.end()
      },
    })
    socket.on('data', (chunk) => this.#take(chunk))
    socket.on('error', (error) => this.#accepted.reject(error))
    socket.on('close', () => this.#accepted.reject(new Error('closed before it was accepted')))
  }

  /** Connects, and resolves when the server has accepted. `onFrame` is called for each text frame. */
  static async open(
    { port, path, deflate = false }: Target,
    onFrame: OnFrame = () => {},
  ): Promise<Observer> {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true })
    const observer = new Observer(socket, onFrame)
    const request = [
      `GET ${path} HTTP/1.1`,
      `Host: 127.0.0.1:${port}`,
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
      ...(deflate ? ['Sec-WebSocket-Extensions: permessage-deflate'] : []),
    ]
    socket.write(`${request.join('\r\n')}\r\n\r\n`)
    await observer.#accepted.promise
    return observer
  }

  #take(chunk: Buffer): void {
    if (this.#head === null) {
      this.#parser.take(chunk)
      return
    }
    this.#head = Buffer.concat([this.#head, chunk])
    const end = this.#head.indexOf(END_OF_HEAD)
    if (end < 0) return
    const answer = this.#head.toString('latin1', 0, end)
    const rest = this.#head.subarray(end + END_OF_HEAD.length)
    this.#head = null
    if (answer.startsWith('HTTP/1.1 101')) this.#accepted.resolve()
    else this.#accepted.reject(new Error(`refused: ${answer}`))
    if (rest.length > 0) this.#parser.take(rest)
  }
}
