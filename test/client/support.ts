import { onTestFinished } from 'vitest'
import { streamOf } from '../../src/log/run-log.ts'
import type { TestServer } from '../support/server.ts'
import { startCuttingProxy } from './cutting-proxy.ts'

export async function collect<T>(events: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const event of events) all.push(event)
  return all
}

/** seq of the last record that is stored; -1 for none. */
export async function headOf({ store }: TestServer, runId: string): Promise<number> {
  const options = { from: 'end', direction: 'backward', limit: 1 } as const
  const [last] = (await store.readStream(streamOf(runId), options))._unsafeUnwrap()
  return last?.revision ?? -1
}

/** What was read before a watch or a history failed, and what it threw. */
export async function broken<T>(events: AsyncIterable<T>): Promise<{ read: T[]; thrown: unknown }> {
  const read: T[] = []
  try {
    for await (const event of events) read.push(event)
  } catch (thrown) {
    return { read, thrown }
  }
  throw new Error('it ended')
}

/** A network that fails, as `startCuttingProxy`, until the end of the test. */
export async function proxyOf(
  ...args: Parameters<typeof startCuttingProxy>
): ReturnType<typeof startCuttingProxy> {
  const proxy = await startCuttingProxy(...args)
  onTestFinished(() => proxy.stop())
  return proxy
}
