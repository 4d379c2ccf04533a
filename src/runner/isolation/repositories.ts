import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readSync,
} from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { throwIfShort } from '../../lib/shortage.ts'
import { isWithin, realPathOf, type Sandbox } from './sandbox.ts'

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

/** Where the parts of a linked worktree are, through no link. */
type LinkedWorktree = {
  /** What belongs to this worktree: its HEAD and its index. */
  readonly gitDir: string
  /** What it shares with the other worktrees: history, branches, settings. */
  readonly commonDir: string
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
  { userHome, hidden }: Pick<Sandbox, 'userHome' | 'hidden'>,
): Repository | null {
  const { uid } = lstatSync(project)
  const holdsHome = (folder: string): boolean => userHome !== '' && isWithin(folder, userHome)
  for (let root = project; ; root = dirname(root)) {
    const path = join(root, '.git')
    const found = lstatSync(path, { throwIfNoEntry: false })
    if (found?.isFile() === true) {
      const linked = found.uid === uid && !holdsHome(root) ? linkedWorktree(root) : null
      if (linked === null || isWithin(project, linked.commonDir)) return null
      const { commonDir } = linked
      const isHidden = hidden.some((ours) => isWithin(commonDir, ours) || isWithin(ours, commonDir))
      if (isHidden || holdsHome(dirname(commonDir))) return null
      const around = aroundProject(root, project, hidden)
      return { root, paths: root === project ? [commonDir] : [commonDir, path], around }
    }
    if (found !== undefined) {
      const isOther = root === project || holdsHome(root)
      if (isOther || !found.isDirectory() || found.uid !== uid) return null
      return { root, paths: [path], around: aroundProject(root, project, hidden) }
    }
    if (root === dirname(root)) return null
  }
}

/**
 * The repository of a linked worktree. An agent that can write the file `.git` of its project can name any repository in it.
 * So that repository must name the worktree, too, and every file and folder on the way must belong to the owner of `.git`.
 * @param root the folder of the worktree, through no link
 * @returns null if it is not one, or if the two do not name each other
 */
function linkedWorktree(root: string): LinkedWorktree | null {
  const file = join(root, '.git')
  const uid = lstatSync(file, { throwIfNoEntry: false })?.uid
  if (uid === undefined) return null
  const named = /^gitdir: (.+)$/.exec(lineOf(file, uid) ?? '')?.[1]
  if (named === undefined) return null
  const gitDir = realPathOf(resolve(root, named))
  const worktrees = dirname(gitDir)
  const commonDir = dirname(worktrees)
  const names = (name: string): string =>
    realPathOf(resolve(gitDir, lineOf(join(gitDir, name), uid) ?? '.'))
  const isLinked =
    basename(worktrees) === 'worktrees' &&
    [gitDir, worktrees, commonDir].every((path) => isFolderOf(path, uid)) &&
    names('commondir') === commonDir &&
    names('gitdir') === file
  return isLinked ? { gitDir, commonDir } : null
}

function isFolderOf(path: string, uid: number): boolean {
  const found = lstatSync(path, { throwIfNoEntry: false })
  return found?.isDirectory() === true && found.uid === uid
}

const MAX_LINE_BYTES = 4096

/** The only line of a regular file of a user; null if it has more, or is something else. */
function lineOf(path: string, uid: number): string | null {
  let descriptor: number
  try {
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
    descriptor = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  } catch (cause) {
    throwIfShort(cause)
    return null
  }
  try {
    const found = fstatSync(descriptor)
    if (!found.isFile() || found.uid !== uid || found.size > MAX_LINE_BYTES) return null
    const buffer = Buffer.alloc(MAX_LINE_BYTES)
    const text = buffer.toString('utf8', 0, readSync(descriptor, buffer)).replace(/\r?\n$/, '')
    return /[\n\0]/.test(text) ? null : text
  } finally {
    closeSync(descriptor)
  }
}
