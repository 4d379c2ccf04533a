import { chmodSync, lstatSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { pathBytes } from '../../lib/git-objects.ts'
import type { Answers, CopiedFile, Questions } from '../protocol.ts'
import { inFolder, namesOf, type OpenFolder } from './open-folder.ts'

/** Makes files what is given. A link or a file that is in the place of a folder above one of them is replaced, and not followed. */
export function put(
  { to, files }: Questions['put'],
  body: Buffer,
): { readonly answer: Answers['put'] } {
  let at = 0
  for (const file of files) {
    const end = at + (file.bytes ?? 0)
    putFile(to, file, file.bytes === null ? null : body.subarray(at, end))
    at = end
  }
  return { answer: {} }
}

function putFile(to: string, { path, mode }: CopiedFile, content: Buffer | null): void {
  const { above, last } = namesOf(path)
  const enter = (folder: OpenFolder, name: string) => folderIn(folder, name, content !== null)
  inFolder(pathBytes(to), above, enter, (folder) => replace(folder, last, mode, content))
}

/** The folder of this name; null if there is none and none is made. */
function folderIn(above: OpenFolder, name: string, isMade: boolean): OpenFolder | null {
  const stats = lstatSync(above.at(name), { throwIfNoEntry: false })
  if (stats?.isDirectory() !== true) {
    if (!isMade) return null
    rmSync(above.at(name), { force: true })
    mkdirSync(above.at(name), 0o755)
  } else if ((stats.mode & 0o700) !== 0o700) chmodSync(above.at(name), stats.mode | 0o700)
  return above.open(name)
}

function replace(
  folder: OpenFolder,
  name: string,
  mode: CopiedFile['mode'],
  content: Buffer | null,
): void {
  const path = folder.at(name)
  rmSync(path, { recursive: true, force: true })
  if (content === null) return
  if (mode === '120000') symlinkSync(content, path)
  else {
    writeFileSync(path, content, { flag: 'wx' })
    chmodSync(path, mode === '100755' ? 0o755 : 0o644)
  }
}
