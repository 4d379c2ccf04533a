import { type Dirent, existsSync, lstatSync, readdirSync, realpathSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { isWithin } from '../../lib/is-within.ts'
import type { GitProblem } from '../answers.ts'
import { textOrNull } from './files.ts'

/** The most bytes of a file that holds a few names: HEAD, a gitfile, alternates. */
export const MAX_NAMES_BYTES = 64 * 1024

/** Why a repository is not read. It is thrown, and caught where git is run. */
export class GitRefusal extends Error {
  readonly problem: GitProblem

  constructor(problem: GitProblem) {
    super()
    this.problem = problem
  }
}

export type Repository = {
  /** The folder that holds `.git`. */
  readonly holder: string
  /** The folder that all of the repository is in. */
  readonly root: string
  /** Its HEAD and its index. */
  readonly gitDir: string
  /** Everything else: the same folder, if it is not a linked worktree. */
  readonly commonDir: string
}

/** Looks for `.git` in the project and in the folders above it, as git does. */
export function findRepository(project: string): Repository {
  for (let holder = project; ; holder = dirname(holder)) {
    const linked = linkedWorktree(holder)
    const gitDir = linked?.gitDir ?? gitDirIn(holder)
    const commonDir = linked?.commonDir ?? gitDir
    if (gitDir !== null && commonDir !== null) {
      const root = linked === null ? holder : commonDir
      if (isRepository(root, commonDir)) return { holder, root, gitDir, commonDir }
    }
    if (holder === dirname(holder)) throw new GitRefusal({ type: 'no_repository' })
  }
}

const lineOf = (path: string): string | null => {
  const text = textOrNull(path, MAX_NAMES_BYTES)?.replace(/\r?\n$/, '') ?? '\n'
  return /[\n\0]/.test(text) ? null : text
}

const realOrNull = (path: string): string | null => {
  try {
    return realpathSync(path)
  } catch {
    return null
  }
}

/** The repository of a linked worktree, which must name the worktree, too. In a container, nothing else is there. */
function linkedWorktree(holder: string): Pick<Repository, 'gitDir' | 'commonDir'> | null {
  const named = /^gitdir: (.+)$/.exec(lineOf(join(holder, '.git')) ?? '')?.[1]
  const gitDir = named === undefined ? null : realOrNull(resolve(holder, named))
  if (gitDir === null) return null
  const worktrees = dirname(gitDir)
  const commonDir = dirname(worktrees)
  const names = (name: string) => realOrNull(resolve(gitDir, lineOf(join(gitDir, name)) ?? '.'))
  const isLinked =
    basename(worktrees) === 'worktrees' &&
    names('commondir') === commonDir &&
    names('gitdir') === join(holder, '.git')
  return isLinked ? { gitDir, commonDir } : null
}

/** Where `.git` of a folder leads, which must be inside that folder; null if there is no `.git`. */
function gitDirIn(holder: string): string | null {
  const path = join(holder, '.git')
  const stats = lstatSync(path, { throwIfNoEntry: false })
  if (stats === undefined) return null
  if (stats.isDirectory()) return path
  const named = stats.isSymbolicLink() ? '.git' : /^gitdir: (.+)$/.exec(lineOf(path) ?? '')?.[1]
  if (named === undefined) throw new GitRefusal({ type: 'no_repository' })
  const real = realOrNull(resolve(holder, named))
  if (real !== null && isWithin(holder, real)) return real
  throw new GitRefusal({ type: 'leads_outside', what: '.git' })
}

/** Whether a folder is a repository. A link in it must not lead out of the folder that holds it. */
function isRepository(root: string, folder: string): boolean {
  const names = new Set(entriesOf(folder, '.').map(({ name }) => name))
  if (names.has('commondir')) throw new GitRefusal({ type: 'not_linked' })
  if (!['HEAD', 'objects', 'refs'].every((name) => names.has(name))) return false
  const objects = entriesOf(folder, 'objects').map(({ name }) => join('objects', name))
  for (const inner of ['.', 'info', 'refs', 'objects', ...objects]) {
    for (const entry of entriesOf(folder, inner)) {
      if (!entry.isSymbolicLink()) continue
      const real = realOrNull(join(folder, inner, entry.name))
      const what = join('.git', inner, entry.name)
      if (real === null || !isWithin(root, real))
        throw new GitRefusal({ type: 'leads_outside', what })
    }
  }
  return true
}

/** What is in a folder of a repository; nothing if it cannot be read. */
export function entriesOf(gitDir: string, path: string): readonly Dirent[] {
  const folder = join(gitDir, path)
  try {
    return existsSync(folder) ? readdirSync(folder, { withFileTypes: true }) : []
  } catch {
    return []
  }
}

/** The other folders of objects that a repository names, and those that they name in turn. */
export function alternatesOf(root: string, objects: string, depth = 0): readonly string[] {
  const what = '.git/objects/info/alternates'
  const path = join(objects, 'info/alternates')
  if (!existsSync(path)) return []
  const lines = textOrNull(path, MAX_NAMES_BYTES)?.split('\n') ?? ['..']
  return lines.flatMap((line) => {
    if (line === '' || line.startsWith('#')) return []
    const real = realOrNull(resolve(objects, line))
    if (real === null || !isWithin(root, real) || depth >= 5) {
      throw new GitRefusal({ type: 'leads_outside', what })
    }
    return [real, ...alternatesOf(root, real, depth + 1)]
  })
}
