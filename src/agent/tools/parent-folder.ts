import type { Stats } from 'node:fs'
import { type FileHandle, mkdir, readdir, rmdir } from 'node:fs/promises'
import { basename, dirname, join, relative, sep } from 'node:path'
import { err, type Result } from 'neverthrow'
import { codeOf } from '../../lib/message-of.ts'
import {
  type ConfinedPath,
  isInside,
  type OpenedPath,
  openFolder,
  openFolderIn,
  pathIn,
} from './confine.ts'
import type { PathProblem } from './path-problem.ts'

export type Parent = {
  readonly folder: OpenedPath
  /** Folders that were made on the way, the outermost first. */
  readonly made: readonly string[]
}

/** Opens the folder of a path: each part in the open folder above it, through no link. */
export async function openParent(
  { root, real }: ConfinedPath,
  make = false,
): Promise<Result<Parent, PathProblem>> {
  const wanted = dirname(real)
  // This is the parent of the project, because the path was the project itself.
  if (!isInside(root, wanted)) return err({ type: 'is_folder' })
  const made: string[] = []
  let opened = await openFolder({ root, real: root, shown: '.' })
  for (const name of relative(root, wanted).split(sep).filter(Boolean)) {
    if (opened.isErr()) break
    const above = opened.value
    try {
      opened = await openFolderIn(above, name)
      if (make && opened.isErr() && opened.error.type === 'not_found') {
        if (await makeIn(above, name)) made.push(join(above.real, name))
        opened = await openFolderIn(above, name)
        if (opened.isOk()) await giveFolder(opened.value, above)
      }
    } finally {
      await above.file.close()
    }
  }
  if (opened.isErr()) await removeFolders(root, made)
  return opened.map((folder) => ({ folder, made }))
}

/** False if somebody else has made it. */
async function makeIn(above: OpenedPath, name: string): Promise<boolean> {
  try {
    await mkdir(pathIn(above, name))
    return true
  } catch (cause) {
    if (codeOf(cause) === 'EEXIST') return false
    throw cause
  }
}

/**
 * What a root server makes belongs to the owner of the project, who runs its commands.
 * @param owner whose it becomes
 */
export async function give(
  file: FileHandle,
  { uid, gid }: Pick<Stats, 'uid' | 'gid'>,
): Promise<void> {
  if (process.geteuid?.() === 0) await file.chown(uid, gid)
}

/** Somebody may have put another folder of root there: one that is empty can be given away. */
async function giveFolder(made: OpenedPath, above: OpenedPath): Promise<void> {
  const entries = await readdir(pathIn(made, '.'))
  if (entries.length === 0) await give(made.file, await above.file.stat())
}

/** Removes folders that were made for nothing, unless something is in them by now. */
export async function removeFolders(root: string, made: readonly string[]): Promise<void> {
  for (const real of made.toReversed()) {
    const parent = await openParent({ root, real, shown: real })
    if (parent.isErr()) continue
    const { folder } = parent.value
    await rmdir(pathIn(folder, basename(real))).catch(() => {})
    await folder.file.close()
  }
}
