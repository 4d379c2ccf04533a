import { once } from 'node:events'
import { chmod } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { connect, isIP, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { allows } from '../../domain/hosts.ts'
import { within } from '../../lib/promises.ts'
import { type Connection, ConnectionReport, isPublicAddress } from './connection.ts'
import { PrivateAddress, publicOnly } from './public-only.ts'

/** For the name and all its addresses together. */
const CONNECT_WITHIN_MS = 30_000
/** When the next address of a name is tried. */
const NEXT_ADDRESS_MS = 5_000
/** A connection that brings nothing for this long is closed. */
const IDLE_MS = 10 * 60_000
/** Connections of one command at once. */
const MAX_CONNECTIONS = 256

/** The status of a connection that is allowed, and fails. */
const UNREACHED = 502

/** Why a connection is not made: an HTTP status, and a sentence for people. */
class Refusal extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

/** The way of one command to its hosts: an HTTP proxy on a unix socket that knows only CONNECT. */
export class CommandProxy {
  readonly #server: Server
  readonly #hosts: readonly string[]
  readonly #report: ConnectionReport
  readonly #open = new Set<Duplex>()
  /** Connections whose end is not reported yet. */
  readonly #underWay = new Set<Promise<void>>()

  private constructor(hosts: readonly string[], onConnection: (connection: Connection) => void) {
    this.#hosts = hosts
    this.#report = new ConnectionReport(onConnection)
    this.#server = createServer((request, response) => {
      const refusal = new Refusal(
        405,
        'Only connections with CONNECT, such as those of https:// URLs, are passed on',
      )
      this.#note(request.url ?? '', refusal, null)
      response.writeHead(refusal.status, { connection: 'close', 'content-type': 'text/plain' })
      response.end(`${refusal.message}.\n`)
    })
    this.#server.on('connect', (request, client, head) => {
      const passing = this.#pass(request, client, head)
      this.#underWay.add(passing)
      void passing.finally(() => this.#underWay.delete(passing))
    })
    this.#server.on('clientError', (_, socket) => void socket.destroy())
  }

  /**
   * Listens on a socket to which every user may connect who can reach it.
   * @param hosts patterns without presets
   * @param onConnection called with each connection when it has ended or was refused
   */
  static async open(
    path: string,
    hosts: readonly string[],
    onConnection: (connection: Connection) => void,
  ): Promise<CommandProxy> {
    const proxy = new CommandProxy(hosts, onConnection)
    await once(proxy.#server.listen(path), 'listening')
    await chmod(path, 0o666)
    return proxy
  }

  /** Ends all connections. Resolves when each is reported. */
  async close(): Promise<void> {
    const closed = once(this.#server.close(), 'close')
    this.#server.closeAllConnections()
    for (const socket of this.#open) socket.destroy()
    await Promise.all(this.#underWay)
    this.#report.end()
    await closed
  }

  /** Passes one connection on until it ends. Never rejects. */
  async #pass({ url = '' }: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
    this.#open.add(client)
    client.on('error', () => {}).once('close', () => this.#open.delete(client))
    let upstream: Socket | null = null
    try {
      const { host, port } = authority(url)
      upstream = await this.#connect(host, port)
      this.#open.add(upstream)
      client.write('HTTP/1.1 200 Connection established\r\n\r\n')
      upstream.write(head)
      const failure = await joined(client, upstream)
      this.#note(url, failure, upstream)
    } catch (cause) {
      const refusal = cause instanceof Refusal ? cause : new Refusal(UNREACHED, String(cause))
      const body = `${refusal.message}.\n`
      client.end(
        `HTTP/1.1 ${refusal.status} Refused\r\nConnection: close\r\nContent-Type: text/plain\r\n` +
          `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
        () => client.destroy(),
      )
      this.#note(url, refusal, null)
    } finally {
      if (upstream !== null) this.#open.delete(upstream)
      upstream?.destroy()
    }
  }

  /** Connects to a host of the list, at a public address. Throws a `Refusal`. */
  async #connect(host: string, port: number): Promise<Socket> {
    if (this.#open.size > 2 * MAX_CONNECTIONS) {
      throw new Refusal(503, `A command has at most ${MAX_CONNECTIONS} connections at once`)
    }
    // Before the name is resolved, so that no query for a name carries data out.
    if (!allows(this.#hosts, host, port)) {
      throw new Refusal(
        403,
        `This run may not reach ${host}:${port}. It may reach: ${this.#hosts.join(', ')}`,
      )
    }
    if (isIP(host) !== 0 && !isPublicAddress(host)) {
      throw unreached(new PrivateAddress(host, host), host, port)
    }
    const socket = connect({
      host,
      port,
      allowHalfOpen: true,
      lookup: publicOnly(),
      autoSelectFamily: true,
      autoSelectFamilyAttemptTimeout: NEXT_ADDRESS_MS,
    }).on('error', () => {})
    const connected = once(socket, 'connect').then(
      () => null,
      (cause: Error) => cause,
    )
    const failure = await within(CONNECT_WITHIN_MS, connected, () => new Error('it took too long'))
    if (failure === null) return socket
    socket.destroy()
    throw unreached(failure, host, port)
  }

  #note(url: string, failure: Refusal | string | null, upstream: Socket | null): void {
    const { host, port } = tolerantAuthority(url)
    const isRefused = failure instanceof Refusal && failure.status !== UNREACHED
    this.#report.add({
      host,
      port,
      allowed: !isRefused,
      reason: failure instanceof Refusal ? failure.message : failure,
      bytes_in: upstream?.bytesRead ?? 0,
      bytes_out: upstream?.bytesWritten ?? 0,
    })
  }
}

function unreached(cause: Error, host: string, port: number): Refusal {
  if (cause instanceof PrivateAddress) return new Refusal(403, cause.message)
  const isNameless = 'syscall' in cause && cause.syscall === 'getaddrinfo'
  const why = isNameless ? `The name ${host} cannot be resolved` : `${host}:${port} does not answer`
  return new Refusal(UNREACHED, why)
}

/** `host:port` of a CONNECT request. */
function authority(url: string): { readonly host: string; readonly port: number } {
  const [, host = '', port = ''] =
    /^([^:/@\s]{1,253}|\[[0-9a-fA-F:.]+\]):(\d{1,5})$/.exec(url) ?? []
  if (host === '' || Number(port) > 65535 || Number(port) === 0) {
    throw new Refusal(400, 'The request must name a host and a port')
  }
  return { host: host.toLowerCase().replace(/\.$/, ''), port: Number(port) }
}

const MAX_SHOWN = 300

/** What a request asked for, however it was written. */
function tolerantAuthority(url: string): { readonly host: string; readonly port: number } {
  try {
    return authority(url)
  } catch {
    const parsed = URL.parse(url)
    const host = parsed?.hostname || url.slice(0, MAX_SHOWN)
    return { host, port: Number(parsed?.port) || (parsed?.protocol === 'http:' ? 80 : 0) }
  }
}

/** Passes bytes both ways until both have ended. Resolves to what failed at the host, or null. */
async function joined(client: Duplex, upstream: Socket): Promise<string | null> {
  let failure: string | null = null
  upstream.once('error', () => {
    // If the command went away first, that is the end, not a failure.
    if (!client.destroyed) failure = 'The host cut the connection'
  })
  upstream.setTimeout(IDLE_MS, () => upstream.destroy())
  const ways = [pipeline(client, upstream), pipeline(upstream, client)]
  await Promise.allSettled(ways)
  return failure
}
