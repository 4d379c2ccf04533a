import type { Stats } from 'node:fs'
import { constants, type FileHandle, lstat, open, realpath } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve, sep } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import { z } from 'zod'
import { codeOf, type PathProblem, problemOf } from './path-problem.ts'

/** The schema of a path argument. */
export const projectPath = z
  .string()
  .min(1)
  .refine((path) => !path.includes('\0'), 'has a NUL character in it')

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
