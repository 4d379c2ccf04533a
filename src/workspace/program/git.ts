import {
  copyFileSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Answers } from '../answers.ts'
import type { Questions } from '../questions.ts'
import { textOrNull } from './files.ts'
import { ROOT } from './paths.ts'
import {
  alternatesOf,
  entriesOf,
  findRepository,
  GitRefusal,
  MAX_NAMES_BYTES,
  type Repository,
} from './repository.ts'
import { run } from './run-program.ts'

const MAX_CONFIG_BYTES = 1024 * 1024
const MAX_INDEX_BYTES = 512 * 1024 * 1024
const MAX_OUTPUT_BYTES = 8 * 1024 * 1024
const COMMITS = 20

type Shown = { readonly answer: Answers['git']; readonly body: Buffer }
type Git = (...args: readonly string[]) => ReturnType<typeof run>

/**
 * Shows something of the repository of the project, and runs nothing that the repository names: code of the project in this
 * container could change what this program answers. Instead of `.git`, git sees a folder made for this question: the history,
 * a copy of the index, and a configuration of the few settings below. Filters, hooks, programs, included files and remotes are not in it,
 * so they cannot act. Nothing in the repository is written.
 */
export async function git({ show }: Questions['git']): Promise<Shown> {
  const view = mkdtempSync(join(tmpdir(), 'git-'))
  try {
    const repository = findRepository(ROOT)
    await fillView(view, repository)
    const env = environment(view, repository)
    const { answer, output } = await SHOWN[show]((...args) =>
      run(['git', ...READ_ONLY, ...args], { cwd: ROOT, env, maxBytes: MAX_OUTPUT_BYTES }),
    )
    return { answer, body: output }
  } catch (cause) {
    if (cause instanceof GitRefusal) {
      return { answer: { problem: cause.problem }, body: Buffer.alloc(0) }
    }
    throw cause
  } finally {
    rmSync(view, { recursive: true, force: true })
  }
}

/** Repeats what the configuration of the view already ensures: no hooks and no other programs. */
const READ_ONLY = [
  '--no-pager',
  '--no-optional-locks',
  ...['core.fsmonitor=false', 'core.hooksPath=/dev/null', 'color.ui=false'].flatMap(withC),
  ...withC('log.showSignature=false'),
]
function withC(setting: string): string[] {
  return ['-c', setting]
}
const NO_PROGRAMS = ['--no-ext-diff', '--no-textconv']
/** To see changes inside a submodule, git would start another git with the configuration of the submodule. */
const NO_SUBMODULES = '--ignore-submodules=dirty'
/** The exit code of `git rev-parse --verify --quiet` for a revision that does not exist. */
const NO_SUCH_REVISION = 1

const SHOWN: Readonly<Record<Questions['git']['show'], (git: Git) => ReturnType<Git>>> = {
  status: (git) => git('status', '--short', '--branch', NO_SUBMODULES, '--', '.'),
  diff: async (git) => {
    const head = await git('rev-parse', '--verify', '--quiet', 'HEAD^{commit}')
    const { exitCode } = head.answer
    if (exitCode !== 0 && exitCode !== NO_SUCH_REVISION) return head
    // Before the first commit, everything is compared with the empty tree, which every repository knows.
    const since =
      exitCode === 0
        ? 'HEAD'
        : (await git('hash-object', '-t', 'tree', '/dev/null')).stdout.toString().trim()
    return git('diff', ...NO_PROGRAMS, NO_SUBMODULES, '--relative', since, '--', '.')
  },
  log: (git) => {
    const format = ['--date=iso-strict', '--format=%h %ad %an: %s', '--stat']
    return git('log', `--max-count=${COMMITS}`, ...format, ...NO_PROGRAMS, '--relative')
  },
}

/** Also keeps out the settings of the machine, and every way to reach another machine. */
const NEUTRAL: Readonly<Record<string, string>> = {
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_SYSTEM: '/dev/null',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_ATTR_NOSYSTEM: '1',
  GIT_OPTIONAL_LOCKS: '0',
  GIT_NO_LAZY_FETCH: '1',
  GIT_ALLOW_PROTOCOL: '',
  GIT_SSH_COMMAND: 'false',
  GIT_ASKPASS: 'false',
}

const environment = (view: string, { holder }: Repository): Record<string, string> => ({
  ...NEUTRAL,
  GIT_DIR: view,
  GIT_WORK_TREE: holder,
  GIT_INDEX_FILE: join(view, 'index'),
})

const unusable = (message: string): GitRefusal => new GitRefusal({ type: 'unusable', message })

