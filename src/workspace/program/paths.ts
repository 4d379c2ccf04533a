import { existsSync, lstatSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, join, relative, resolve, sep } from 'node:path'
import { codeOf, messageOf } from '../../lib/message-of.ts'
import { isWithin, realPathOf } from '../../lib/paths.ts'
import type { PathProblem, Place } from '../protocol.ts'

/** Why a question is refused. The program throws it and whatever the file system throws, and catches both in one place. */
export class Refusal extends Error {
  readonly problem: PathProblem
  /** Which of several paths has the problem. */
  readonly path: string | undefined

  constructor(problem: PathProblem | PathProblem['type'], path?: string) {
    super()
    this.problem = typeof problem === 'string' ? ({ type: problem } as PathProblem) : problem
    this.path = path
  }
}

const PROBLEMS: Readonly<Record<string, PathProblem['type']>> = {
  ENOENT: 'not_found',
  ENOTDIR: 'not_a_folder',
  EISDIR: 'is_folder',
  ENOTEMPTY: 'not_empty',
  EACCES: 'no_access',
  EPERM: 'no_access',
  EROFS: 'no_access',
  EEXIST: 'exists',
  ENXIO: 'not_a_file',
}

/** What an error means for a path. */
export function problemOf(cause: unknown): PathProblem {
  if (cause instanceof Refusal) return cause.problem
  const type = PROBLEMS[codeOf(cause) ?? '']
  // Without the system call and its path.
  const message = messageOf(cause).replace(/, \w+ '.*$/s, '')
  return type === undefined ? { type: 'unusable', message } : ({ type } as PathProblem)
}

/** The project as its run names it, and where that is, through no link: the two names that it has in its container. */
const CWD = process.argv[2] ?? '.'
const NAMES = [...new Set([realPathOf(CWD), process.argv[3] ?? CWD])]

/** The project's folder, through no link. */
export const ROOT = NAMES.at(-1) ?? CWD

/** The folders from the root of its repository down to a folder; from the project, if it is in none. */
export function foldersDownTo(folder: string): readonly string[] {
  const folders = [folder]
  for (let at = folder; !existsSync(join(at, '.git')); at = dirname(at)) {
    if (at === dirname(at)) return folders.filter((one) => isWithin(ROOT, one))
    folders.unshift(dirname(at))
  }
  return folders
}

export const isLink = (path: string): boolean =>
  lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true

/** Where a path leads: of one that does not exist, the deepest folder that exists is resolved. */
function deepestPathOf(wanted: string): string {
  const rest: string[] = []
  for (let probe = wanted; ; probe = dirname(probe)) {
    try {
      return join(realpathSync(probe), ...rest)
    } catch (cause) {
      if (codeOf(cause) !== 'ENOENT') throw cause
    }
    // Writing through a link to nothing would create its target, wherever that is.
    if (isLink(probe)) throw new Refusal({ type: 'dangling_link', link: basename(probe) })
    rest.unshift(basename(probe))
  }
}

function placed(real: string): Pick<Place, 'real' | 'shown'> {
  const root = NAMES.find((name) => isWithin(name, real))
  if (root === undefined) throw new Refusal('outside_project')
  return { real, shown: relative(root, real) || '.' }
}

type Placed = Pick<Place, 'real' | 'shown'>

/**
 * A path of the project, relative to it or absolute, through links. The kernel keeps this program in the project's container,
 * so this check says what is wrong with a path, and keeps out of what the container shows beside the project.
 */
export const pathIn = (path: string): Placed => placed(deepestPathOf(resolve(CWD, path)))

/** Like `pathIn`, for a path that is to be written: refuses what git or this server obeys. */
export const pathToWrite = (path: string): Placed => unguarded(pathIn(path))

/** Like `pathToWrite`, for a name in a folder: a link is not followed, because the link itself is meant. */
export function entryIn(path: string): Placed {
  const wanted = resolve(CWD, path)
  if (NAMES.includes(wanted) || wanted === resolve(CWD)) throw new Refusal('is_folder')
  return unguarded(placed(join(pathIn(dirname(wanted)).real, basename(wanted))))
}

/** What this server reads of a project, in lower case: some file systems do not distinguish it. */
const SETTINGS = '.retrai.yml'

function unguarded(path: Placed): Placed {
  const parts = path.shown.toLowerCase().split(sep)
  if (parts.includes('.git') || parts[0] === SETTINGS) throw new Refusal('guarded')
  return path
}

export function kindOf(real: string): Place['kind'] {
  const found = statSync(real, { throwIfNoEntry: false })
  if (found === undefined) return 'nothing'
  return found.isFile() ? 'file' : found.isDirectory() ? 'folder' : 'other'
}
