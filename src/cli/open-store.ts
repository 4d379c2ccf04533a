import { join, resolve } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import { makeDataFolder } from '../server/data-folder.ts'
import type { EventStore } from '../store/event-store.ts'
import { say } from './terminal/print.ts'

export const isConnectionString = (place: string): boolean => /^esdb(\+discover)?:/.test(place)

/** Opens the store at a data folder, which no server may be using, or at the esdb://… of an EventStoreDB. */
export async function openStore(place: string): Promise<Result<EventStore, string>> {
  return isConnectionString(place) ? openEventStoreDb(place) : openDataFolderStore(place)
}

/** The log of a data folder, which is made if there is none. */
export async function openDataFolderStore(place: string): Promise<Result<EventStore, string>> {
  const { openEmbeddedStore } = await import('../store/embedded/embedded-store.ts')
  const folder = resolve(place)
  const made = await makeDataFolder(folder)
  if (made.isErr()) return err(made.error)
  const store = await openEmbeddedStore({ file: join(folder, 'log.sqlite') })
  return store.mapErr(({ message }) => message)
}

/** An EventStoreDB that answers. */
export async function openEventStoreDb(
  connectionString: string,
): Promise<Result<EventStore, string>> {
  const adapter = await import('../store/eventstoredb/eventstoredb-store.ts')
  const log = (message: string) => say(message)
  const store = await adapter.openEventStoreDb({ connectionString, log })
  if (store.isErr()) return err(store.error.message)
  const answer = await store.value.ping()
  if (answer.isOk()) return ok(store.value)
  await store.value.close()
  return err(answer.error.message)
}
