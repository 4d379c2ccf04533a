import { join, resolve } from 'node:path'
import { err, ok, type Result, type ResultAsync } from 'neverthrow'
import type { ArtifactSource } from '../artifacts/artifacts.ts'
import { type Keyring, openKeyring, signingWith } from '../checkpoints/keyring.ts'
import type { Signing } from '../log/chain.ts'
import { type LogPages, logPages, type StreamReader } from '../log/stream-pages.ts'
import { makeDataFolder } from '../server/data-folder.ts'
import { readableArtifacts } from '../server/open-artifacts.ts'
import { readArtifactSettings, readStorePlace } from '../server/read-settings.ts'
import type { ReadableLog } from '../store/embedded/existing-log.ts'
import type { EventStore, StoreFailure } from '../store/event-store.ts'
import { isConnectionString } from '../store/eventstoredb/connection-string.ts'
import { io } from './terminal/io.ts'
import { say } from './terminal/print.ts'
import type { Steps } from './terminal/steps.ts'

/** A log that is only read. A server may be using it. */
type ReadLog = {
  readonly reader: StreamReader
  pages(): LogPages
  readonly artifacts: ArtifactSource
  close(): Promise<void>
}

/** The data folder: the given one, that of RETRAI_DATA_DIR, or the default for the working folder. */
export function dataDirOf(dataDir: string | undefined): Result<string, string> {
  const place = readStorePlace(dataDir === undefined ? {} : { dataDir }, io().env)
  return place.map(({ RETRAI_DATA_DIR }) => RETRAI_DATA_DIR)
}

export const keyringOf = (dataDir: string): ResultAsync<Keyring, string> =>
  makeDataFolder(dataDir).andThen(() =>
    openKeyring(join(dataDir, 'keys'), () => new Date()).mapErr(({ message }) => message),
  )

/** Signs entries of ledgers with the key of a data folder, which is made when something is signed. */
export const signingOf =
  (dataDir: string): Signing =>
  () =>
    keyringOf(dataDir)
      .mapErr((message): StoreFailure => ({ type: 'store_failed', message }))
      .andThen((keyring) => signingWith(keyring)())

/** Opens a log for reading, and makes nothing in it. @param place a data folder, or esdb://… */
export async function* openForReading(place: string): Steps<ReadLog> {
  const dataDir = isConnectionString(place) ? null : resolve(place)
  const reader = yield* await (dataDir === null ? openEventStoreDb(place) : openLogFile(dataDir))
  const artifacts = artifactsAround({ dataDir, reader })
  if (artifacts.isErr()) await reader.close()
  const pages = () => ('pages' in reader ? reader.pages() : logPages(reader))
  return { reader, pages, artifacts: yield* artifacts, close: () => reader.close() }
}

async function openLogFile(dataDir: string): Promise<Result<ReadableLog, string>> {
  const { openReadableLog } = await import('../store/embedded/existing-log.ts')
  const log = await openReadableLog(join(dataDir, 'log.sqlite'))
  return log.mapErr(({ message }) => message)
}

/** The artifacts of a log, as a server with the same variables would find them. */
export const artifactsAround = (
  log: Parameters<typeof readableArtifacts>[1],
): Result<ArtifactSource, string> =>
  readArtifactSettings(io().env).andThen((settings) => readableArtifacts(settings, log))

/** Opens the store of a data folder that no server uses, or an EventStoreDB. @param place a folder, or esdb://… */
export async function openStore(place: string): Promise<Result<EventStore, string>> {
  return isConnectionString(place) ? openEventStoreDb(place) : openDataFolderStore(place)
}

/** Opens the log of a data folder, and makes one in a new folder. */
export async function openDataFolderStore(place: string): Promise<Result<EventStore, string>> {
  const { openEmbeddedStore } = await import('../store/embedded/embedded-store.ts')
  const folder = resolve(place)
  return makeDataFolder(folder).andThen(() =>
    openEmbeddedStore({ file: join(folder, 'log.sqlite') }).mapErr(({ message }) => message),
  )
}

/** Connects to an EventStoreDB, and waits until it answers. */
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
