import picomatch from 'picomatch'
import { BYTECODE, type LeftOut, type ProtectedFile } from '../../domain/snapshots.ts'
import { objectId, pathBytes, shownPath } from '../../lib/git-objects.ts'
import { throwIfShort } from '../../lib/message-of.ts'
import { sha256 } from '../../lib/sha256.ts'
import type { Questions, Served } from '../protocol.ts'
import { namedFiles } from './named-files.ts'
import { Refusal } from './paths.ts'
import { hasSettings, NO_SETTINGS, settingsId } from './settings-ids.ts'
import { type LastSnapshot, lastSnapshot } from './snapshot.ts'
import {
  contentIn,
  fileMode,
  hashIn,
  holdsSecret,
  isSecret,
  linkAt,
  MAX_HASHED_BYTES,
} from './snapshot-files.ts'
import type { KnownFolder } from './snapshot-folder.ts'
import { lstat, onDisk, TOP } from './snapshot-walk.ts'

type Seen = { readonly mode: string; readonly id: string }
/** A file in the tree, one that the snapshot left out, or null for one that it did not see. */
type Found = Seen | Omit<LeftOut, 'path'> | null

/** What tools write beside tests. */
const MADE =
  /(?:^|\/)(?:__pycache__|\.pytest_cache|node_modules)\/|\.(?:py[co]|o|obj|so|dll|dylib|exe|class|gcda|gcno)$/
/** Projects within tests are data, but pytest loads what it finds. */
const DATA = /(?:^|\/)(?:fixtures|__fixtures__|testdata)\/(?!(?:.*\/)?conftest\.py$)/
/** A longer path takes much time to compare, and no person writes one. */
const MAX_PATH = 1000
/** A larger file names no others, and has no settings. */
const MAX_TEXT_BYTES = 1024 * 1024

/**
 * The protected files as the last snapshot found them, in the order of their paths. The first time, those that the check names are
 * among them. Later, the body is the list of that time: these are looked at also if rules or a repository hide them now.
 */
export function protectedFiles(asked: Questions['protected'], body: Buffer): Served<'protected'> {
  const snapshot = lastSnapshot()
  if (snapshot === null) throw new Refusal('not_found')
  const all = new Map<string, Found>(filesIn(snapshot.folder, ''))
  for (const { bytes, left } of snapshot.leftOut) all.set(bytes, left)
  const known = new Set(body.length === 0 ? [] : pathsIn(body))
  for (const bytes of known) if (!all.has(bytes)) all.set(bytes, null)
  const textOf = (path: string): string | null => {
    const content = all.has(pathBytes(path)) ? contentOf(pathBytes(path)) : null
    return content === null ? null : content.toString()
  }
  const named = namedFiles(body.length === 0 ? asked.texts : [], textOf)
  const classOf = classes(asked, named)
  const files: ProtectedFile[] = []
  for (const [bytes, found] of all) {
    const path = shownPath(bytes)
    if (BYTECODE.test(path) && asked.tests.length > 0) {
      if (found !== null) files.push({ path, ...oddly(path, bytes), mode: '', id: null })
      continue
    }
    const kind = classOf(path) ?? (known.has(bytes) ? 'other' : null)
    const seen =
      kind && (found !== null && 'id' in found ? found : onDiskNow(bytes, found, snapshot))
    if (!kind || !seen) continue
    const id = settingsOf(bytes, seen, asked.texts) ?? seen.id
    if (id === NO_SETTINGS && body.length > 0 && !known.has(bytes)) continue
    files.push({
      path,
      ...oddly(path, bytes),
      mode: seen.mode,
      id,
      ...(kind === 'test' && { test: true }),
    })
  }
  files.sort((a, b) => (a.path < b.path ? -1 : 1))
  return { count: files.length, body: Buffer.from(JSON.stringify(files)) }
}

const oddly = (path: string, bytes: string) => (pathBytes(path) === bytes ? {} : { bytes })

/** The server wrote the body. */
const pathsIn = (body: Buffer): string[] =>
  (JSON.parse(body.toString()) as readonly ProtectedFile[]).map(
    ({ path, bytes }) => bytes ?? pathBytes(path),
  )

function classes({ tests, others }: Questions['protected'], named: ReadonlySet<string>) {
  const [isTest, isOther] = [matcherOf(tests), matcherOf(others)]
  return (path: string): 'test' | 'other' | null => {
    if (named.has(path) || path.length > MAX_PATH) return 'other'
    const isData = tests.length > 0 && DATA.test(path)
    if (!isData && isOther(path)) return 'other'
    return (isData || isTest(path)) && !MADE.test(path) ? 'test' : null
  }
}

/** Whether a path matches one of the globs. Only `*`, `**`, `?`, `[…]` and `{…}` have a meaning in them. */
function matcherOf(globs: readonly string[]): (path: string) => boolean {
  const plain = globs.map((glob) => glob.replaceAll('[!', '[^').replace(/[()|+!@\\]/g, '\\$&'))
  const sources = plain.map((glob) => picomatch.makeRe(glob, { dot: true, noextglob: true }).source)
  const all = sources.length === 0 ? null : new RegExp(sources.join('|'))
  return (path) => all?.test(path) === true
}

function* filesIn(
  folder: KnownFolder,
  at: string,
): Generator<readonly [bytes: string, seen: Seen]> {
  for (const { mode, name, id } of folder.entries) {
    const below = mode === '40000' ? folder.names.get(name)?.folder : undefined
    if (below === undefined) yield [at + name, { mode, id }]
    else yield* filesIn(below, `${at}${name}/`)
  }
}

/** A file that is not in the tree, with the id that it would have there; null if there is none. */
function onDiskNow(
  bytes: string,
  left: Omit<LeftOut, 'path'> | null,
  { asked: { salt, maxFileBytes } }: LastSnapshot,
): Seen | null {
  try {
    const stats = lstat(bytes)
    if (stats === undefined || stats.isDirectory()) return null
    if (stats.isSymbolicLink()) return linkAt(onDisk(bytes)).link
    const mode = fileMode(stats)
    const recorded = left?.commitment ?? left?.sha256
    if (recorded !== undefined || !stats.isFile() || stats.size > MAX_HASHED_BYTES) {
      return { mode, id: recorded ?? '' }
    }
    const name = bytes.slice(bytes.lastIndexOf('/') + 1)
    const isCommitted = isSecret(name) || holdsSecret(name, contentOf(bytes) ?? Buffer.of())
    const plain = Number(stats.size) > maxFileBytes ? '' : `blob ${stats.size}\0`
    const prefix = isCommitted ? sha256(shownPath(bytes) + salt) : plain
    return { mode, id: hashIn(TOP + bytes, stats, prefix) ?? '' }
  } catch (cause) {
    throwIfShort(cause)
    return { mode: '', id: '' }
  }
}

/** The content of a file of people; '' if it is large; null if there is none. */
function contentOf(bytes: string): Buffer | null {
  try {
    const stats = lstat(bytes)
    if (stats?.isFile() !== true) return null
    return stats.size > MAX_TEXT_BYTES ? Buffer.of() : contentIn(TOP + bytes, stats)
  } catch (cause) {
    throwIfShort(cause)
    return null
  }
}

/** The id of the settings in a file of the tree, if it also has what any agent changes. */
function settingsOf(bytes: string, { mode, id }: Seen, texts: readonly string[]): string | null {
  const name = bytes.slice(bytes.lastIndexOf('/') + 1)
  const content = hasSettings(name) && mode.startsWith('100') ? contentOf(bytes) : null
  if (content === null || objectId('blob', content) !== id) return null
  return settingsId(name, content, texts)
}
