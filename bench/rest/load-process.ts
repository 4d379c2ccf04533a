/** Asks a server for one address again and again, over connections that stay open. */
import { connect, type Socket } from 'node:net'
import { answerCalls } from '../support/calls.ts'

const END_OF_HEAD = Buffer.from('\r\n\r\n')
const LENGTH = /\r\ncontent-length: (\d+)/i

type Load = {
  readonly port: number
  readonly path: string
  readonly connections: number
  readonly ms: number
}

/** One connection. It sends the next request after it has read the whole answer to the last one. */
class Client {
  readonly #socket: Socket
  readonly #request: string
  readonly #until: number
  readonly #done = Promise.withResolvers<void>()
  #received: Buffer = Buffer.alloc(0)
  answers = 0

  constructor({ port, path, ms }: Load) {
    this.#request = `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAccept: application/json\r\n\r\n`
    this.#until = performance.now() + ms
    this.#socket = connect({ host: '127.0.0.1', port, noDelay: true })
    this.#socket.on('data', (chunk) => this.#take(chunk))
    this.#socket.on('error', (error) => this.#done.reject(error))
    this.#socket.on('close', () => this.#done.reject(new Error('the server hung up')))
    this.#socket.write(this.#request)
  }

  async end(): Promise<void> {
    await this.#done.promise
    this.#socket.destroy()
  }

  #take(chunk: Buffer): void {
    const { length } = this.#received
    this.#received = length === 0 ? chunk : Buffer.concat([this.#received, chunk])
    const head = this.#received.indexOf(END_OF_HEAD)
    if (head < 0) return
    const text = this.#received.toString('latin1', 0, head)
    const size = Number(LENGTH.exec(text)?.[1])
    if (!text.startsWith('HTTP/1.1 200') || Number.isNaN(size)) {
      this.#done.reject(new Error(`not what was asked for: ${text}`))
      return
    }
    if (this.#received.length < head + END_OF_HEAD.length + size) return
    this.#received = Buffer.alloc(0)
    this.answers += 1
    if (performance.now() < this.#until) this.#socket.write(this.#request)
    else this.#done.resolve()
  }
}

const operations = {
  /** @returns answers per second */
  load: async (load: Load): Promise<number> => {
    const start = performance.now()
    const clients = Array.from({ length: load.connections }, () => new Client(load))
    await Promise.all(clients.map((client) => client.end()))
    const answers = clients.reduce((sum, client) => sum + client.answers, 0)
    return (1000 * answers) / (performance.now() - start)
  },
}
export type LoadOperations = typeof operations

answerCalls(operations)
