import type { Stats } from 'node:fs'
import { constants, type FileHandle, lstat, open, realpath } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve, sep } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import { z } from 'zod'

/** Why a path of the project cannot be used. */
export type PathProblem =
  | { readonly type: 'outside_project' }
  | { readonly type: 'dangling_link'; readonly link: string }
  | { readonly type: 'not_found' }
  | { readonly type: 'is_folder' }
  | { readonly type: 'not_a_folder' }
  | { readonly type: 'not_a_file' }
  | { readonly type: 'no_access' }
  /** The path was exchanged while it was used. */
  | { readonly type: 'changed_meanwhile' }
  | { readonly type: 'unusable'; readonly message: string }

/** A sentence for the model. */
export function describeProblem(path: string, problem: PathProblem): string {
  const name = JSON.stringify(path)
  switch (problem.type) {
    case 'outside_project':
      return `${name} is outside the project. Paths must stay inside it, symbolic links too.`
    case 'dangling_link':
      return `${name} leads through ${problem.link}, a symbolic link to nothing.`
    case 'not_found':
      return `${name} does not exist.`
    case 'is_folder':
      return `${name} is a folder, not a file.`
    case 'not_a_folder':
      return `${name} is not a folder, or leads through something that is none.`
    case 'not_a_file':
      return `${name} is not a regular file.`
    case 'no_access':
      return `${name}: permission denied.`
    case 'changed_meanwhile':
      return `${name} was exchanged while it was used. Nothing was done.`
    case 'unusable':
      return `${name} cannot be used: ${problem.message}`
  }
}

/** The schema of a path argument. */
export const projectPath = z
  .string()
  .min(1)
  .refine((path) => !path.includes('\0'), 'has a NUL character in it')

/** What an error of the file system means for a path. */
export function problemOf(cause: unknown): PathProblem {
  const message = cause instanceof Error ? cause.message : String(cause)
  switch (codeOf(cause)) {
    case 'ENOENT':
      return { type: 'not_found' }
    case 'ENOTDIR':
      return { type: 'not_a_folder' }
    case 'EISDIR':
      return { type: 'is_folder' }
    case 'EACCES':
    case 'EPERM':
      return { type: 'no_access' }
    case 'ENXIO':
      return { type: 'not_a_file' }
    default:
      return { type: 'unusable', message }
  }
}

export function codeOf(cause: unknown): string | null {
  return cause instanceof Error && 'code' in cause ? String(cause.code) : null
}

/** A path proven to be inside the project, free of symbolic links. What it names may not exist. */
export type ConfinedPath = {
  /** The project's folder, free of symbolic links. */
  readonly root: string
  readonly real: string
  /** As it is told to people: relative to the project. */
  readonly shown: string
}

/**
 * Resolves a path of the project: relative to it or absolute, through symbolic links. Of a path that
 * does not exist, the deepest folder that does is resolved; a link to nothing is refused, wherever it
 * points, because to write through it would make its target.
 */
export async function confine(
  cwd: string,
  path: string,
): Promise<Result<ConfinedPath, PathProblem>> {
  try {
    const root = await realpath(cwd)
    const wanted = resolve(cwd, path)
    const resolved = await resolveExisting(wanted)
    if (resolved.isErr()) return err(resolved.error)
    const { existing, rest } = resolved.value
    const real = join(existing, ...rest)
    if (!isInside(root, real)) return err({ type: 'outside_project' })
    return ok({ root, real, shown: relative(root, real) || '.' })
  } catch (cause) {
    return err(problemOf(cause))
  }
}

const isInside = (root: string, path: string): boolean =>
  !`${relative(root, path)}${sep}`.startsWith(`..${sep}`)

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

/** Whether an open file is what its confined path names now, through no link of any kind. */
export async function isStill(file: FileHandle, real: string): Promise<boolean> {
  try {
    const [opened, found, resolved] = await Promise.all([file.stat(), lstat(real), realpath(real)])
    return resolved === real && found.ino === opened.ino && found.dev === opened.dev
  } catch {
    return false
  }
}

export type OpenedFile = { readonly file: FileHandle; readonly stats: Stats }

/** Opens a regular file for reading. What was put in its place meanwhile is not read. */
export async function openForReading({
  real,
}: ConfinedPath): Promise<Result<OpenedFile, PathProblem>> {
  // Without O_NONBLOCK, to open a pipe would wait for a writer.
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
  let file: FileHandle
  try {
    file = await open(real, flags)
  } catch (cause) {
    return err(codeOf(cause) === 'ELOOP' ? { type: 'changed_meanwhile' } : problemOf(cause))
  }
  const stats = await file.stat()
  const problem: PathProblem | null = stats.isDirectory()
    ? { type: 'is_folder' }
    : !stats.isFile()
      ? { type: 'not_a_file' }
      : (await isStill(file, real))
        ? null
        : { type: 'changed_meanwhile' }
  if (problem === null) return ok({ file, stats })
  await file.close()
  return err(problem)
}
