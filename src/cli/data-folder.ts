import { join } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import { createArtifacts } from '../artifacts/artifacts.ts'
import { type Keyring, openKeyring } from '../audit/proofs/keyring.ts'
import { makeDataFolder } from '../server/data-folder.ts'
import { readStorePlace } from '../server/settings.ts'
import type { ReadableLog } from '../store/embedded/existing-log.ts'

/** What an auditor reads of a data folder; a server may be using it. */
export type DataFolder = {
  readonly log: ReadableLog
  readonly artifacts: ReturnType<typeof createArtifacts>
  readonly keyring: Keyring
}

/** The folder that is meant: as given, or by RETRAI_DATA_DIR, or the one for the working folder. */
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

/** Opens the embedded log of a data folder for reading. */
export async function openDataFolder(dataDir: string): Promise<Result<DataFolder, string>> {
  const { openReadableLog } = await import('../store/embedded/existing-log.ts')
  const log = await openReadableLog(join(dataDir, 'log.sqlite'))
  if (log.isErr()) return err(log.error.message)
  const keyring = await keyringOf(dataDir)
  if (keyring.isErr()) {
    await log.value.close()
    return err(keyring.error)
  }
  const artifacts = createArtifacts(join(dataDir, 'artifacts'))
  return ok({ log: log.value, artifacts, keyring: keyring.value })
}
