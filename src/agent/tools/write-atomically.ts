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
import { basename, dirname, join, relative, sep } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import {
  type ConfinedPath,
  isAt,
  isInside,
  type OpenedPath,
  openFolder,
  openFolderIn,
  pathIn,
} from './confine.ts'
import { codeOf, type PathProblem, problemOf } from './path-problem.ts'

/**
 * Writes a file so that a reader sees either the old content or the new: it writes a new file beside it and renames
 * that. Makes parent folders; keeps the mode of an existing file.
 */
export async function writeAtomically(
  confined: ConfinedPath,
  content: string,
): Promise<Result<'created' | 'replaced', PathProblem>> {
  try {
    const folder = await makeFolder(confined.root, dirname(confined.real))
    if (folder.isErr()) return err(folder.error)
    try {
      return await writeIn(folder.value, basename(confined.real), content)
    } finally {
      await folder.value.file.close()
    }
  } catch (cause) {
    return err(problemOf(cause))
  }
}

/**
 * Opens a folder of the project and makes it if it is missing: each part in the open folder above it, through no link.
 */
async function makeFolder(root: string, real: string): Promise<Result<OpenedPath, PathProblem>> {
  // This is the parent of the project: the path was the project itself.
  if (!isInside(root, real)) return err({ type: 'is_folder' })
  let opened = await openFolder({ root, real: root, shown: '.' })
  for (const name of relative(root, real).split(sep).filter(Boolean)) {
    if (opened.isErr()) return opened
    const above = opened.value
    try {
      opened = await openOrMake(above, name)
    } finally {
      await above.file.close()
    }
  }
  return opened
}

async function openOrMake(
  above: OpenedPath,
  name: string,
): Promise<Result<OpenedPath, PathProblem>> {
  const opened = await openFolderIn(above, name)
  if (opened.isOk() || opened.error.type !== 'not_found') return opened
  await mkdir(pathIn(above, name)).catch((cause) => {
    if (codeOf(cause) !== 'EEXIST') throw cause
  })
  return openFolderIn(above, name)
}

async function writeIn(
  folder: OpenedPath,
  name: string,
  content: string,
): Promise<Result<'created' | 'replaced', PathProblem>> {
  const target = pathIn(folder, name)
  const present = await statsOf(target)
  const problem = await replaceProblem(target, present)
  if (problem !== null) return err(problem)
  const temporary = `.retrai-${randomUUID()}.tmp`
  const file = await open(pathIn(folder, temporary), 'wx')
  try {
    if (!(await isAt(file, join(folder.real, temporary)))) {
      await rm(pathIn(folder, temporary), { force: true })
      return err({ type: 'changed_meanwhile' })
    }
    await fill(file, content, present)
    await rename(pathIn(folder, temporary), target)
    return ok(present === null ? 'created' : 'replaced')
  } catch (cause) {
    await rm(pathIn(folder, temporary), { force: true })
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

async function replaceProblem(path: string, present: Stats | null): Promise<PathProblem | null> {
  if (present === null) return null
  if (present.isDirectory()) return { type: 'is_folder' }
  if (present.isSymbolicLink()) return { type: 'changed_meanwhile' }
  if (!present.isFile()) return { type: 'not_a_file' }
  // A rename needs write access only to the folder, but a read-only file must not be replaced.
  await access(path, constants.W_OK)
  return null
}
