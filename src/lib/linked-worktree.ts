import { closeSync, constants, fstatSync, lstatSync, openSync, readFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { throwIfShort } from './message-of.ts'
import { realPathOf } from './paths.ts'

/** A regular file that is no link; null if it is something else, or larger. Throws if the system is short of something. */
export function readFileAt(
  path: string,
  maxBytes: number,
): { readonly content: Buffer; readonly uid: number } | null {
  try {
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
    const descriptor = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
    try {
      const status = fstatSync(descriptor)
      const fits = status.isFile() && status.size <= maxBytes
      return fits ? { content: readFileSync(descriptor), uid: status.uid } : null
    } finally {
      closeSync(descriptor)
    }
  } catch (cause) {
    throwIfShort(cause)
    return null
  }
}

const MAX_LINE_BYTES = 4096

/** The only line of a regular file; null if it has more, or is something else, or does not belong to the user. */
export function lineOf(path: string, uid?: number): string | null {
  const found = readFileAt(path, MAX_LINE_BYTES)
  if (found === null || found.uid !== (uid ?? found.uid)) return null
  const text = found.content.toString().replace(/\r?\n$/, '')
  return /[\n\0]/.test(text) ? null : text
}

/** What the file `.git` in a folder names; null if it is not such a file. */
export const namedGitDir = (folder: string, uid?: number): string | null =>
  /^gitdir: (.+)$/.exec(lineOf(join(folder, '.git'), uid) ?? '')?.[1] ?? null

/** The folders of git of a linked worktree: its own, with HEAD and index, and what it shares: history, branches, settings. */
export type LinkedWorktree = { readonly gitDir: string; readonly commonDir: string }

/**
 * The repository of a linked worktree. An agent that can write the file `.git` of its project can name any repository in it.
 * So that repository must name the worktree, too.
 * @param root the folder of the worktree, through no link
 * @param uid to whom every file and folder on the way must belong; left out in a container, whose mounts may map ids
 * @returns null if it is not one, or if the two do not name each other
 */
export function linkedWorktree(root: string, uid?: number): LinkedWorktree | null {
  const named = namedGitDir(root, uid)
  if (named === null) return null
  const gitDir = realPathOf(resolve(root, named))
  const worktrees = dirname(gitDir)
  const commonDir = dirname(worktrees)
  const names = (name: string): string =>
    realPathOf(resolve(gitDir, lineOf(join(gitDir, name), uid) ?? '.'))
  const isLinked =
    basename(worktrees) === 'worktrees' &&
    [gitDir, worktrees, commonDir].every((path) => isFolderOf(path, uid)) &&
    names('commondir') === commonDir &&
    names('gitdir') === join(root, '.git')
  return isLinked ? { gitDir, commonDir } : null
}

function isFolderOf(path: string, uid: number | undefined): boolean {
  const found = lstatSync(path, { throwIfNoEntry: false })
  return found?.isDirectory() === true && found.uid === (uid ?? found.uid)
}
