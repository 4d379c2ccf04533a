import { randomUUID } from 'node:crypto'
import type { Stats } from 'node:fs'
import {
  access,
  constants,
  type FileHandle,
  lstat,
  mkdir,
  open,
  realpath,
  rename,
  rm,
} from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import { type ConfinedPath, codeOf, isStill, type PathProblem, problemOf } from './confine.ts'

/**
 * Writes a file so that a reader sees the old content or the new, never a part: into a new file beside
 * it, which then takes its name. Makes parent folders; keeps the mode of a file that is there.
 */
export async function writeAtomically(
  path: ConfinedPath,
  content: string,
): Promise<Result<'created' | 'replaced', PathProblem>> {
  try {
    const present = await statsOf(path.real)
    const problem = await whyNotReplaceable(path.real, present)
    if (problem !== null) return err(problem)
    const folder = dirname(path.real)
    await mkdir(folder, { recursive: true })
    if ((await realpath(folder)) !== folder) return err({ type: 'changed_meanwhile' })
    const written = await replace(path.real, content, present)
    return written.map(() => (present === null ? 'created' : 'replaced'))
  } catch (cause) {
    return err(codeOf(cause) === 'EEXIST' ? { type: 'not_a_folder' } : problemOf(cause))
  }
}

async function statsOf(real: string): Promise<Stats | null> {
  try {
    return await lstat(real)
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return null
    throw cause
  }
}

async function whyNotReplaceable(real: string, present: Stats | null): Promise<PathProblem | null> {
  if (present === null) return null
  if (present.isDirectory()) return { type: 'is_folder' }
  if (present.isSymbolicLink()) return { type: 'changed_meanwhile' }
  if (!present.isFile()) return { type: 'not_a_file' }
  // A rename asks only the folder, but a file that may not be written must stay as it is.
  await access(real, constants.W_OK)
  return null
}

async function replace(
  real: string,
  content: string,
  present: Stats | null,
): Promise<Result<void, PathProblem>> {
  const temporary = join(dirname(real), `.retrai-${randomUUID()}.tmp`)
  const file = await open(temporary, 'wx')
  try {
    // Its random name proves the folder: the rename fails where another folder has taken its place.
    const written = await write(file, temporary, content, present)
    if (written.isErr()) await rm(temporary, { force: true })
    else await rename(temporary, real)
    return written
  } catch (cause) {
    await rm(temporary, { force: true })
    throw cause
  }
}

async function write(
  file: FileHandle,
  temporary: string,
  content: string,
  present: Stats | null,
): Promise<Result<void, PathProblem>> {
  try {
    if (!(await isStill(file, temporary))) return err({ type: 'changed_meanwhile' })
    await file.writeFile(content)
    if (present !== null) await file.chmod(present.mode & 0o7777)
    await file.sync()
    return ok()
  } finally {
    await file.close()
  }
}
