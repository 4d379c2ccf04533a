import { closeSync, constants, existsSync, fstatSync, openSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import type { Answers } from '../answers.ts'
import { GREP_MEMORY_MIB, type Grep, type Pattern, type Questions } from '../questions.ts'
import { withFile } from './files.ts'
import { kindOf, pathIn, Refusal, ROOT } from './paths.ts'
import { type Ran, run } from './run-program.ts'
import { Walk } from './walk.ts'

const MAX_OUTPUT_BYTES = 1024 * 1024
const MAX_PER_FILE = 500
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

type Found = { readonly answer: Answers['search']; readonly body: Buffer }

/** Other questions are answered, too, while a search looks at files: it pauses this often. */
const PAUSE_MS = 20

export async function search(asked: Questions['search']): Promise<Found> {
  const { real, shown } = pathIn(asked.path)
  const kind = kindOf(real)
  if (kind === 'nothing') throw new Refusal('not_found')
  const isTree = kind === 'folder'
  const walk = new Walk(real, { ...asked, glob: withinProject(asked.glob) })
  const { ran, body } = !isTree
    ? await grepFile(real, shown, asked.grep)
    : asked.grep === undefined
      ? await listFiles(walk, asked.limit)
      : await grepFiles(walk, real, grepArgs(asked.grep))
  return { answer: { ...ran, left: walk.left, isTree, shown }, body }
}

const EXITED: Ran['answer'] = { exitCode: 0, stderr: '', isCut: false }

/** A glob relative to the project. One that leads out of it is refused. */
function withinProject(glob: string): string {
  const folder = [process.argv[2] ?? ROOT, ROOT].find((root) => glob.startsWith(`${root}/`))
  const inside = folder === undefined ? glob : glob.slice(folder.length + 1)
  if (isAbsolute(inside) || inside.split(/[/{},]/).includes('..')) {
    throw new Refusal('outside_project')
  }
  return inside.includes('/') ? inside.replace(/^(?:\.\/)+/, '') : `**/${inside}`
}

/** The files of a walk, with pauses. */
async function* unhurried(walk: Walk): AsyncGenerator<string> {
  let until = performance.now() + PAUSE_MS
  for (const path of walk.files()) {
    yield path
    if (performance.now() < until) continue
    await setImmediate()
    until = performance.now() + PAUSE_MS
  }
}

const printable = (path: string): string => (/\p{Cc}/u.test(path) ? JSON.stringify(path) : path)

async function listFiles(walk: Walk, limit: number) {
  const paths: string[] = []
  for await (const path of unhurried(walk)) {
    paths.push(printable(path))
    if (paths.length === limit) break
  }
  return { ran: EXITED, body: Buffer.from(paths.join('\n')) }
}

const ENV = { LANGUAGE: 'en' }

const runGrep = (args: readonly string[], input: number | Buffer | null, files?: number[]) =>
  run(['bash', '-c', PIPELINE, 'grep', '--color=never', ...args], {
    ...{ cwd: ROOT, input, env: ENV, maxBytes: MAX_OUTPUT_BYTES },
    ...(files && { files }),
  })

const patternArgs = ({ pattern, isText = false, ignoreCase = false }: Pattern): string[] => [
  ...(ignoreCase ? ['-i'] : []),
  ...[isText ? '-F' : '-E', '-e', pattern],
]

const grepArgs = (grep: Grep): string[] => [
  ...['-HI', ...PRINTED[grep.output]],
  ...(grep.context > 0 && grep.output === 'lines' ? [`--context=${grep.context}`] : []),
  ...patternArgs(grep),
]

/** Searches the body of a question: the lines that match, as `number:line`. */
export async function grep(pattern: Pattern, body: Buffer) {
  const { answer, stdout } = await runGrep(['-an', ...patternArgs(pattern)], body)
  return { answer, body: stdout }
}

async function grepFile(real: string, shown: string, grep: Grep | undefined) {
  if (grep === undefined) throw new Refusal('not_a_folder')
  const { answer, stdout } = await withFileOpen(real, (file) =>
    runGrep([...grepArgs(grep), `--label=${shown}`, '--', '-'], file),
  )
  return { ran: answer, body: stdout }
}

async function withFileOpen<T>(real: string, use: (file: number) => Promise<T>): Promise<T> {
  withFile(real, () => {})
  const file = openSync(real, FLAGS)
  try {
    return await use(file)
  } finally {
    closeSync(file)
  }
}

const FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
/** Open files that one grep gets. A process may often have only 256. */
const BATCH = 128
const DESCRIPTORS = existsSync('/proc/self/fd') ? '/proc/self/fd/' : '/dev/fd/'
/** The first descriptor after stdin, stdout and stderr. */
const FIRST = 3
/** Exit codes up to this one mean that grep has searched. */
const SEARCHED = 1

async function grepFiles(walk: Walk, folder: string, args: readonly string[]) {
  const parts: Buffer[] = []
  let ran = EXITED
  const search = async (batch: readonly OpenFile[]): Promise<boolean> => {
    const { answer, body } = await grepBatch(batch, args)
    parts.push(body)
    const exitCode = answer.exitCode > SEARCHED ? answer.exitCode : 0
    const isCut =
      answer.isCut || parts.reduce((sum, { length }) => sum + length, 0) > MAX_OUTPUT_BYTES
    ran = { exitCode, stderr: ran.stderr + answer.stderr, isCut }
    return exitCode === 0 && !isCut
  }
  let batch: OpenFile[] = []
  for await (const path of unhurried(walk)) {
    const file = openRegular(join(folder, path))
    if (file === null) walk.left.unopened += 1
    else batch.push({ path, file })
    if (batch.length < BATCH) continue
    const goesOn = await search(batch)
    batch = []
    if (!goesOn) break
  }
  if (batch.length > 0) await search(batch)
  return { ran, body: Buffer.concat(parts).subarray(0, MAX_OUTPUT_BYTES) }
}

function openRegular(path: string): number | null {
  try {
    const file = openSync(path, FLAGS)
    if (fstatSync(file).isFile()) return file
    closeSync(file)
  } catch {
    // It was removed or replaced meanwhile, or cannot be read.
  }
  return null
}

type OpenFile = { readonly path: string; readonly file: number }

/** Searches open files, which cannot be exchanged for others, and whose names may have any characters. */
async function grepBatch(batch: readonly OpenFile[], args: readonly string[]) {
  const at = DESCRIPTORS
  const paths = batch.map((_, index) => `${at}${FIRST + index}`)
  try {
    const files = batch.map(({ file }) => file)
    const { answer, stdout } = await runGrep([...args, '--', ...paths], null, files)
    const named = (line: string): string => {
      const number = line.startsWith(at) ? Number.parseInt(line.slice(at.length), 10) : Number.NaN
      const path = batch[number - FIRST]?.path
      if (path === undefined) return line
      // Bytes that are not UTF-8 pass unchanged.
      const shown = Buffer.from(`./${printable(path)}`).toString('latin1')
      return shown + line.slice(`${at}${number}`.length)
    }
    const body = stdout.toString('latin1').split('\n').map(named).join('\n')
    return { answer, body: Buffer.from(body, 'latin1') }
  } finally {
    for (const { file } of batch) closeSync(file)
  }
}
