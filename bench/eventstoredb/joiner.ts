import type { ObserverOperations } from '../live/observers-process.ts'
import { watchPath } from '../live/pair.ts'
import type { ServerOperations } from '../live/server-process.ts'
import { type Peer, startPeer } from '../support/calls.ts'

/** A server on an EventStoreDB, and a process that observes it. */
export type Watched = AsyncDisposable & {
  readonly server: Peer<ServerOperations>
  /** Joins a run that nobody observes. @returns milliseconds until its last record came */
  join(runId: string, records: number): Promise<number>
}

export async function startWatched(folder: string, connectionString: string): Promise<Watched> {
  await using stack = new AsyncDisposableStack()
  const start = (name: string) => new URL(`../live/${name}-process.ts`, import.meta.url)
  const args = [folder, connectionString]
  const server = stack.use(await startPeer<ServerOperations>(start('server'), args))
  const observers = stack.use(await startPeer<ObserverOperations>(start('observers')))
  const port = await server.ask('port')
  const all = stack.move()
  return {
    server,
    join: async (runId, records) => {
      await observers.ask('expect', records)
      const target = { port, path: watchPath(runId) }
      const began = await observers.ask('openAtOnce', { target, observers: 1 })
      const ended = await observers.ask('complete')
      await observers.ask('close')
      return (ended - began) / 1e6
    },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  }
}
