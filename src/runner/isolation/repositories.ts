import { closeSync, constants, fstatSync, lstatSync, openSync, readSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { throwIfShort } from '../../lib/shortage.ts'
import { isWithin, realPathOf, type Sandbox } from './sandbox.ts'

/** A repository of which the project is a part and which is not in the project. Commands read it and change nothing in it. */
export type Repository = {
  /** The folder that git finds it from: it holds `.git`. */
  readonly root: string
  /** The folders and files that it consists of, through no link. */
  readonly paths: readonly string[]
}

/** Where the parts of a linked worktree are, through no link. */
export type LinkedWorktree = {
  /** What belongs to this worktree: its HEAD and its index. */
  readonly gitDir: string
  /** What it shares with the other worktrees: history, branches, settings. */
  readonly commonDir: string
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
      return { root, paths: root === project ? [commonDir] : [commonDir, path] }
    }
    if (found !== undefined) {
      const isOther = root === project || holdsHome(root)
      return isOther || !found.isDirectory() || found.uid !== uid ? null : { root, paths: [path] }
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
export function linkedWorktree(root: string): LinkedWorktree | null {
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
