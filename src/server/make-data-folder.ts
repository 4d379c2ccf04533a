import { mkdir } from 'node:fs/promises'
import { ResultAsync } from 'neverthrow'

/** Makes the folder unless it is there. The error is a text for people that says what to do. */
export function makeDataFolder(folder: string): ResultAsync<void, string> {
  return ResultAsync.fromPromise(mkdir(folder, { recursive: true }), (cause) => {
    const { code, message } = cause as NodeJS.ErrnoException
    const why = WHY[code ?? ''] ?? message
    return `The data folder ${folder} cannot be made: ${why}. Choose another one.`
  }).map(() => undefined)
}

const WHY: Readonly<Record<string, string>> = {
  EEXIST: 'there is a file of that name',
  ENOTDIR: 'a part of its path is a file',
  EACCES: 'this user may not write there',
  EPERM: 'this user may not write there',
  EROFS: 'the disk can only be read',
  ENOSPC: 'the disk is full',
}
