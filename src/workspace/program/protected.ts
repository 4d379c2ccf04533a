import { posix } from 'node:path'
import picomatch from 'picomatch'
import { BYTECODE, type LeftOut, type ProtectedFile } from '../../domain/snapshots.ts'
import { objectId, pathBytes, shownPath } from '../../lib/git-objects.ts'
import { jsonOr } from '../../lib/json.ts'
import { throwIfShort } from '../../lib/message-of.ts'
import { sha256 } from '../../lib/sha256.ts'
import { wordSet } from '../../lib/text.ts'
import type { Questions, Served } from '../protocol.ts'
import { Refusal } from './paths.ts'
import { hasSettings, NO_SETTINGS, reachedScripts, settingsId } from './settings-ids.ts'
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

/** A file or folder with one of these words in its name is there to check others. */
const CHECKS = wordSet(`
  test tests check checks checker spec specs verify verifier lint validate validator ci expected
  golden grade grader judge assert
`)

/** Whether its name, or that of a folder above it, says that it checks something. */
function saysThatItChecks(path: string): boolean {
  const folders = path.toLowerCase().split('/')
  const name = path.slice(path.lastIndexOf('/') + 1)
  const words = name
    .replace(/([a-z])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z]+/)
  return words.some((word) => CHECKS.has(word)) || folders.some((folder) => CHECKS.has(folder))
}

const SHELL_ENDING = /\.(?:sh|bash|zsh|bats)$/
const SHELL_LINE = /^#!.*\b(?:sh|bash|dash|zsh|bats|make)\b/
const isShellScript = (path: string, text: string): boolean =>
  SHELL_ENDING.test(path) || SHELL_LINE.test(text)

const MAKEFILES = ['GNUmakefile', 'makefile', 'Makefile']
const MOST_TEXTS = 200
/** Where the output of a command may go: a pipe, a variable, a file. */
const LOOKED_AT = /\||[<>$]\(|`|>(?!\s*(?:&\d|\/dev\/null))/
/** Whatever a script or a makefile takes in is a part of it. */
const INCLUDES = /^\s*(?:[-s]?include|source|\.)\s/
/** A variable of make, and the folder of a script. */
const NO_COMMAND = /\$\((?:[\w.-]+|dirname [^()]*)\)/g

/**
 * The files that the commands of a check name and that belong to the check, with those that these name in turn. What only its
 * name could tell apart from the product is the product.
 * @param read a text file of the project, by its path; null if there is none, or it is no script that people write
 */
function namedFiles(
  commands: readonly string[],
  read: (path: string) => string | null,
): ReadonlySet<string> {
  const named = new Set<string>()
  const open = commands.map((text) => ({ text, folder: '' }))
  const seen = new Set<string>()
  const add = (path: string, text: string): void => {
    named.add(path)
    if (seen.has(path) || seen.size >= MOST_TEXTS) return
    seen.add(path)
    open.push({ text, folder: path.slice(0, path.lastIndexOf('/') + 1) })
  }
  for (const { text, folder } of open) {
    if (/\b(?:npm|pnpm|yarn|bun)\b/.test(text)) {
      const content = jsonOr(read('package.json') ?? '', {})
      const scripts = reachedScripts(Object(content).scripts, commands)
      add('package.json', Object.values(scripts).join('\n'))
    }
    const makefile = /\bmake\b/.test(text) && MAKEFILES.find((name) => read(name) !== null)
    if (makefile) add(makefile, read(makefile) ?? '')
    for (const part of text.split(/&&|\|\||[;\n]/)) {
      // What is printed for the check to look at comes from the product.
      const isLookedAt = LOOKED_AT.test(part.replace(NO_COMMAND, ''))
      const isIncluded = INCLUDES.test(part)
      for (const word of part.split(/[\s"'`=:;|&<>(){}[\],]+/)) {
        const [path, content] = found(word, folder, read) ?? []
        if (path === undefined || content === undefined || named.has(path)) continue
        const isScript = isIncluded || (isShellScript(path, content) && !isLookedAt)
        if (isScript || saysThatItChecks(path)) add(path, content)
      }
    }
  }
  return named
}

/** The file that a word names, from the project, or from the folder of the script, which may be in a variable. */
function found(
  word: string,
  folder: string,
  read: (path: string) => string | null,
): readonly [path: string, content: string] | null {
  const plain = word.replace(/^\$\w*\/|^(?:\.?\/)+/, '')
  if (!/^[\w.-]/.test(plain) || plain.endsWith('/')) return null
  const inFolder = [plain, plain.slice(plain.indexOf('/') + 1)].map((path) => folder + path)
  for (const path of [plain, ...inFolder].map(posix.normalize)) {
    const content = read(path)
    if (content !== null) return [path, content]
  }
  return null
}
