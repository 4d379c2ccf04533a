import { mkdir, mkdtemp } from 'node:fs/promises'
import { join } from 'node:path'
import { removeFolder } from './remove-folder.ts'

/**
 * Calls `use` with a new folder below `above`, which only this user may enter, and removes it afterwards. If it cannot be removed,
 * the result still counts: a start of the server removes what is left below `above`.
 */
export async function withTemporaryFolder<T>(
  above: string,
  prefix: string,
  use: (folder: string) => Promise<T>,
): Promise<T> {
  await mkdir(above, { recursive: true, mode: 0o700 })
  const folder = await mkdtemp(join(above, prefix))
  try {
    return await use(folder)
  } finally {
    await removeFolder(folder).catch(() => undefined)
  }
}
