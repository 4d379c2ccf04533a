import { streamOf } from '../../src/log/run-log.ts'
import type { TestServer } from '../support/server.ts'

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