async function fillView(view: string, repository: Repository): Promise<void> {
  const { root, gitDir, commonDir } = repository
  const head = textOrNull(join(gitDir, 'HEAD'), MAX_NAMES_BYTES)
  if (head === null) throw unusable('.git/HEAD cannot be read')
  const index = lstatSync(join(gitDir, 'index'), { throwIfNoEntry: false })
  if (index?.isFile() === false) throw unusable('.git/index is not a regular file')
  if ((index?.size ?? 0) > MAX_INDEX_BYTES) throw unusable('.git/index is too large')
  const alternates = alternatesOf(root, join(commonDir, 'objects'))
  mkdirSync(join(view, 'objects', 'info'), { recursive: true })
  mkdirSync(join(view, 'info'))
  writeFileSync(join(view, 'HEAD'), head)
  // git diff writes it.
  if (index !== undefined) copyFileSync(join(gitDir, 'index'), join(view, 'index'))
  writeFileSync(join(view, 'objects/info/alternates'), alternates.join('\n'))
  const own = gitDir === commonDir ? [] : [join(gitDir, 'config.worktree')]
  const settings: string[] = []
  for (const path of [join(commonDir, 'config'), ...own]) settings.push(await settingsIn(path))
  writeFileSync(join(view, 'config'), settings.join(''))
  linkParts(view, repository)
}

const LINKED: ReadonlySet<string> = new Set(['refs', 'packed-refs', 'reftable', 'shallow'])
/** In `info`, the only file that belongs to one worktree. */
const SPARSE = 'sparse-checkout'
/** The names below `objects` that hold objects. */
const isObjectFolder = (name: string): boolean => name === 'pack' || /^[0-9a-f]{2}$/.test(name)

/** Links the view to what git reads in the repository itself. None of it names a program. */
function linkParts(view: string, { gitDir, commonDir }: Repository): void {
  const isLinked = gitDir !== commonDir
  const namesIn = (folder: string, path: string): string[] =>
    entriesOf(folder, path).map(({ name }) => name)
  const infoOf = (folder: string): string[] =>
    entriesOf(folder, 'info').flatMap((entry) => (entry.isFile() ? [entry.name] : []))
  const link = (folder: string, paths: readonly string[]): void => {
    for (const path of paths) symlinkSync(join(folder, path), join(view, path))
  }
  const objects = namesIn(commonDir, 'objects').filter(isObjectFolder)
  const info = infoOf(commonDir).filter((name) => !isLinked || name !== SPARSE)
  link(commonDir, [
    ...namesIn(commonDir, '.').filter((name) => LINKED.has(name)),
    ...objects.map((name) => join('objects', name)),
    ...info.map((name) => join('info', name)),
  ])
  const sparse = isLinked && infoOf(gitDir).includes(SPARSE) ? [join('info', SPARSE)] : []
  const parts = namesIn(gitDir, '.').filter((name) => name.startsWith('sharedindex.'))
  link(gitDir, [...parts, ...sparse])
}

const BOOLEAN_OR_WORD = /^[\w.-]{0,64}$/
/** The name of a ref or a remote. No transport of git reads it. */
const REF = /^[^\0\n]{0,1000}$/

/** The settings for how git stores and shows files and history. No others are used. */
const SETTINGS: readonly (readonly [RegExp, RegExp])[] = [
  [/^core\.repositoryformatversion$/, /^[01]$/],
  [/^extensions\.objectformat$/, /^sha(?:1|256)$/],
  [/^extensions\.refstorage$/, /^(?:files|reftable)$/],
  [
    /^core\.(?:filemode|ignorecase|precomposeunicode|autocrlf|eol|quotepath|abbrev|sparsecheckout|sparsecheckoutcone)$/,
    BOOLEAN_OR_WORD,
  ],
  [/^diff\.(?:algorithm|context|mnemonicprefix|noprefix|renames)$/, BOOLEAN_OR_WORD],
  [/^status\.(?:renames|showuntrackedfiles|relativepaths)$/, BOOLEAN_OR_WORD],
  [/^branch\.[^\0\n]+\.(?:remote|merge)$/, REF],
  [/^remote\.[^\0\n]+\.fetch$/, REF],
]

/** Picks the settings that are used from a file, in the format of a configuration; '' if there is no such file. */
async function settingsIn(path: string): Promise<string> {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found === undefined) return ''
  if (!found.isFile() || found.size > MAX_CONFIG_BYTES) {
    throw unusable('.git/config is not a regular file of at most 1 MiB')
  }
  const asked = ['config', '--file', path, '--no-includes', '--list', '-z']
  const { answer, stdout } = await run(['git', ...asked], {
    ...{ cwd: '/', env: { ...NEUTRAL, GIT_DIR: '/dev/null' }, maxBytes: 4 * MAX_CONFIG_BYTES },
  })
  if (answer.exitCode !== 0) throw unusable('.git/config cannot be read')
  const lines = stdout
    .toString()
    .split('\0')
    .flatMap((entry) => {
      const end = entry.indexOf('\n')
      // A key without a value is true.
      const [key, value] = end < 0 ? [entry, 'true'] : [entry.slice(0, end), entry.slice(end + 1)]
      const isUsed = SETTINGS.some(([keys, values]) => keys.test(key) && values.test(value))
      return isUsed ? [written(key, value)] : []
    })
  return lines.join('')
}

function written(key: string, value: string): string {
  const quoted = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`
  const [first, last] = [key.indexOf('.'), key.lastIndexOf('.')]
  const sub = first === last ? '' : ` ${quoted(key.slice(first + 1, last))}`
  return `[${key.slice(0, first)}${sub}]\n\t${key.slice(last + 1)} = ${quoted(value)}\n`
}
