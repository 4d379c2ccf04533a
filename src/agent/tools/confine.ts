import { existsSync, type Stats } from 'node:fs'
import { constants, type FileHandle, lstat, open, readlink, realpath } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve, sep } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import { NulFree } from '../../domain/fields.ts'
import { present } from '../../domain/present.ts'
import type { ProjectFolder } from '../../domain/project-folder.ts'
import { codeOf } from '../../lib/message-of.ts'
import { folderAt } from '../../runner/isolation/project-folder.ts'
import { type PathProblem, problemOf } from './path-problem.ts'

/** The schema of a path argument. */
export const projectPath = NulFree.min(1)

/** Where a path is resolved. */
export type Project = {
  /** The project's folder. */
  readonly cwd: string
  /** Which folder that is; left out if it is not known. */
  readonly folder?: ProjectFolder
  /** The server's data folder, which no path may reach; null if there is none to protect. */
  readonly dataDir: string | null
}

/** A path proven to be inside the project, without symbolic links. It may name something that does not exist. */
export type ConfinedPath = {
  /** The project's folder, without symbolic links. */
  readonly root: string
  readonly real: string
  /** For people: relative to the project. */
  readonly shown: string
}

/**
 * Resolves a path of the project, relative to it or absolute, through symbolic links. For a path that does not exist,
 * the deepest existing folder is resolved. A link to nothing is refused wherever it points, because writing through it
 * would create its target.
 */
export async function confine(
  { cwd, dataDir, folder }: Project,
  path: string,
): Promise<Result<ConfinedPath, PathProblem>> {
  try {
    const root = folder === undefined ? await realpath(cwd) : folderAt(cwd, folder).path
    const wanted = resolve(cwd, path)
    const resolved = await resolveExisting(wanted)
    if (resolved.isErr()) return err(resolved.error)
    const { existing, rest } = resolved.value
    const real = join(existing, ...rest)
    if (!isInside(root, real)) return err({ type: 'outside_project' })
    if (dataDir !== null && isInside(await realOf(dataDir), real)) {
      return err({ type: 'data_folder' })
    }
    return ok({ root, real, shown: relative(root, real) || '.' })
  } catch (cause) {
    return err(problemOf(cause))
  }
}

/** What this server reads of a project, in lower case: some file systems do not distinguish it. */
const SETTINGS = '.retrai.yml'

/** Like `confine`, for a file that is to be written: refuses what git or this server obeys. */
export async function confineForWriting(
  project: Project,
  path: string,
): Promise<Result<ConfinedPath, PathProblem>> {
  return (await confine(project, path)).andThen(unguarded)
}

function unguarded(path: ConfinedPath): Result<ConfinedPath, PathProblem> {
  const parts = path.shown.toLowerCase().split(sep)
  const isGuarded = parts.includes('.git') || parts[0] === SETTINGS
  return isGuarded ? err({ type: 'guarded' }) : ok(path)
}

/** Like `confineForWriting`, for a name in a folder: a link is not followed, because the link itself is meant. */
export async function confineEntry(
  { cwd, dataDir, folder }: Project,
  path: string,
): Promise<Result<ConfinedPath, PathProblem>> {
  const wanted = resolve(cwd, path)
  if (wanted === resolve(cwd)) return err({ type: 'is_folder' })
  const above = await confine({ cwd, dataDir, ...present({ folder }) }, dirname(wanted))
  if (above.isErr()) return err(above.error)
  const { root } = above.value
  const real = join(above.value.real, basename(wanted))
  if (dataDir !== null) {
    const data = await realOf(dataDir)
    if (isInside(data, real) || isInside(real, data)) return err({ type: 'data_folder' })
  }
  return unguarded({ root, real, shown: relative(root, real) })
}

/** Whether a path is this folder or below it. Both must be without symbolic links. */
export const isInside = (folder: string, path: string): boolean =>
  !`${relative(folder, path)}${sep}`.startsWith(`..${sep}`)

/** A path without symbolic links; the path itself if it does not exist. */
export const realOf = (path: string): Promise<string> => realpath(path).catch(() => resolve(path))

type Resolved = { readonly existing: string; readonly rest: readonly string[] }

async function resolveExisting(wanted: string): Promise<Result<Resolved, PathProblem>> {
  const rest: string[] = []
  for (let probe = wanted; ; probe = dirname(probe)) {
    try {
      return ok({ existing: await realpath(probe), rest })
    } catch (cause) {
      if (codeOf(cause) !== 'ENOENT') return err(problemOf(cause))
    }
    if (await isLink(probe)) return err({ type: 'dangling_link', link: basename(probe) })
    rest.unshift(basename(probe))
  }
}

async function isLink(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).isSymbolicLink()
  } catch {
    return false
  }
}

