import { mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ResultAsync } from 'neverthrow'

/** Makes the folder, for this user alone, unless it is there. The error is a text for people that says what to do. */
export function makeDataFolder(folder: string): ResultAsync<void, string> {
  return ResultAsync.fromPromise(make(folder), (cause) => {
    const { code, message } = cause as NodeJS.ErrnoException
    const why = WHY[code ?? ''] ?? message
    return `The data folder ${folder} cannot be made: ${why}. Choose another one.`
  })
}

/**
 * Makes it and the folders above it. Not by `recursive`: with that, Node tries for ever where no folder
 * can be made, as in /proc, and does not tell of a disk that can only be read.
 */
async function make(folder: string): Promise<void> {
  const above = dirname(folder)
  try {
    await makeOne(folder)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT' || above === folder) throw cause
    await make(above)
    await makeOne(folder)
  }
}

async function makeOne(folder: string): Promise<void> {
  try {
    await mkdir(folder, { mode: 0o700 })
  } catch (cause) {
    const there = await stat(folder).catch(() => null)
    if (!there?.isDirectory()) throw cause
  }
}

const WHY: Readonly<Record<string, string>> = {
  ENOENT: 'folders cannot be made there',
  EEXIST: 'there is a file of that name',
  ENOTDIR: 'a part of its path is a file',
  EACCES: 'this user may not write there',
  EPERM: 'this user may not write there',
  EROFS: 'the disk can only be read',
  ENOSPC: 'the disk is full',
}
