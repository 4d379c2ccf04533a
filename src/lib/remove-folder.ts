import { constants, existsSync } from 'node:fs'
import { chmod, type FileHandle, open, readdir, rename, rm, rmdir, unlink } from 'node:fs/promises'
import { codeOf } from './message-of.ts'

/** Opens what a path names without rights to its content. */
const O_PATH = 0o10000000
const FOLDER = O_PATH | constants.O_NOFOLLOW | constants.O_DIRECTORY
/** Something that writes all the time does not keep the server here for ever. */
const WITHIN_MS = 5 * 60_000

let count = 0

/**
 * Removes a folder, or whatever else is there, with all that is in it. Something else may write in the folder meanwhile,
 * and put a link in the place of a folder: each folder is opened once, without following links, and all else is named from it.
 * Only the last name of `path` may be replaced, so the folder above must be one that nobody else writes.
 */
export async function removeFolder(path: string): Promise<void> {
  // Without /proc, no command is isolated, and each may remove all that the server may.
  if (!existsSync('/proc/self/fd')) return rm(path, { recursive: true, force: true })
  const top = await opened(path)
  if (top === null) return rm(path, { force: true })
  try {
    const late = performance.now() + WITHIN_MS
    while (performance.now() < late) {
      const folders = await withoutFiles(top)
      if (folders.length === 0) break
      for (const name of folders) await flatten(top, name)
    }
  } finally {
    await top.close()
  }
  await rmdir(path)
}

/** Removes a folder in `top` after its folders were moved to `top`: so no depth needs more than two descriptors. */
async function flatten(top: FileHandle, name: string): Promise<void> {
  const folder = await opened(at(top, name))
  if (folder === null) return
  try {
    for (const inner of await withoutFiles(folder)) {
      // The kernel moves only a folder that its owner may write.
      await (await opened(at(folder, inner)))?.close()
      count += 1
      await rename(at(folder, inner), at(top, `${process.pid}-${count}`)).catch(ifGone)
    }
  } finally {
    await folder.close()
  }
  await rmdir(at(top, name)).catch(ifGone)
}

/** Removes all that is in a folder but its folders, whose names are returned. */
async function withoutFiles(folder: FileHandle): Promise<string[]> {
  const names = await readdir(at(folder, '.'), 'latin1')
  const removed = await Promise.all(
    names.map((name) =>
      unlink(at(folder, name)).then(
        () => [],
        (cause) => (codeOf(cause) === 'EISDIR' ? [name] : ifGone(cause)),
      ),
    ),
  )
  return removed.flat()
}

/** A folder, which this process may change from now on, unless it has another owner; null for anything else. */
async function opened(path: string | Buffer): Promise<FileHandle | null> {
  try {
    const folder = await open(path, FOLDER)
    const { mode } = await folder.stat()
    if ((mode & 0o700) !== 0o700) await chmod(`/proc/self/fd/${folder.fd}`, 0o700).catch(() => {})
    return folder
  } catch (cause) {
    if (codeOf(cause) !== 'ENOENT' && codeOf(cause) !== 'ENOTDIR') throw cause
    return null
  }
}

/** @param name its bytes, each as one character: it need not be UTF-8 */
const at = (folder: FileHandle, name: string): Buffer =>
  Buffer.from(`/proc/self/fd/${folder.fd}/${name}`, 'latin1')

/** What somebody else has removed, or has replaced or filled since, is looked at again. */
function ifGone(cause: unknown): string[] {
  if (['ENOENT', 'ENOTDIR', 'ENOTEMPTY'].includes(String(codeOf(cause)))) return []
  throw cause
}
