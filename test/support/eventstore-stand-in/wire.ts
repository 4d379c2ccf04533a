import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'

/** Below the ports that systems give to sockets that name none: nobody takes the port of a relay while it is closed. */
const FIRST_PORT = 20_000
const LAST_PORT = 32_000

/** A TCP relay between clients and the gRPC server. It can be cut, closed and frozen. */
export class Wire {
  readonly #target: number
  readonly #pairs = new Map<Socket, Socket>()
  #server: Server | null = null
  #frozen = false
  port: number

  /** @param port 0 chooses a free one, which stays the same from then on */
  constructor(port: number, target: number) {
    this.port = port
    this.#target = target
  }

  async open(): Promise<void> {
    if (this.#server !== null) return
    const server = createServer({ noDelay: true }, (socket) => this.#relay(socket))
    this.#server = server
    const port = this.port || randomInt(FIRST_PORT, LAST_PORT)
    try {
      await once(server.listen(port, '127.0.0.1'), 'listening')
      this.port = port
    } catch (cause) {
      this.#server = null
      if (this.port !== 0) throw cause
      await this.open()
    }
  }

  /** Accepts no new connections. Open ones stay. */
  refuse(): void {
    this.#server?.close()
    this.#server = null
  }

  async close(): Promise<void> {
    const server = this.#server
    const closed = server === null ? undefined : once(server, 'close')
    this.refuse()
    this.cut()
    await closed
  }

  cut(): void {
    for (const [near, far] of this.#pairs) {
      near.resetAndDestroy()
      far.destroy()
    }
    this.#pairs.clear()
  }

  freeze(): void {
    this.#frozen = true
    for (const pair of this.#pairs) for (const socket of pair) socket.pause()
  }

  thaw(): void {
    this.#frozen = false
    for (const pair of this.#pairs) for (const socket of pair) socket.resume()
  }

  #relay(near: Socket): void {
    const far = connect({ port: this.#target, host: '127.0.0.1', noDelay: true })
    this.#pairs.set(near, far)
    const end = () => {
      this.#pairs.delete(near)
      near.destroy()
      far.destroy()
    }
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.pipe(to)
      from.on('error', end).on('close', end)
    }
    if (this.#frozen) this.freeze()
  }
}