/** On Linux, each open file has a path that leads to that file whatever happens to its name. */
const DESCRIPTORS = existsSync('/proc/self/fd') ? '/proc/self/fd' : null

/** The path of `name` in an open folder, or of the folder itself. It stays in it even if its name is swapped. */
export function pathIn({ file, real }: OpenedPath, name = '.'): string {
  return join(DESCRIPTORS === null ? real : join(DESCRIPTORS, String(file.fd)), name)
}

/**
 * The path by which a command reaches what this process holds open. An isolated command does not see this process, and its
 * project cannot be replaced.
 */
export function pathForCommands({ file, real }: OpenedPath, isolated: boolean): string {
  return isolated || DESCRIPTORS === null ? real : `/proc/${process.pid}/fd/${file.fd}`
}

/**
 * Whether an open file is at this path, reached through no link. It asks the open file where it is, because another
 * process may have put something else at the path. Without /proc (macOS) it can only look at the path, and then it
 * misses a link that is there only during the opening.
 */
export async function isAt(file: FileHandle, real: string): Promise<boolean> {
  try {
    if (DESCRIPTORS !== null) return (await readlink(join(DESCRIPTORS, String(file.fd)))) === real
    const [opened, found, resolved] = await Promise.all([file.stat(), lstat(real), realpath(real)])
    return resolved === real && found.ino === opened.ino && found.dev === opened.dev
  } catch {
    return false
  }
}

export type OpenedFile = { readonly file: FileHandle; readonly stats: Stats }
export type OpenedPath = { readonly file: FileHandle; readonly real: string }

/** Opens what `path` leads to, if that is at `real`. Without O_NONBLOCK, opening a pipe would wait for a writer. */
async function openAt(
  path: string,
  real: string,
  flags: number,
): Promise<Result<FileHandle, PathProblem>> {
  let file: FileHandle
  try {
    file = await open(path, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (cause) {
    return err((await isLink(path)) ? { type: 'changed_meanwhile' } : problemOf(cause))
  }
  if (await isAt(file, real)) return ok(file)
  await file.close()
  return err({ type: 'changed_meanwhile' })
}

/** Opens a regular file for reading. If another file was put in its place meanwhile, that is not read. */
export async function openForReading({
  real,
}: ConfinedPath): Promise<Result<OpenedFile, PathProblem>> {
  const opened = await openAt(real, real, constants.O_RDONLY)
  if (opened.isErr()) return err(opened.error)
  const file = opened.value
  const stats = await file.stat()
  if (stats.isFile()) return ok({ file, stats })
  await file.close()
  return err({ type: stats.isDirectory() ? 'is_folder' : 'not_a_file' })
}

const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY

/** Opens a folder, so that work in it through `pathIn` cannot be led elsewhere. */
export async function openFolder({ real }: ConfinedPath): Promise<Result<OpenedPath, PathProblem>> {
  const opened = await openAt(real, real, FOLDER)
  return opened.map((file) => ({ file, real }))
}

/** Opens a folder in an open folder. */
export async function openFolderIn(
  above: OpenedPath,
  name: string,
): Promise<Result<OpenedPath, PathProblem>> {
  const real = join(above.real, name)
  const opened = await openAt(pathIn(above, name), real, FOLDER)
  return opened.map((file) => ({ file, real }))
}

/** Like `openFolder`, for a command that reads everything below it: refuses a folder that contains the data folder. */
export async function openTree(
  confined: ConfinedPath,
  { dataDir }: Project,
): Promise<Result<OpenedPath, PathProblem>> {
  if (dataDir !== null && isInside(confined.real, await realOf(dataDir))) {
    return err({ type: 'data_folder' })
  }
  return openFolder(confined)
}

const CHUNK_BYTES = 64 * 1024

/** The content of an open file; null if that is more than `maxBytes`. */
export async function readAtMost(file: FileHandle, maxBytes: number): Promise<Buffer | null> {
  const chunks: Buffer[] = []
  for (let bytes = 0; ; ) {
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(CHUNK_BYTES), 0, CHUNK_BYTES)
    if (bytesRead === 0) return Buffer.concat(chunks)
    bytes += bytesRead
    if (bytes > maxBytes) return null
    chunks.push(buffer.subarray(0, bytesRead))
  }
}

/** The content of a regular file of the project, of at most `maxBytes`. */
export async function readConfined(
  project: Project,
  path: string,
  maxBytes: number,
): Promise<Result<Buffer, PathProblem>> {
  const confined = await confine(project, path)
  if (confined.isErr()) return err(confined.error)
  const opened = await openForReading(confined.value)
  if (opened.isErr()) return err(opened.error)
  const { file } = opened.value
  try {
    const content = await readAtMost(file, maxBytes)
    return content === null ? err({ type: 'too_large', maxBytes }) : ok(content)
  } catch (cause) {
    return err(problemOf(cause))
  } finally {
    await file.close()
  }
}
