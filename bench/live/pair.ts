import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type Peer, startPeer } from '../support/calls.ts'
import type { ObserverOperations } from './observers-process.ts'
import type { ServerOperations } from './server-process.ts'

/** A server process and its address. */
export type Side = {
  readonly peer: Peer<ServerOperations>
  readonly port: number
}

/** Our server, the bare one beside it, and a process with all observers. */
export type Pair = AsyncDisposable & {
  readonly ours: Side
  readonly bare: Side
  readonly observers: Peer<ObserverOperations>
}

const moduleOf = (name: string): URL => new URL(`./${name}-process.ts`, import.meta.url)
/** So that memory can be read after a collection. */
const OPTIONS = ['--expose-gc']

export async function startPair(folder: string): Promise<Pair> {
  await using stack = new AsyncDisposableStack()
  const start = async (name: string): Promise<Side> => {
    const data = join(folder, name)
    await mkdir(data)
    // The bare server has the same operations.
    const peer = stack.use(await startPeer<ServerOperations>(moduleOf(name), [data], OPTIONS))
    return { peer, port: await peer.ask('port') }
  }
  const ours = await start('server')
  const bare = await start('bare')
  const observers = stack.use(await startPeer<ObserverOperations>(moduleOf('observers')))
  const all = stack.move()
  return { ours, bare, observers, [Symbol.asyncDispose]: () => all.disposeAsync() }
}

export const watchPath = (runId: string, after = -1): string =>
  `/api/ws/${runId}?kinds=all&after=${after}`
