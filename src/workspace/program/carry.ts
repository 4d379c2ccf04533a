import {
  type BigIntStats,
  lstatSync,
  mkdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs'
import { objectId, pathBytes } from '../../lib/git-objects.ts'
import { codeOf } from '../../lib/message-of.ts'
import { sha256 } from '../../lib/sha256.ts'
import type { Answers, CarriedPath, CarriedState, Questions } from '../protocol.ts'
import { writeNew } from './change-files.ts'
import { withContents } from './files.ts'
import { inFolder, namesOf, type OpenFolder } from './open-folder.ts'
import { pathIn, Refusal, ROOT } from './paths.ts'
import { contentIn, fileMode, isSame, linkAt } from './snapshot-files.ts'

type State = Answers['carry']['found'][number]
/** What is at a path. `stats` and `content` are those of `state`. */
type There = {
  readonly state: CarriedState
  readonly content: Buffer
  readonly stats?: BigIntStats
}

/** It is not what it was a moment ago. */
class Changed extends Error {}

const NOTHING: There = { state: null, content: Buffer.alloc(0) }
const TOP = pathBytes(ROOT)
/** Larger files are in no tree. */
const MAX_BYTES = 64n * 1024n * 1024n
const NO_FOLDER: ReadonlySet<string | null> = new Set(['ENOENT', 'ENOTDIR', 'ELOOP'])

/**
 * A file is replaced by a rename in its folder, and nothing is changed before all is looked at. So a crash leaves each file as it was or
 * as it is to be, and at most one file of ours, which the same question replaces.
 */
export function carry({ files, isLook }: Questions['carry'], body: Buffer): Answers['carry'] {
  pathIn('.')
  const gone = new Set(files.flatMap(({ path, to }) => (to === null ? [path] : [])))
  const looked = files.map((file) => {
    const { is, there } = lookAt(file, gone)
    return isLook ? { is } : { is, there }
  })
  const found = looked.map(({ is }) => is)
  if (isLook || found.includes('other')) {
    if (!isLook) putBack()
    return { found }
  }
  const due = withContents(files, body).flatMap(({ path, to: state, content }, index) => {
    const { is, there } = looked[index] ?? {}
    const next = { state, content: content ?? Buffer.alloc(0) }
    return is === 'due' && there ? [{ path, index, there, next }] : []
  })
  // Where a folder was, there may be a file afterwards.
  const order = due.toSorted(
    (a, b) => Number(a.next.state !== null) - Number(b.next.state !== null),
  )
  for (const { path, index, there, next } of order) {
    try {
      replace(path, there, next)
    } catch (cause) {
      putBack()
      if (!(cause instanceof Changed)) throw cause
      return { found: found.with(index, 'other') }
    }
    changed.push({ path, before: there, after: next.state })
  }
  for (const { path, next } of order) if (next.state === null) removeEmpty(path)
  return { found }
}

/** What this program has changed. */
const changed: { path: string; before: There; after: CarriedState }[] = []

function putBack(): void {
  const all = changed.splice(0).reverse()
  for (const { path, before, after } of all) {
    try {
      const now = lookIn(path) ?? NOTHING
      if (isAs(now.state, after)) replace(path, now, before)
    } catch {
      // Somebody has changed it since. That stays.
    }
  }
  for (const { path, before } of all) if (before.state === null) removeEmpty(path)
}

const isAs = (one: CarriedState, other: CarriedState): boolean =>
  one?.id === other?.id && one?.mode === other?.mode

/** @param gone paths at which nothing is to be */
function lookAt(
  { path, from, to }: CarriedPath,
  gone: ReadonlySet<string>,
): { is: State; there?: There } {
  if (path.toLowerCase().split('/').includes('.git')) throw new Refusal('guarded', path)
  const there = lookIn(path, to === null ? undefined : gone)
  if (there === null) return { is: 'other' }
  if (isAs(there.state, to)) return { is: 'done' }
  if (!from.some((one) => isAs(there.state, one))) return { is: 'other' }
  return { is: 'due', there }
}

/**
 * What is at a path; null for what is neither a file, a link nor nothing, and where something is in the way.
 * @param gone what is not in the way, because it goes; if left out, nothing can be in the way
 */
function lookIn(path: string, gone?: ReadonlySet<string>): There | null {
  const { above, last } = namesOf(path)
  let blocked = false
  const within = (folder: OpenFolder, name: string): OpenFolder | null => {
    const next = enter(folder, name)
    if (next === null) blocked = lstatSync(folder.at(name), { throwIfNoEntry: false }) !== undefined
    return next
  }
  const found = inFolder(
    TOP,
    above,
    within,
    (folder) => [thingAt(folder, last, path, gone)] as const,
  )
  if (found !== null) return found[0]
  const isFree = above.some((_, depth) => gone?.has(above.slice(0, depth + 1).join('/')))
  return blocked && gone !== undefined && !isFree ? null : NOTHING
}

function thingAt(
  folder: OpenFolder,
  name: string,
  path: string,
  gone?: ReadonlySet<string>,
): There | null {
  const stats = lstatSync(folder.at(name), { bigint: true, throwIfNoEntry: false })
  if (stats === undefined) return NOTHING
  if (stats.isSymbolicLink()) {
    const { link, content } = linkAt(folder.at(name))
    return { state: link, content, stats }
  }
  if (stats.isDirectory()) {
    return gone === undefined || isEmptied(folder, name, path, gone) ? NOTHING : null
  }
  if (!stats.isFile() || stats.size > MAX_BYTES) return null
  const read = contentIn(folder.pathOf(name), stats)
  if (read === null) return null
  const state = { mode: fileMode(stats), id: objectId('blob', read) }
  return { state, content: Buffer.from(read), stats }
}

/** Whether a folder goes with all that is in it. A folder in it that is empty already stays. */
function isEmptied(
  above: OpenFolder,
  name: string,
  path: string,
  gone: ReadonlySet<string>,
): boolean {
  using folder = above.open(name)
  return folder.names().every((inner) => {
    const at = `${path}/${inner}`
    const isFolder = lstatSync(folder.at(inner), { throwIfNoEntry: false })?.isDirectory() === true
    if (!isFolder) return gone.has(at)
    using below = folder.open(inner)
    return below.names().length > 0 && isEmptied(folder, inner, at, gone)
  })
}

/** The folder of a name; null if there is none, or something else. */
function enter(above: OpenFolder, name: string): OpenFolder | null {
  try {
    return above.open(name)
  } catch (cause) {
    if (NO_FOLDER.has(codeOf(cause))) return null
    throw cause
  }
}

function enterOrMake(above: OpenFolder, name: string): OpenFolder | null {
  if (lstatSync(above.at(name), { throwIfNoEntry: false }) === undefined)
    mkdirSync(above.at(name), 0o755)
  return enter(above, name)
}

/**
 * Makes a path something else.
 * @param known what was there: if it is not any more, nothing is done
 * @throws Changed
 */
function replace(path: string, known: There, { state, content, stats }: There): void {
  const { above, last } = namesOf(path)
  const done = inFolder(TOP, above, state === null ? enter : enterOrMake, (folder) => {
    const fresh = folder.at(`.retrai-${sha256(last).slice(0, 16)}.tmp`)
    const now = lstatSync(folder.at(last), { bigint: true, throwIfNoEntry: false })
    const isFolder = now?.isDirectory() === true
    const isKnown = known.stats ? now && isSame(now, known.stats) : now === undefined || isFolder
    if (!isKnown) throw new Changed()
    if (state === null) unlinkSync(folder.at(last))
    else {
      try {
        rmSync(fresh, { force: true })
        if (state.mode === '120000') symlinkSync(content, fresh)
        else writeNew(fresh, content, modeOf(state.mode, stats ?? known.stats))
        if (isFolder) removeFolders(folder, last)
        renameSync(fresh, folder.at(last))
      } finally {
        rmSync(fresh, { force: true })
      }
    }
    folder.sync()
    return true
  })
  if (done === null && state !== null) throw new Changed()
}

/** Executable or not, for whom it was readable before. */
function modeOf(mode: string, before: BigIntStats | undefined): number {
  const old = before?.isFile() ? Number(before.mode & 0o777n) : 0o644
  return mode === '100755' ? old | ((old & 0o444) >> 2) : old & ~0o111
}

/** A folder with nothing but folders in it. */
function removeFolders(above: OpenFolder, name: string): void {
  using folder = above.open(name)
  for (const inner of folder.names()) removeFolders(folder, inner)
  rmdirSync(above.at(name))
}

/** Like git, keeps no folder of which it has removed the last file. */
function removeEmpty(path: string): void {
  const { above } = namesOf(path)
  try {
    for (let depth = above.length; depth > 0; depth -= 1) {
      const name = above[depth - 1] ?? ''
      inFolder(TOP, above.slice(0, depth - 1), enter, (folder) => rmdirSync(folder.at(name)))
    }
  } catch {
    // There is more in it.
  }
}
