import type { ChildProcess } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { siblingModule } from '../../lib/package-files.ts'
import { startHelper } from '../helper-process.ts'
import { FRAME, type Frame, FrameReader, frame } from '../protocol.ts'
import type { Connection } from './connection.ts'

/** What the process needs to open the proxy of a command; `socket` is a name in its folder. */
export type ProxyRequest = { readonly socket: string; readonly hosts: readonly string[] }

/** The way of one command to its hosts, as the runner has it. */
export type OpenProxy = {
  /** The socket on which the proxy listens. */
  readonly path: string
  /** Ends its connections. Resolves when all of them are reported. */
  close(): Promise<void>
}

type Opening = {
  readonly opened: PromiseWithResolvers<void>
  readonly closed: PromiseWithResolvers<void>
  readonly onConnection: (connection: Connection) => void
}

/** Below the folder where the server makes folders for commands. */
export const PROXY_FOLDER = 'proxy'

/** Opens proxies for commands in one process, which starts with the first of them and, after its death, with the next one. */
export class CommandProxies {
  #process: ProxyProcess | null = null

  /** Rejects if no proxy can be opened. @param folder where the server makes folders for commands */
  async open(
    folder: string,
    hosts: readonly string[],
    onConnection: (connection: Connection) => void,
  ): Promise<OpenProxy> {
    if (this.#process === null || this.#process.isDead) {
      const sockets = join(folder, PROXY_FOLDER)
      mkdirSync(sockets, { recursive: true, mode: 0o700 })
      this.#process = new ProxyProcess(sockets)
    }
    return this.#process.open(hosts, onConnection)
  }
}

const DEAD = 'The proxy has died: what was sent through this connection is not known'

class ProxyProcess {
  isDead = false
  readonly #folder: string
  /** Undefined if the process could not be started for lack of descriptors. */
  readonly #pipe: Socket | undefined
  readonly #proxies = new Map<number, Opening>()
  #count = 0

  constructor(folder: string) {
    this.#folder = folder
    const child: ChildProcess = startHelper(siblingModule('proxy-process', import.meta.url), folder)
    this.#pipe = child.stdio?.[3] as Socket | undefined
    child.on('error', (cause) => this.#die(cause))
    const reader = new FrameReader()
    this.#pipe?.on('data', (chunk: Buffer) => {
      for (const received of reader.read(chunk)) this.#take(received)
    })
    this.#pipe?.on('error', () => {}).once('close', () => this.#die())
    child.unref()
  }

  async open(
    hosts: readonly string[],
    onConnection: (connection: Connection) => void,
  ): Promise<OpenProxy> {
    this.#count += 1
    const id = this.#count
    const socket = `call-${id}`
    const proxy: Opening = {
      opened: Promise.withResolvers(),
      closed: Promise.withResolvers(),
      onConnection,
    }
    this.#proxies.set(id, proxy)
    const request: ProxyRequest = { socket, hosts }
    this.#pipe?.write(frame(FRAME.start, id, JSON.stringify(request)))
    await proxy.opened.promise
    return {
      path: join(this.#folder, socket),
      close: () => {
        if (!this.isDead) this.#pipe?.write(frame(FRAME.stop, id, ''))
        return proxy.closed.promise
      },
    }
  }

  #take({ type, call, payload }: Frame): void {
    const proxy = this.#proxies.get(call)
    if (proxy === undefined) return
    if (type === FRAME.opened) proxy.opened.resolve()
    else if (type === FRAME.notice) proxy.onConnection(JSON.parse(payload.toString()))
    else if (type === FRAME.end) {
      this.#proxies.delete(call)
      proxy.opened.reject(new Error(`the proxy cannot listen: ${payload}`))
      proxy.closed.resolve()
    }
  }

  #die(cause = new Error('the proxy has died')): void {
    if (this.isDead) return
    this.isDead = true
    for (const { opened, closed, onConnection } of this.#proxies.values()) {
      opened.reject(cause)
      const lost = { host: '*', port: 0, allowed: true, reason: DEAD, bytes_in: 0, bytes_out: 0 }
      onConnection(lost)
      closed.resolve()
    }
    this.#proxies.clear()
  }
}
