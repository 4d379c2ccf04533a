import { accessSync, closeSync, constants, type Dirent, openSync, readdirSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import picomatch from 'picomatch'
import type { Grep, Pattern, Search, Served } from '../protocol.ts'
import { withFile } from './files.ts'
import { enter, NO_RULES, rulesAbove, rulesText, rulesWithin, verdict } from './ignore-rules.ts'
import { isLink, kindOf, pathIn, Refusal, ROOT } from './paths.ts'
import { type Ran, run } from './run-program.ts'

const MAX_OUTPUT_BYTES = 1024 * 1024
const MAX_PER_FILE = 500
/** An expression such as a{1,30000} needs gigabytes. */
const GREP_MEMORY_MIB = 512
/** Bytes of a line that are kept: what is shown, in characters of up to four bytes. */
const KEPT_BYTES = 2_000
/**
 * awk cuts long lines by bytes, so that they neither flood this process nor hide other lines. After the byte 31, it writes how
 * many characters, not bytes, are left out.
 */
const CUTTER = `length > ${KEPT_BYTES} { rest = substr($0, ${KEPT_BYTES + 1}); gsub(/[\\200-\\277]/, "", rest); $0 = substr($0, 1, ${KEPT_BYTES}) "\\037" length(rest) } { print }`
/** If a shell cannot limit the memory, only the limit of the whole program applies. No core files are written. */
const PIPELINE = `ulimit -c 0; ulimit -v ${GREP_MEMORY_MIB * 1024} 2>/dev/null; set -o pipefail; grep "$@" | LC_ALL=C awk '${CUTTER}'`
/** What is printed of the files in which lines match. */
const PRINTED = {
  lines: ['-n', `--max-count=${MAX_PER_FILE}`],
  files: ['-l'],
  counts: ['-c'],
} as const

export async function search(asked: Search): Promise<Served<'search'>> {
  const { real, shown } = pathIn(asked.path)
  const kind = kindOf(real)
  if (kind === 'nothing') throw new Refusal('not_found')
  const isTree = kind === 'folder'
  const walk = { folder: real, search: asked, glob: withinProject(asked.glob), unopened: 0 }
  const { grep, limit } = asked
  if (grep === undefined && !isTree) throw new Refusal('not_a_folder')
  const found =
    grep === undefined
      ? listFiles(walk, limit)
      : isTree
        ? await grepFiles(walk, grepArgs(grep))
        : await grepFile(real, shown, grepArgs(grep))
  return { ...found, unopened: walk.unopened, isTree, shown }
}

const EXITED = { exitCode: 0, stderr: '', isCut: false }

/** A glob relative to the project. One that leads out of it is refused. */
function withinProject(glob: string): string {
  const folder = [process.argv[2] ?? ROOT, ROOT].find((root) => glob.startsWith(`${root}/`))
  const inside = folder === undefined ? glob : glob.slice(folder.length + 1)
  if (isAbsolute(inside) || inside.split(/[/{},]/).includes('..')) {
    throw new Refusal('outside_project')
  }
  return inside.includes('/') ? inside.replace(/^(?:\.\/)+/, '') : `**/${inside}`
}

const printable = (path: string): string => (/\p{Cc}/u.test(path) ? JSON.stringify(path) : path)

function listFiles(walk: Walk, limit: number): Ran {
  const paths: string[] = []
  for (const path of filesIn(walk)) {
    paths.push(printable(path))
    if (paths.length === limit) break
  }
  return { ...EXITED, body: Buffer.from(paths.join('\n')) }
}

const ENV = { LANGUAGE: 'en' }

const runGrep = (args: readonly string[], input: number | Buffer | null, cwd = ROOT) =>
  run(['bash', '-c', PIPELINE, 'grep', '--color=never', ...args], {
    cwd,
    input,
    env: ENV,
    maxBytes: MAX_OUTPUT_BYTES,
  })

const patternArgs = ({ pattern, ignoreCase = false }: Pattern): string[] => [
  ...(ignoreCase ? ['-i'] : []),
  '-E',
  '-e',
  pattern,
]

const grepArgs = (grep: Grep): string[] => [
  '-HI',
  ...PRINTED[grep.output],
  ...(grep.context > 0 && grep.output === 'lines' ? [`--context=${grep.context}`] : []),
  ...patternArgs(grep),
]

/** Searches the body of a question: the lines that match, as `number:line`. */
export const grep = (pattern: Pattern, body: Buffer): Promise<Ran> =>
  runGrep(['-an', ...patternArgs(pattern)], body)

async function grepFile(real: string, shown: string, args: readonly string[]): Promise<Ran> {
  withFile(real, () => {})
  const file = openSync(real, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  try {
    return await runGrep([...args, `--label=${shown}`, '--', '-'], file)
  } finally {
    closeSync(file)
  }
}

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, R_OK } = constants
/** Files that one grep gets. */
const BATCH = 128
/** Exit codes up to this one mean that grep has searched. */
const SEARCHED = 1

async function grepFiles(walk: Walk, args: readonly string[]): Promise<Ran> {
  const { folder } = walk
  const parts: Buffer[] = []
  let answer = EXITED
  /** Whether the search continues. */
  const add = ({ exitCode, stderr, body, ...own }: Ran): boolean => {
    parts.push(body)
    // Without a message, it only did not find a file that was there before.
    const hasFailed = exitCode > SEARCHED && stderr !== ''
    const isCut = own.isCut || parts.reduce((sum, { length }) => sum + length, 0) > MAX_OUTPUT_BYTES
    answer = { exitCode: hasFailed ? exitCode : 0, stderr, isCut }
    return !hasFailed && !isCut
  }
  const batch: string[] = []
  const search = async (): Promise<boolean> => {
    const paths = batch.splice(0).map((path) => `./${path}`)
    return paths.length === 0 || add(await runGrep([...args, '-s', '--', ...paths], null, folder))
  }
  for (const path of filesIn(walk)) {
    const shown = printable(path)
    const real = join(folder, path)
    if (!canBeRead(real)) walk.unopened += 1
    else if (shown === path) batch.push(path)
    else if (!add(await grepFile(real, `./${shown}`, args))) break
    if (batch.length === BATCH && !(await search())) break
  }
  if (answer.exitCode === 0 && !answer.isCut) await search()
  return { ...answer, body: Buffer.concat(parts).subarray(0, MAX_OUTPUT_BYTES) }
}

function canBeRead(path: string): boolean {
  try {
    accessSync(path, R_OK)
    return true
  } catch {
    return false
  }
}

/** A search of the files below a folder, whose path leads through no link. */
type Walk = {
  readonly folder: string
  readonly search: Search
  readonly glob: string
  /** How many files and folders could not be opened. */
  unopened: number
}

/** The files that match the glob, in order, as paths from the folder. */
function* filesIn(walk: Walk): Generator<string> {
  const { hidden, ignored, grep } = walk.search
  const matches = matcherOf(walk.glob)
  const open = [{ at: '', rules: ignored ? NO_RULES : rulesAbove(walk.folder) }]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { at } = next
    const entries = entriesOf(join(walk.folder, at))
    if (entries === null) walk.unopened += 1
    enter(next.rules, at)
    const has = (name: string): boolean => entries?.some((entry) => entry.name === name) ?? false
    const text = has('.gitignore') ? rulesText(join(walk.folder, at, '.gitignore')) : null
    const below = (path: string): string => path.slice(at.length)
    const here = { at, text, isRepository: has('.git') }
    const rules = ignored ? NO_RULES : rulesWithin(next.rules, here, below)
    const folders: typeof open = []
    for (const entry of entries ?? []) {
      const { name } = entry
      const isFolder = entry.isDirectory()
      const path = at + name
      const said = verdict(rules, isFolder ? `${path}/` : path)
      const isInstalled = isFolder && name === 'node_modules' && !ignored
      if (name === '.git' || isInstalled || said === 'ignored') continue
      if (name.startsWith('.') && !hidden && said !== 'unignored') continue
      if (isFolder) folders.push({ at: `${path}/`, rules })
      else if ((grep === undefined || entry.isFile()) && matches(path)) yield path
    }
    open.push(...folders.reverse())
  }
}

/** Null if the folder cannot be read, was removed, or was replaced since its name was read. */
function entriesOf(folder: string): Dirent[] | null {
  try {
    if (isLink(folder)) return null
    const entries = readdirSync(folder, { withFileTypes: true })
    return entries.sort((a, b) => (a.name < b.name ? -1 : 1))
  } catch {
    return null
  }
}

/** Parentheses are names of files, such as those of Next.js, except in a pattern like `@(a|b)`. */
function matcherOf(glob: string): (path: string) => boolean {
  const isExtended = /[?*+@!]\(/.test(glob)
  const literal = isExtended ? glob : glob.replace(/[()|]/g, '\\$&')
  return picomatch(literal.replaceAll('[!', '[^'), { dot: true })
}
