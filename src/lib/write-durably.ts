import { randomUUID } from 'node:crypto'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'

/**
 * Writes a file for this user alone, which then is on the disk. A reader finds the old content or the new one, never a part.
 * Rejects if that is not possible.
 */
export async function writeDurably(path: string, content: string | Buffer): Promise<void> {
  const folder = dirname(path)
  const created = await mkdir(folder, { recursive: true, mode: 0o700 })
  const temporary = join(folder, `.${randomUUID()}.tmp`)
  try {
    {
      await using file = await open(temporary, 'wx', 0o600)
      await file.writeFile(content)
      await file.sync()
    }
    await rename(temporary, path)
  } catch (cause) {
    await rm(temporary, { force: true })
    throw cause
  }
  await syncFolder(folder)
  if (created !== undefined) await syncFolder(dirname(folder))
}

/** The folder holds the name of the file, so the folder must reach the disk too. */
export async function syncFolder(folder: string): Promise<void> {
  await using handle = await open(folder, 'r')
  await handle.sync()
}
