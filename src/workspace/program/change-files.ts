import { randomUUID } from 'node:crypto'
import {
  accessSync,
  closeSync,
  constants,
  fchmodSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  renameSync,
  rmdirSync,
  rmSync,
  type Stats,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { isWithin } from '../../lib/paths.ts'
import { sha256 } from '../../lib/sha256.ts'
import type { Answers, Expected, Questions, WantedFile } from '../protocol.ts'
import { contentOf, withContents } from './files.ts'
import { entryIn, isLink, pathToWrite, problemOf, Refusal } from './paths.ts'

/** A change that is ready to be made: everything is checked, and new content is on the disk before the first is made. */
type Staged = Answers['change']['done'][number] & {
  readonly target: string
  /** The new file; null if the file is deleted. */
  readonly fresh: string | null
  /** Where the old file is kept until all is done; null if there was none. */
  readonly kept: string | null
  /** Of the new file; left out: that of the system. */
  readonly mode: number | undefined
  readonly expected: Expected | undefined
  /** The hash of the new content. */
  readonly wanted: string | null
  /** Of the folders that were made for it, the outermost; null if none was. */
  readonly made: string | null
  isCommitted: boolean
}

/**
 * Changes all of these files, or none: new content is written beside each file before the first gets its name, and what
 * was changed is put back if one of them fails. Only a crash in between leaves some files changed and others unchanged.
 * A file that has its new content already counts as changed, so a change that may have been made can be repeated.
 */
export function change({ files }: Questions['change'], body: Buffer): Answers['change'] {
  const staged: Staged[] = []
  let path = ''
  try {
    for (const file of withContents(files, body)) {
      path = file.path
      const one = stage(file)
      staged.push(one)
      if (one.fresh !== null) writeNew(one.fresh, file.content ?? Buffer.of(), one.mode)
    }
    for (const one of staged) {
      path = one.shown
      commit(one)
    }
    return { done: staged.map(({ change, shown }) => ({ change, shown })) }
  } catch (cause) {
    for (const one of staged.toReversed()) undo(one)
    throw new Refusal(problemOf(cause), path)
  } finally {
    for (const { fresh, kept } of staged) {
      for (const left of [fresh, kept]) if (left !== null) rmSync(left, { force: true })
    }
  }
}

type Wanted = WantedFile & { readonly content: Buffer | null }

function stage({ path, expected, mode, content }: Wanted): Staged {
  const { real: target, shown } = pathToWrite(path)
  const found = statsOf(target)
  if (found === null && content === null) throw new Refusal('not_found')
  if (found !== null) checkReplaceable(target, found)
  const folder = dirname(target)
  const name = () => join(folder, `.retrai-${randomUUID()}.tmp`)
  return {
    change: content === null ? 'deleted' : found === null ? 'created' : 'replaced',
    shown,
    target,
    mode: found?.mode ?? mode,
    expected,
    isCommitted: false,
    fresh: content === null ? null : name(),
    kept: found === null ? null : name(),
    wanted: content && sha256(content),
    made: content === null ? null : makeFolders(folder),
  }
}

function commit(staged: Staged): void {
  const { target, fresh, kept, expected, wanted } = staged
  const isOther = expected !== undefined && ![expected, wanted].includes(hashOf(target))
  if (isOther || isLink(target)) throw new Refusal('changed_meanwhile')
  if (kept !== null && fresh !== null) linkSync(target, kept)
  renameSync(fresh ?? target, fresh === null ? (kept ?? '') : target)
  staged.isCommitted = true
}

function undo({ target, kept, made, isCommitted }: Staged): void {
  if (isCommitted && kept !== null) renameSync(kept, target)
  else if (isCommitted) rmSync(target, { force: true })
  removeFolders(dirname(target), made)
}

const MAX_COMPARED_BYTES = 64 * 1024 * 1024
const hashOf = (path: string): Expected =>
  statsOf(path) === null ? null : sha256(contentOf(path, MAX_COMPARED_BYTES))

function checkReplaceable(path: string, found: Stats): void {
  if (found.isDirectory()) throw new Refusal('is_folder')
  if (!found.isFile()) throw new Refusal('not_a_file')
  // A rename needs write access only to the folder, but a read-only file must not be replaced.
  accessSync(path, constants.W_OK)
}

/** Returns when the content is on the disk. */
export function writeNew(path: string | Buffer, content: Buffer, mode: number | undefined): void {
  const file = openSync(path, 'wx')
  try {
    writeFileSync(file, content)
    // Like a write in place, this leaves no right to become the owner.
    if (mode !== undefined) fchmodSync(file, mode & 0o777)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

const statsOf = (path: string): Stats | null => lstatSync(path, { throwIfNoEntry: false }) ?? null

/** The outermost folder that was made. */
const makeFolders = (folder: string): string | null =>
  mkdirSync(folder, { recursive: true }) ?? null

/** Removes folders that were made for nothing, unless something is in them by now. */
function removeFolders(folder: string, made: string | null): void {
  for (let at = folder; made !== null && isWithin(made, at); at = dirname(at)) {
    try {
      rmdirSync(at)
    } catch {
      return
    }
  }
}

export function remove({ path }: Questions['remove']): Answers['remove'] {
  const { real, shown } = entryIn(path)
  const wasFolder = lstatSync(real).isDirectory()
  if (wasFolder) rmdirSync(real)
  else unlinkSync(real)
  return { shown, wasFolder }
}

/** Moves a file or folder. A file is replaced only if that is asked for. */
export function rename({ path, to, overwrite }: Questions['rename']): Answers['rename'] {
  const [from, into] = [entryOf(path), entryOf(to)]
  if (from.real === into.real) throw new Refusal('same_path')
  if (isWithin(from.real, into.real)) throw new Refusal('into_itself', from.shown)
  if (statsOf(from.real) === null) throw new Refusal('not_found', path)
  const there = statsOf(into.real)
  if (there?.isDirectory() || (there && !overwrite)) throw new Refusal('exists', to)
  const folder = dirname(into.real)
  let made: string | null = null
  try {
    made = makeFolders(folder)
    renameSync(from.real, into.real)
    return { shown: from.shown, shownTo: into.shown }
  } catch (cause) {
    removeFolders(folder, made)
    throw new Refusal(problemOf(cause), to)
  }
}

function entryOf(path: string) {
  try {
    return entryIn(path)
  } catch (cause) {
    throw new Refusal(problemOf(cause), path)
  }
}
