import { onTestFinished } from 'vitest'
import type { EventStore } from '../../../src/store/event-store.ts'
import { openEventStoreDb } from '../../../src/store/eventstoredb/eventstoredb-store.ts'
import { type StandIn, startStandIn } from '../../support/eventstore-stand-in/index.ts'

/** A stand-in that is stopped when the test has finished. */
export async function standIn(): Promise<StandIn> {
  const server = await startStandIn()
  onTestFinished(() => server.stop())
  return server
}

/** A store that is closed when the test has finished. */
export async function openStore(
  connectionString: string,
  options: { readonly timeoutMs?: number; readonly log?: (message: string) => void } = {},
): Promise<EventStore> {
  const opened = await openEventStoreDb({ connectionString, ...options })
  const store = opened._unsafeUnwrap()
  onTestFinished(() => store.close())
  return store
}

/** A stand-in, and a store that is connected to it. */
export async function connected(options?: Parameters<typeof openStore>[1]) {
  const server = await standIn()
  return { server, store: await openStore(server.connectionString, options) }
}
