import type { Server } from 'node:net'

export type Memory = { readonly rss: number; readonly heap: number; readonly buffers: number }

/** The memory of this process, bytes; on request after a collection, which needs --expose-gc. */
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

/** The processor time of this process, milliseconds. */
export function cpu(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}
