import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { openEmbeddedStore } from '../../../src/store/embedded/embedded-store.ts'
import type { EventStore, StoreFailure } from '../../../src/store/event-store.ts'

const temporaryFolder = (): Promise<string> => mkdtemp(join(tmpdir(), 'embedded-store-'))

/** A folder that goes with the test. */
export async function testFolder(): Promise<string> {
  const folder = await temporaryFolder()
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

export async function openTemporaryStore(): Promise<{
  store: EventStore
  close(): Promise<void>
}> {
  const folder = await temporaryFolder()
  const store = await openStore(join(folder, 'log.db'))
  const close = async (): Promise<void> => {
    await store.close()
    await rm(folder, { recursive: true, force: true })
  }
  return { store, close }
}

export async function openStore(file: string): Promise<EventStore> {
  const opened = await openEmbeddedStore({ file })
  if (opened.isErr()) throw new Error(opened.error.message)
  return opened.value
}

/** Opens a file that must be refused. */
export async function refusal(file: string): Promise<StoreFailure> {
  const opened = await openEmbeddedStore({ file })
  if (opened.isErr()) return opened.error
  await opened.value.close()
  throw new Error(`${file} was opened`)
}
