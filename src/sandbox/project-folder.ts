import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  realpathSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import type { ProjectFolder, RunConfig } from '../domain/run-config.ts'
import type { RunState } from '../domain/state.ts'
import { linkedWorktree } from '../lib/linked-worktree.ts'
import { messageOf, throwIfShort } from '../lib/message-of.ts'
import { isWithin } from '../lib/paths.ts'

/** Why a command cannot be isolated, such as that the run has put something else in the place of its project. The text is for people. */
export class SandboxError extends Error {}

/** An open folder: whatever is put in its place later, this is the one that is used. Disposed of, it is closed. */
type OpenedFolder = ProjectFolder &
  Disposable & {
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
  const close = () => closeSync(descriptor)
  const owner = { uid: Number(uid), gid: Number(gid) }
  if (why === null) return { ...found, ...owner, descriptor, [Symbol.dispose]: close }
  close()
  throw new SandboxError(why)
}

/** Which folder a path leads to now. Throws as `openFolder` does. */
export function folderAt(path: string, known: ProjectFolder | null = null): ProjectFolder {
  using opened = openFolder(path, known)
  return { path: opened.path, device: opened.device, inode: opened.inode }
}

/** Which folder the project of a run is. A run of an earlier version has not recorded that: it is the folder that is there. */
export function projectOf({ project, config: { cwd } }: OfProject): ProjectFolder {
  try {
    return project ?? folderAt(cwd)
  } catch {
    return { path: cwd, device: '', inode: '' } // No folder is this one.
  }
}

/** What a run says of its project. */
export type OfProject = Pick<RunState, 'project'> & { readonly config: Pick<RunConfig, 'cwd'> }

/** Why the project of a run cannot be used now, as a part of a sentence; null if it can. */
export function projectProblem(cwd: string, project: ProjectFolder): string | null {
  try {
    folderAt(cwd, project)
    return null
  } catch (cause) {
    return messageOf(cause)
  }
}

/** Where an open file or folder is. Without /proc (macOS) only its path can say that. */
export function pathOf(descriptor: number, path: string): string {
  if (process.platform !== 'linux') return realpathSync.native(path)
  return readlinkSync(`/proc/self/fd/${descriptor}`)
}

/** What a link names; null if it is not a link, or cannot be read. */
export function linkOf(path: string): string | null {
  try {
    return readlinkSync(path)
  } catch {
    return null
  }
}

function differenceOf(known: ProjectFolder, found: ProjectFolder): string | null {
  if (found.path !== known.path) {
    return `${known.path} is not the folder of this run any more: it leads to ${found.path}`
  }
  if (found.inode === known.inode) return null
  return `${known.path} is not the folder of this run any more: another folder is there (inode ${found.inode}, not ${known.inode})`
}

/** A repository of which the project is a part and which is not in the project. Commands read it and change nothing in it. */
export type Repository = {
  /** The folder that git finds it from: it holds `.git`. */
  readonly root: string
  /** The folders and files that git needs of it, through no link. */
  readonly paths: readonly string[]
  /**
   * All of its root that is shown to the commands of a project below it, so that a package of several finds what it shares
   * with the others: the whole root; `parts` is the same, one by one, without `secrets`. Null if nothing more is shown.
   */
  readonly around: { readonly parts: readonly string[]; readonly secrets: readonly string[] } | null
}

/** Files with secrets, such as `.env`, are not shown of the folders from the root down to the project. */
const SECRET = /^\.env(\.|$)/

/** @returns null if the project is the root, or if a folder of the server is in it */
function aroundProject(
  root: string,
  project: string,
  hidden: readonly string[],
): Repository['around'] {
  if (root === project || hidden.some((ours) => isWithin(root, ours))) return null
  const parts: string[] = []
  const secrets: string[] = []
  try {
    for (let below = project; below !== root; below = dirname(below)) {
      for (const entry of readdirSync(dirname(below), { withFileTypes: true })) {
        const path = join(dirname(below), entry.name)
        const isSecret = SECRET.test(entry.name) && !entry.isDirectory()
        // What a link leads to is shown if it is a part, too.
        if (path !== below && !entry.isSymbolicLink()) (isSecret ? secrets : parts).push(path)
      }
    }
  } catch (cause) {
    throwIfShort(cause)
    return null // what may not be listed may hold secrets
  }
  return { parts, secrets }
}

/**
 * The `.git` of the repository in which the project is a subfolder, or the repository whose linked worktree the project is
 * or is in; null if the project has its own or there is none. Null, too, if the home of the server's user is in that
 * repository, because it holds settings and their history; if a folder of the server is in it; if the repository has another
 * owner, because git would refuse it; and if `.git` leads elsewhere in any other way.
 * @param project its path, through no link
 */
export function repositoryAround(
  project: string,
  { userHome, hidden }: { readonly userHome: string; readonly hidden: readonly string[] },
): Repository | null {
  const { uid } = lstatSync(project)
  const holdsHome = (folder: string): boolean => userHome !== '' && isWithin(folder, userHome)
  for (let root = project; ; root = dirname(root)) {
    const path = join(root, '.git')
    const found = lstatSync(path, { throwIfNoEntry: false })
    if (found !== undefined) {
      if (found.uid !== uid || holdsHome(root)) return null
      const ownDir = found.isDirectory() && root !== project ? path : undefined
      const commonDir = found.isFile() ? linkedWorktree(root, uid)?.commonDir : ownDir
      if (commonDir === undefined || isWithin(project, commonDir)) return null
      const isHidden = hidden.some((ours) => isWithin(commonDir, ours) || isWithin(ours, commonDir))
      if (isHidden || holdsHome(dirname(commonDir))) return null
      const paths = root === project ? [commonDir] : [...new Set([commonDir, path])]
      return { root, paths, around: aroundProject(root, project, hidden) }
    }
    if (root === dirname(root)) return null
  }
}
