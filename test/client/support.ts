import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { streamOf } from '../../src/log/run-log.ts'
import type { TestServer } from '../support/server.ts'

export async function collect<T>(events: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const event of events) all.push(event)
  return all
}

/** An HTTP server that is not a retrAI server. */
export async function listen(
  listener: RequestListener,
): Promise<{ readonly url: string; readonly stop: () => void }> {
  const http = createServer(listener).listen(0, '127.0.0.1')
  await once(http, 'listening')
  const stop = () => {
    http.close()
    http.closeAllConnections()
  }
  return { url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`, stop }
}

/** seq of the last record that is stored; -1 for none. */
export async function headOf({ store }: TestServer, runId: string): Promise<number> {
  const options = { from: 'end', direction: 'backward', limit: 1 } as const
  const [last] = (await store.readStream(streamOf(runId), options))._unsafeUnwrap()
  return last?.revision ?? -1
}
