import { randomUUID } from 'node:crypto'
import type { Stats } from 'node:fs'
import {
  access,
  constants,
  type FileHandle,
  lstat,
  mkdir,
  open,
  rename,
  rm,
} from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import { type ConfinedPath, isStill } from './confine.ts'
import { codeOf, type PathProblem, problemOf } from './path-problem.ts'

/** A folder that is held open, so that what is done in it cannot be led elsewhere. */
type Folder = {
  readonly real: string
  /** The path by which its files are reached. */
  readonly path: string
}

/**
 * Writes a file so that a reader sees the old content or the new, never a part: into a new file beside
 * it, which then takes its name. Makes parent folders; keeps the mode of a file that is there.
 */
export async function writeAtomically(
  { real }: ConfinedPath,
  content: string,
): Promise<Result<'created' | 'replaced', PathProblem>> {
  try {
    const folder = dirname(real)
    await mkdir(folder, { recursive: true })
    const handle = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY)
    try {
      if (!(await isStill(handle, folder))) return err({ type: 'changed_meanwhile' })
      // Linux has a path for an open folder; elsewhere a check of the new file has to do.
      const path = process.platform === 'linux' ? `/proc/self/fd/${handle.fd}` : folder
      return await writeIn({ real: folder, path }, basename(real), content)
    } finally {
      await handle.close()
    }
  } catch (cause) {
    return err(codeOf(cause) === 'EEXIST' ? { type: 'not_a_folder' } : problemOf(cause))
  }
}

async function writeIn(
  folder: Folder,
  name: string,
  content: string,
): Promise<Result<'created' | 'replaced', PathProblem>> {
  const target = join(folder.path, name)
  const present = await statsOf(target)
  const problem = await whyNotReplaceable(target, present)
  if (problem !== null) return err(problem)
  const temporary = `.retrai-${randomUUID()}.tmp`
  const file = await open(join(folder.path, temporary), 'wx')
  try {
    if (!(await isStill(file, join(folder.real, temporary)))) {
      await rm(join(folder.path, temporary), { force: true })
      return err({ type: 'changed_meanwhile' })
    }
    await fill(file, content, present)
    await rename(join(folder.path, temporary), target)
    return ok(present === null ? 'created' : 'replaced')
  } catch (cause) {
    await rm(join(folder.path, temporary), { force: true })
    throw cause
  } finally {
    await file.close()
  }
}

async function fill(file: FileHandle, content: string, present: Stats | null): Promise<void> {
  await file.writeFile(content)
  if (present !== null) await file.chmod(present.mode & 0o7777)
  await file.sync()
}

async function statsOf(path: string): Promise<Stats | null> {
  try {
    return await lstat(path)
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return null
    throw cause
  }
}

async function whyNotReplaceable(path: string, present: Stats | null): Promise<PathProblem | null> {
  if (present === null) return null
  if (present.isDirectory()) return { type: 'is_folder' }
  if (present.isSymbolicLink()) return { type: 'changed_meanwhile' }
  if (!present.isFile()) return { type: 'not_a_file' }
  // A rename asks only the folder, but a file that may not be written must stay as it is.
  await access(path, constants.W_OK)
  return null
}
