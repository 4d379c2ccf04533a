import type { Server } from 'node:net'

export type Memory = { readonly rss: number; readonly heap: number; readonly buffers: number }

/** What this process holds, bytes; after a collection if that is wanted (it takes --expose-gc). */
export function memory({ collect }: { readonly collect: boolean }): Memory {
  if (collect) globalThis.gc?.()
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage()
  return { rss, heap: heapUsed, buffers: arrayBuffers }
}

export function portOf(server: Pick<Server, 'address'>): number {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('it does not listen')
  return address.port
}

/** What this process has used of all processors, milliseconds. */
export function cpu(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}
