import { mkdir, open, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

/**
 * Runs whose import has begun and not ended, as empty files named by their ids. A run that is imported in part looks like
 * one that an agent must continue; the file keeps a server from continuing it.
 */
export const IMPORTS_FOLDER = 'imports'

/** @param dir the folder of the markers */
export async function beginImport(dir: string, runId: string): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const marker = await open(join(dir, runId), 'w', 0o600)
  await marker.sync()
  await marker.close()
  const folder = await open(dir, 'r')
  await folder.sync()
  await folder.close()
}

export async function endImport(dir: string, runId: string): Promise<void> {
  await rm(join(dir, runId), { force: true })
}

/** Ids of runs whose import was interrupted. */
export async function pendingImports(dir: string): Promise<ReadonlySet<string>> {
  return new Set(await readdir(dir).catch(() => []))
}
