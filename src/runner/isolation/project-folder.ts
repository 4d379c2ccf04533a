import { closeSync, constants, fstatSync, openSync, readlinkSync, realpathSync } from 'node:fs'
import type { ProjectFolder } from '../../domain/project-folder.ts'
import { messageOf } from '../../lib/message-of.ts'
import { throwIfShort } from '../../lib/shortage.ts'

/** Why a command cannot be isolated, such as that the run has put something else in the place of its project. The text is for people. */
export class SandboxError extends Error {}

/** An open folder: whatever is put in its place later, this is the one that is used. */
export type OpenedFolder = ProjectFolder & {
  readonly descriptor: number
  readonly uid: number
  readonly gid: number
}

/**
 * Opens the folder of a project. Throws a `SandboxError` that says what was found if it is not the folder that is known: the
 * path leads through a link, or to another folder. The device is not compared, because it may have another number after
 * a restart, and nothing that a run does can put another file system there.
 * @param known the folder of the run; null where there is no run yet, so links are followed
 */
export function openFolder(path: string, known: ProjectFolder | null): OpenedFolder {
  const wanted = known?.path ?? path
  let descriptor: number
  try {
    descriptor = openSync(wanted, constants.O_RDONLY | constants.O_DIRECTORY)
  } catch (cause) {
    throwIfShort(cause)
    throw new SandboxError(`the project's folder cannot be opened: ${messageOf(cause)}`)
  }
  const { uid, gid, dev, ino } = fstatSync(descriptor, { bigint: true })
  const found = { path: pathOf(descriptor, wanted), device: `${dev}`, inode: `${ino}` }
  const why = known === null ? null : differenceOf(known, found)
  if (why === null) return { ...found, descriptor, uid: Number(uid), gid: Number(gid) }
  closeSync(descriptor)
  throw new SandboxError(why)
}

/** Which folder a path leads to now. Throws as `openFolder` does. */
export function folderAt(path: string, known: ProjectFolder | null = null): ProjectFolder {
  const { path: real, device, inode, descriptor } = openFolder(path, known)
  closeSync(descriptor)
  return { path: real, device, inode }
}

/** Where an open folder is. Without /proc (macOS) only its path can say that. */
function pathOf(descriptor: number, path: string): string {
  if (process.platform !== 'linux') return realpathSync.native(path)
  return readlinkSync(`/proc/self/fd/${descriptor}`)
}

function differenceOf(known: ProjectFolder, found: ProjectFolder): string | null {
  if (found.path !== known.path) {
    return `${known.path} is not the folder of this run any more: it leads to ${found.path}`
  }
  if (found.inode === known.inode) return null
  return `${known.path} is not the folder of this run any more: another folder is there (inode ${found.inode}, not ${known.inode})`
}
