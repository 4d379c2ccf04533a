import { join, resolve } from 'node:path'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import type { ArtifactSource } from '../artifacts/artifacts.ts'
import { type Keyring, openKeyring, signingWith } from '../audit/proofs/keyring.ts'
import { isOwnStream } from '../audit/verify/own-streams.ts'
import type { Signing } from '../log/entry-seal.ts'
import { makeDataFolder } from '../server/data-folder.ts'
import { artifactsOfFolder, readableArtifacts } from '../server/open-artifacts.ts'
import { readArtifactSettings, readStorePlace } from '../server/read-settings.ts'
import type { ReadableLog } from '../store/embedded/existing-log.ts'
import type { EventStore, StoreFailure } from '../store/event-store.ts'
import { say } from './terminal/print.ts'

/** What an auditor reads of a data folder. A server may be using it. */
export type DataFolder = {
  readonly log: ReadableLog
  readonly artifacts: ArtifactSource
}

/** The data folder: the given one, that of RETRAI_DATA_DIR, or the default for the working folder. */
export function dataDirOf(dataDir: string | undefined): Result<string, string> {
  const place = readStorePlace(dataDir === undefined ? {} : { dataDir }, process.env)
  return place.map(({ RETRAI_DATA_DIR }) => RETRAI_DATA_DIR)
}

export async function keyringOf(dataDir: string): Promise<Result<Keyring, string>> {
  const made = await makeDataFolder(dataDir)
  if (made.isErr()) return err(made.error)
  const opened = await openKeyring(join(dataDir, 'keys'), () => new Date())
  return opened.mapErr(({ message }) => message)
}

/** Signs entries of ledgers with the key of a data folder, which is made when something is signed. */
export const signingOf =
  (dataDir: string): Signing =>
  () =>
    new ResultAsync(keyringOf(dataDir))
      .mapErr((message): StoreFailure => ({ type: 'store_failed', message }))
      .andThen((keyring) => signingWith(keyring)())

/** Opens the embedded log of a data folder for reading. Makes no keys in it. */
export async function openDataFolder(dataDir: string): Promise<Result<DataFolder, string>> {
  const { openReadableLog } = await import('../store/embedded/existing-log.ts')
  const log = await openReadableLog(join(dataDir, 'log.sqlite'))
  if (log.isErr()) return err(log.error.message)
  const artifacts = artifactsAround({ dataDir, reader: log.value })
  if (artifacts.isErr()) await log.value.close()
  return artifacts.map((source) => ({ log: log.value, artifacts: source }))
}

export async function namesOfArtifacts(dataDir: string): Promise<readonly string[]> {
  const names: string[] = []
  for await (const { sha256 } of artifactsOfFolder(dataDir).files()) names.push(sha256)
  return names
}

/** What is in the file of a log and is not of a server, as sentences without their points. */
export async function foreignIn(dataDir: string): Promise<Result<readonly string[], string>> {
  const { foreignParts } = await import('../store/embedded/foreign-parts.ts')
  return foreignParts(join(dataDir, 'log.sqlite'), isOwnStream).mapErr(({ message }) => message)
}

/** The artifacts of a log, as a server with the same variables would find them. */
export const artifactsAround = (
  log: Parameters<typeof readableArtifacts>[1],
): Result<ArtifactSource, string> =>
  readArtifactSettings(process.env).andThen((settings) => readableArtifacts(settings, log))

export const isConnectionString = (place: string): boolean =>
  /^(?:esdb|kurrentdb)(\+discover)?:/.test(place)

/** Opens the store of a data folder that no server uses, or an EventStoreDB. @param place a folder, or esdb://… */
export async function openStore(place: string): Promise<Result<EventStore, string>> {
  return isConnectionString(place) ? openEventStoreDb(place) : openDataFolderStore(place)
}

/** Opens the log of a data folder, and makes it if there is none. */
export async function openDataFolderStore(place: string): Promise<Result<EventStore, string>> {
  const { openEmbeddedStore } = await import('../store/embedded/embedded-store.ts')
  const folder = resolve(place)
  const made = await makeDataFolder(folder)
  if (made.isErr()) return err(made.error)
  const store = await openEmbeddedStore({ file: join(folder, 'log.sqlite') })
  return store.mapErr(({ message }) => message)
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
