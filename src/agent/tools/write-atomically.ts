import { randomUUID } from 'node:crypto'
import type { Stats } from 'node:fs'
import { access, constants, type FileHandle, link, lstat, open, rename, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import { codeOf } from '../../lib/message-of.ts'
import { type ConfinedPath, isAt, type OpenedPath, pathIn } from './confine.ts'
import { give, openParent, type Parent, removeFolders } from './parent-folder.ts'
import { type PathProblem, problemOf } from './path-problem.ts'

/** What is to be at a path: this content, or nothing. */
export type FileChange = {
  readonly path: ConfinedPath
  readonly content: string | null
  /** The file that was read for this change, which must not have changed since; null if there was none. */
  readonly before?: Before
  /** The mode of a new file. A file that exists keeps its mode. */
  readonly mode?: number
}

type Before = { readonly stats: Pick<Stats, 'size' | 'mtimeMs'> } | null

export type Change = 'created' | 'replaced' | 'deleted'
type ChangeProblem = { readonly path: ConfinedPath; readonly problem: PathProblem }

/** Writes a file so that readers see its old or new content. Makes parent folders; keeps an existing file's mode. */
export async function writeAtomically(
  path: ConfinedPath,
  content: string,
  { before }: Pick<FileChange, 'before'> = {},
): Promise<Result<Change, PathProblem>> {
  const changed = await changeFiles([{ path, content, ...(before !== undefined && { before }) }])
  return changed.map(([change = 'replaced']) => change).mapErr(({ problem }) => problem)
}

/**
 * Changes all of these files, or none: new content is written beside each file before the first gets its name, and what
 * was changed is put back if one of them fails. Only a crash in between leaves some files changed and others unchanged.
 */
export async function changeFiles(
  changes: readonly FileChange[],
): Promise<Result<readonly Change[], ChangeProblem>> {
  const staged: StagedChange[] = []
  let isDone = false
  for (const change of changes) {
    const prepared = await StagedChange.prepare(change, changes.length > 1).catch((cause) =>
      err(problemOf(cause)),
    )
    if (prepared.isOk()) {
      staged.push(prepared.value)
      continue
    }
    await Promise.all(staged.map((one) => one.close()))
    for (const one of staged.toReversed()) await one.removeFolders()
    return err({ path: change.path, problem: prepared.error })
  }
  try {
    for (const one of staged) {
      const committed = await one.commit().catch(problemOf)
      if (committed !== null) return err({ path: one.path, problem: committed })
    }
    isDone = true
    return ok(staged.map(({ change }) => change))
  } finally {
    for (const one of staged.toReversed()) if (!isDone) await one.undo()
    await Promise.all(staged.map((one) => one.close()))
    for (const one of staged.toReversed()) if (!isDone) await one.removeFolders()
  }
}

/** A change that is ready to be made: everything is checked, and new content is on the disk. */
class StagedChange {
  readonly path: ConfinedPath
  readonly change: Change
  readonly #parent: Parent
  /** The new file; null if the file is deleted. */
  readonly #fresh: string | null
  /** Where the old file is kept until all is done; null if there was no old file, or no need to keep it. */
  readonly #kept: string | null
  readonly #before: Before | undefined
  #isCommitted = false

  private constructor(
    { path, before }: FileChange,
    parent: Parent,
    to: { readonly change: Change; readonly fresh: string | null; readonly kept: string | null },
  ) {
    this.path = path
    this.#parent = parent
    this.change = to.change
    this.#fresh = to.fresh
    this.#kept = to.kept
    this.#before = before
  }

  static async prepare(
    wanted: FileChange,
    isOneOfMany: boolean,
  ): Promise<Result<StagedChange, PathProblem>> {
    const { path, content, mode } = wanted
    const opened = await openParent(path, content !== null)
    if (opened.isErr()) return err(opened.error)
    const parent = opened.value
    const { folder } = parent
    let staged: StagedChange | null = null
    try {
      const target = pathIn(folder, basename(path.real))
      const present = await statsOf(target)
      const problem =
        present === null && content === null
          ? ({ type: 'not_found' } as const)
          : await replaceProblem(target, present)
      if (problem !== null) return err(problem)
      const fresh = content === null ? null : temporaryIn(folder)
      if (fresh !== null && content !== null) {
        const isThere = await write(folder, fresh, content, present ?? { mode })
        if (!isThere) return err({ type: 'changed_meanwhile' })
      }
      const isKept = content === null || (isOneOfMany && present !== null)
      const change = content === null ? 'deleted' : present === null ? 'created' : 'replaced'
      const kept = isKept ? temporaryIn(folder) : null
      staged = new StagedChange(wanted, parent, { change, fresh, kept })
      return ok(staged)
    } finally {
      if (staged === null) {
        await folder.file.close()
        await removeFolders(path.root, parent.made)
      }
    }
  }

  get #target(): string {
    return pathIn(this.#parent.folder, basename(this.path.real))
  }

  async commit(): Promise<PathProblem | null> {
    if (isOther(await statsOf(this.#target), this.#before)) return { type: 'changed_meanwhile' }
    if (this.#fresh === null) await rename(this.#target, this.#kept ?? '')
    else {
      if (this.#kept !== null) await link(this.#target, this.#kept)
      await rename(this.#fresh, this.#target)
    }
    this.#isCommitted = true
    return null
  }

  async undo(): Promise<void> {
    if (!this.#isCommitted) return
    if (this.#kept !== null) await rename(this.#kept, this.#target)
    else await rm(this.#target, { force: true })
  }

  async close(): Promise<void> {
    for (const path of [this.#fresh, this.#kept]) {
      if (path !== null) await rm(path, { force: true })
    }
    await this.#parent.folder.file.close()
  }

  /** Removes the folders that were made for the file. */
  async removeFolders(): Promise<void> {
    await removeFolders(this.path.root, this.#parent.made)
  }
}

function isOther(present: Stats | null, before: Before | undefined): boolean {
  if (before === undefined) return false
  const { size, mtimeMs } = before?.stats ?? {}
  return present?.size !== size || present?.mtimeMs !== mtimeMs
}

const temporaryIn = (folder: OpenedPath): string => pathIn(folder, `.retrai-${randomUUID()}.tmp`)

/** The file that is replaced, or the mode of a new one, which belongs to the owner of its folder. */
type Like = { readonly mode: number | undefined } | Pick<Stats, 'mode' | 'uid' | 'gid'>

/** False if the file would be elsewhere, because its folder was moved away. */
async function write(
  folder: OpenedPath,
  path: string,
  content: string,
  like: Like,
): Promise<boolean> {
  const file = await open(path, 'wx')
  let isWritten = false
  try {
    if (!(await isAt(file, join(folder.real, basename(path))))) return false
    await fill(file, content, { ...(await folder.file.stat()), ...like })
    isWritten = true
    return true
  } finally {
    await file.close()
    if (!isWritten) await rm(path, { force: true })
  }
}

async function fill(
  file: FileHandle,
  content: string,
  { uid, gid, mode }: Like & Pick<Stats, 'uid' | 'gid'>,
): Promise<void> {
  await file.writeFile(content)
  await give(file, { uid, gid })
  // Like a write in place, this leaves no right to become the owner.
  if (mode !== undefined) await file.chmod(mode & 0o777)
  await file.sync()
}

export async function statsOf(path: string): Promise<Stats | null> {
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
