import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  constants,
  type Dirent,
  existsSync,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
} from 'node:fs'
import { join, matchesGlob } from 'node:path'
import { enter, type Rules, rulesWithin, verdict } from './ignore-rules.ts'
import type { SearchRequest, SearchSummary } from './search-files.ts'

/**
 * A separate program: prints the files below the working directory that match a glob, one per line, as JSON if a name
 * has control characters; or runs a command on them, and prints what it prints. Its last line on stderr is a summary.
 * A pattern of the model, or a rule of the project, may take any time and memory to match, and a child process has
 * limits and ends with its run. It imports little, because an isolated command does not see the rest of this program.
 */
const request: SearchRequest = JSON.parse(process.argv[2] ?? '')
const { glob, limit, hidden, ignored, above, command, maxRulesBytes } = request
/** Open files that one start of the command gets. A process may often have only 256. */
const BATCH = 128

const root = realpathSync('.')
const DESCRIPTORS = existsSync('/proc/self/fd') ? '/proc/self/fd' : null
const left = { ignored: 0, hidden: 0, tooLarge: 0, unopened: 0 }

/**
 * Opens a path below the working directory; null if a link leads there. The open file is asked where it is, because
 * something else may have been put at its path. Without /proc (macOS) only the path can be checked.
 */
function openInside(path: string, flags: number): number | null {
  let file: number
  try {
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
    file = openSync(path, flags | O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  } catch {
    return null
  }
  try {
    const real = DESCRIPTORS === null ? realpathSync(path) : readlinkSync(`${DESCRIPTORS}/${file}`)
    if (real === join(root, path)) return file
  } catch {
    // It was removed meanwhile.
  }
  closeSync(file)
  return null
}

function openRegular(path: string): number | null {
  const file = openInside(path, 0)
  if (file === null || fstatSync(file).isFile()) return file
  closeSync(file)
  return null
}

function textOf(path: string): string | undefined {
  const file = openRegular(path)
  if (file === null) return undefined
  try {
    if (fstatSync(file).size <= maxRulesBytes) return readFileSync(file, 'utf8')
    left.tooLarge += 1
  } catch {
    // Like ripgrep, it obeys what it can read.
  } finally {
    closeSync(file)
  }
  return undefined
}

function entriesOf(folder: string): Dirent[] {
  // With a slash at its end, a link would be followed.
  const name = folder.slice(0, -1) || '.'
  const file = openInside(name, constants.O_DIRECTORY)
  if (file === null) {
    left.unopened += 1
    return []
  }
  try {
    const path = DESCRIPTORS === null ? name : `${DESCRIPTORS}/${file}`
    const entries = readdirSync(path, { withFileTypes: true })
    return entries.sort((a, b) => (a.name < b.name ? -1 : 1))
  } catch {
    return []
  } finally {
    closeSync(file)
  }
}

function rulesIn(folder: string, inherited: Rules, names: ReadonlySet<string>): Rules {
  if (ignored) return []
  const read = (name: string) => (names.has(name) ? textOf(folder + name) : undefined)
  const isRepository = names.has('.git')
  const texts = {
    ignore: read('.ignore'),
    gitignore: read('.gitignore'),
    exclude: isRepository ? textOf(`${folder}.git/info/exclude`) : undefined,
    isRepository,
  }
  return rulesWithin(inherited, texts, (path) => path.slice(folder.length))
}

/** Whether a search looks at this entry. Counts what it leaves out. */
function isSearched(path: string, entry: Dirent, rules: Rules): boolean {
  if (entry.name === '.git') return false
  const said = verdict(rules, entry.isDirectory() ? `${path}/` : path)
  if (said === 'ignored' || (!ignored && entry.isDirectory() && entry.name === 'node_modules')) {
    left.ignored += 1
    return false
  }
  if (hidden || said === 'unignored' || !entry.name.startsWith('.')) return true
  left.hidden += 1
  return false
}

/** The files below the working directory that a search looks at, in order. */
function* filesBelow(): Generator<string> {
  const fromAbove = above.reduce<Rules>((rules, { path, ...texts }) => {
    return rulesWithin(rules, texts, (entry) => path + entry)
  }, [])
  const open: { readonly folder: string; readonly rules: Rules }[] = [
    { folder: '', rules: fromAbove },
  ]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { folder } = next
    const entries = entriesOf(folder)
    enter(next.rules, folder)
    const rules = rulesIn(folder, next.rules, new Set(entries.map(({ name }) => name)))
    const folders: typeof open = []
    for (const entry of entries) {
      const path = folder + entry.name
      if (!isSearched(path, entry, rules)) continue
      if (entry.isDirectory()) folders.push({ folder: `${path}/`, rules })
      else if (command === undefined || entry.isFile()) yield path
    }
    open.push(...folders.reverse())
  }
}

