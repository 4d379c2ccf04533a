import { lstatSync } from 'node:fs'
import { resolve } from 'node:path'
import { defaultSocket } from '../server/data-folder.ts'

const PREFIX = 'unix:'
/** What the Host header says; the connection goes to the socket. */
export const SOCKET_URL = 'http://localhost'

/** The path in `unix:PATH`; null if it is another address. */
export const socketPath = (address: string): string | null =>
  address.startsWith(PREFIX) ? resolve(address.slice(PREFIX.length)) : null

/** The address of the server of this user on this machine, if it listens on a socket: RETRAI_LISTEN, or the default. */
export function localSocket(env: Readonly<Record<string, string | undefined>>): string | null {
  const path = socketPath(env.RETRAI_LISTEN?.trim() ?? '') ?? defaultSocket(env)
  const found = lstatSync(path, { throwIfNoEntry: false })
  const isOurs = found?.isSocket() === true && found.uid === process.getuid?.()
  return isOurs ? `${PREFIX}${path}` : null
}

type Dispatcher = { readonly constructor: new (options: object) => object }
export type Transport = {
  readonly fetch: typeof fetch
  readonly WebSocket: new (url: string, protocols: string[]) => WebSocket
}

/**
 * The fetch and the WebSocket of Node, through a unix socket. Node offers no public way to its HTTP client, but keeps its
 * dispatcher where the package undici finds it.
 */
export function overSocket(path: string): Transport {
  // Node makes the dispatcher with the first use of this.
  void globalThis.WebSocket
  const shared = Reflect.get(globalThis, Symbol.for('undici.globalDispatcher.1')) as Dispatcher
  const dispatcher = new shared.constructor({ connect: { socketPath: path } })
  return {
    fetch: (input, init) => fetch(input, { ...init, dispatcher } as RequestInit),
    WebSocket: class extends WebSocket {
      constructor(url: string, protocols: string[]) {
        super(url, { protocols, dispatcher } as unknown as string[])
      }
    },
  }
}