/** Before the dot at the beginning of a name. */
const DOT = /(?<=^|\/)(?=\.)/g
/** How many names with a dot in one path are tried both ways; later ones are tried like the last of these. */
const MAX_DOTS = 4

/** The forms in which a path may match a glob: in Node's matcher, no `*` matches the dot at the beginning of a name. */
function* readings(path: string): Generator<string> {
  yield path
  const dots = Math.min(path.match(DOT)?.length ?? 0, MAX_DOTS)
  for (let chosen = 1; chosen < 2 ** dots; chosen += 1) {
    let index = 0
    yield path.replace(DOT, () => (chosen & (1 << Math.min(index++, MAX_DOTS - 1)) ? '_' : ''))
  }
}

function matches(path: string): boolean {
  for (const reading of readings(path)) if (matchesGlob(reading, glob)) return true
  return false
}

const printable = (path: string): string => (/\p{Cc}/u.test(path) ? JSON.stringify(path) : path)

function printPaths(): void {
  let count = 0
  for (const path of filesBelow()) {
    if (!matches(path)) continue
    console.log(printable(path))
    count += 1
    if (count >= limit) break
  }
}

/** The first descriptor after stdin, stdout and stderr. */
const FIRST = 3
type OpenFile = { readonly path: string; readonly file: number }

/** Starts the command with open files, which cannot be exchanged for others. Returns its exit code. */
async function runOn(
  files: readonly OpenFile[],
  [program = '', ...args]: readonly string[],
): Promise<number> {
  const at = `${DESCRIPTORS ?? '/dev/fd'}/`
  const paths = files.map((_, index) => `${at}${FIRST + index}`)
  const stdio = ['ignore', 'pipe', 'inherit', ...files.map(({ file }) => file)] as const
  const child = spawn(program, [...args, ...paths], { stdio: [...stdio] })
  const ended = once(child, 'close')
  for (const { file } of files) closeSync(file)
  const named = (line: string) => {
    const number = line.startsWith(at) ? Number.parseInt(line.slice(at.length), 10) : Number.NaN
    const path = files[number - FIRST]?.path
    if (path === undefined) return line
    // Bytes that are not UTF-8 pass unchanged.
    const shown = Buffer.from(`./${printable(path)}`).toString('latin1')
    return shown + line.slice(`${at}${number}`.length)
  }
  let rest = ''
  for await (const chunk of child.stdout?.setEncoding('latin1') ?? []) {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    process.stdout.write(lines.map((line) => `${named(line)}\n`).join(''), 'latin1')
  }
  const [code] = await ended
  return code ?? KILLED
}

/** Exit codes up to this one mean that the command has searched, as with grep. */
const SEARCHED = 1
/** Takes the place of an exit code if a signal ended the command. */
const KILLED = 128

async function runOnFiles(run: readonly string[]): Promise<number> {
  let batch: OpenFile[] = []
  for (const path of filesBelow()) {
    if (!matches(path)) continue
    const file = openRegular(path)
    if (file === null) left.unopened += 1
    else batch.push({ path, file })
    if (batch.length < BATCH) continue
    const code = await runOn(batch, run)
    if (code > SEARCHED) return code
    batch = []
  }
  const code = batch.length === 0 ? 0 : await runOn(batch, run)
  return code > SEARCHED ? code : 0
}

if (command === undefined) printPaths()
else process.exitCode = await runOnFiles(command)
console.error(JSON.stringify(left satisfies SearchSummary))
