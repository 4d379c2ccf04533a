import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { type LinkedWorktree, lineOf, linkedWorktree } from '../../lib/linked-worktree.ts'
import type { Answers, Questions } from '../protocol.ts'
import { ROOT } from './paths.ts'
import { type Ran, run } from './run-program.ts'

const MAX_CONFIG_BYTES = 1024 * 1024
const MAX_INDEX_BYTES = 512 * 1024 * 1024
const MAX_OUTPUT_BYTES = 8 * 1024 * 1024
const COMMITS = 20

/** Why a repository is not read, as the git tools say it. It is thrown, and caught where git is run. */
class GitRefusal extends Error {
  /** What somebody can do who wanted a branch. */
  readonly advice: string

  constructor(message: string, advice: string) {
    super(message)
    this.advice = advice
  }
}

const NO_REPOSITORY = new GitRefusal(
  'fatal: not a git repository (or any of the parent directories): .git',
  'The project is in no repository of git. Apply the changes as files or as a patch.',
)
const LEADS_OUTSIDE = new GitRefusal(
  '.git leads to another repository, which does not name this folder as one of its worktrees. The git tools do not read it.',
  'The repository does not name the project as one of its worktrees. Run "git worktree repair", or apply the changes as a patch.',
)
const unusable = (why: string): GitRefusal =>
  new GitRefusal(
    `The repository cannot be read: ${why}.`,
    'The repository of the project cannot be read. Apply the changes as a patch.',
  )

/** The exit code of git if it cannot read a repository. */
const FATAL = 128

/** Both folders are the same if it is not a linked worktree. */
type Repository = LinkedWorktree & {
  /** The folder that holds `.git`. */
  readonly holder: string
}

type More = Partial<Pick<Parameters<typeof run>[1], 'input' | 'env' | 'isMerged'>>
type Git = (args: readonly string[], more?: More) => Promise<Ran>

/**
 * Shows something of the repository of the project, and runs nothing that the repository names: code of the project in this
 * container could change what this program answers. Instead of `.git`, git sees a folder made for this question: links to the
 * history, a copy of the index, and a configuration of the few settings below. Filters, hooks, programs, included files and remotes are not in it,
 * so they cannot act. Nothing in the repository is written.
 */
export async function git({ show }: Questions['git']): Promise<Ran> {
  const shown = await inView((git) => SHOWN[show]((args) => git(args, { isMerged: true })))
  if (!(shown instanceof GitRefusal)) return shown
  return { exitCode: FATAL, stderr: '', isCut: false, body: Buffer.from(shown.message) }
}

/** Does something with such a folder in the place of `.git`, or returns why the repository is not used. */
async function inView<T>(
  act: (git: Git, repository: Repository) => Promise<T>,
): Promise<T | GitRefusal> {
  const view = mkdtempSync(join(tmpdir(), 'git-'))
  try {
    const repository = findRepository(ROOT)
    await fillView(view, repository)
    const env = environment(view, repository)
    const viewed: Git = (args, more) =>
      run(['git', ...args], {
        cwd: ROOT,
        maxBytes: MAX_OUTPUT_BYTES,
        ...more,
        env: { ...env, ...more?.env },
      })
    return await act(viewed, repository)
  } catch (cause) {
    if (cause instanceof GitRefusal) return cause
    throw cause
  } finally {
    rmSync(view, { recursive: true, force: true })
  }
}

/** To see changes inside a submodule, git would start another git with the configuration of the submodule. */
const NO_SUBMODULES = '--ignore-submodules=dirty'
/** The exit code of `git rev-parse --verify --quiet` for a revision that does not exist. */
const NO_SUCH_REVISION = 1

const SHOWN: Readonly<Record<Questions['git']['show'], (git: Git) => Promise<Ran>>> = {
  status: (git) => git(['status', '--short', '--branch', NO_SUBMODULES, '--', '.']),
  diff: async (git) => {
    const head = await git(['rev-parse', '--verify', '--quiet', 'HEAD^{commit}'])
    if (head.exitCode !== 0 && head.exitCode !== NO_SUCH_REVISION) return head
    // Before the first commit, everything is compared with the empty tree, which every repository knows.
    const empty = head.exitCode !== 0 && (await git(['hash-object', '-t', 'tree', '/dev/null']))
    const since = empty === false ? 'HEAD' : empty.body.toString().trim()
    return git(['diff', NO_SUBMODULES, '--relative', since, '--', '.'])
  },
  log: (git) => {
    const format = ['--date=iso-strict', '--format=%h %ad %an: %s', '--stat']
    return git(['log', `--max-count=${COMMITS}`, ...format, '--relative'])
  },
}

/** Also keeps out the settings of the machine, and every way to reach another machine. */
const NEUTRAL: Readonly<Record<string, string>> = {
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_ATTR_NOSYSTEM: '1',
  GIT_OPTIONAL_LOCKS: '0',
  GIT_NO_LAZY_FETCH: '1',
  GIT_ALLOW_PROTOCOL: '',
}

const environment = (view: string, { holder }: Repository): Record<string, string> => ({
  ...NEUTRAL,
  GIT_DIR: view,
  GIT_WORK_TREE: holder,
  GIT_INDEX_FILE: join(view, 'index'),
})

/** What git reads in the repository itself. None of it names a program. */
const LINKED = ['objects', 'refs', 'packed-refs', 'reftable', 'shallow', 'info']

async function fillView(view: string, { gitDir, commonDir }: Repository): Promise<void> {
  const head = lineOf(join(gitDir, 'HEAD'))
  if (head === null) throw unusable('.git/HEAD cannot be read')
  const index = lstatSync(join(gitDir, 'index'), { throwIfNoEntry: false })
  if (index?.isFile() === false) throw unusable('.git/index is not a regular file')
  if ((index?.size ?? 0) > MAX_INDEX_BYTES) throw unusable('.git/index is too large')
  writeFileSync(join(view, 'HEAD'), `${head}\n`)
  // git diff writes it.
  if (index !== undefined) copyFileSync(join(gitDir, 'index'), join(view, 'index'))
  const own = gitDir === commonDir ? [] : [join(gitDir, 'config.worktree')]
  const settings: string[] = []
  for (const path of [join(commonDir, 'config'), ...own]) settings.push(await settingsIn(path))
  writeFileSync(join(view, 'config'), settings.join(''))
  const shared = readdirSync(gitDir).filter((name) => name.startsWith('sharedindex.'))
  const linked = LINKED.filter((name) => existsSync(join(commonDir, name)))
  for (const name of linked) symlinkSync(join(commonDir, name), join(view, name))
  for (const name of shared) symlinkSync(join(gitDir, name), join(view, name))
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
  const { exitCode, body } = await run(['git', ...asked], {
    cwd: '/',
    env: { ...NEUTRAL, GIT_DIR: '/dev/null' },
    maxBytes: 4 * MAX_CONFIG_BYTES,
  })
  if (exitCode !== 0) throw unusable('.git/config cannot be read')
  const lines = body
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
  const first = key.indexOf('.')
  const last = key.lastIndexOf('.')
  const sub = first === last ? '' : ` ${quoted(key.slice(first + 1, last))}`
  return `[${key.slice(0, first)}${sub}]\n\t${key.slice(last + 1)} = ${quoted(value)}\n`
}

/** Looks for `.git` in the project and in the folders above it, as git does. */
function findRepository(project: string): Repository {
  for (let holder = project; ; holder = dirname(holder)) {
    const linked = linkedWorktree(holder)
    const gitDir = linked?.gitDir ?? gitDirIn(holder)
    const commonDir = linked?.commonDir ?? gitDir
    if (gitDir !== null && commonDir !== null) {
      const has = (name: string): boolean => existsSync(join(commonDir, name))
      if (has('commondir')) throw LEADS_OUTSIDE
      if (['HEAD', 'objects', 'refs'].every(has)) return { holder, gitDir, commonDir }
    }
    if (holder === dirname(holder)) throw NO_REPOSITORY
  }
}

/** The folder `.git` of a folder; null if it has none. What is not a folder leads to another repository. */
function gitDirIn(holder: string): string | null {
  const path = join(holder, '.git')
  const stats = lstatSync(path, { throwIfNoEntry: false })
  if (stats === undefined || stats.isDirectory()) return stats ? path : null
  throw LEADS_OUTSIDE
}

type Made = Answers['branch']

/** Whoever asked for it is in the log. */
const IDENTITY = {
  GIT_AUTHOR_NAME: 'retrAI',
  GIT_AUTHOR_EMAIL: 'retrai@localhost',
  GIT_COMMITTER_NAME: 'retrAI',
  GIT_COMMITTER_EMAIL: 'retrai@localhost',
}

/** What git says of a path to which a part of a patch cannot be applied. */
const CONFLICT =
  /^error: (.*): (?:patch does not apply|already exists in index|does not exist in index|wrong type|.*: binary patch does not apply)$/gm

/** The view of the repository has an index of its own, and no hooks. */
export async function branch(
  { name, message, isLook }: Questions['branch'],
  patch: Buffer,
): Promise<Made> {
  const not = (problem: string): Made => ({ commit: null, conflicts: [], problem })
  const made = await inView(async (git, { holder }): Promise<Made> => {
    const ref = `refs/heads/${name}`
    const text = async (args: readonly string[], input?: Buffer) => {
      const { exitCode, stderr, body } = await git(args, { input: input ?? null, env: IDENTITY })
      return { isDone: exitCode === 0, said: stderr.trim(), out: body.toString().trim() }
    }
    if (!(await text(['check-ref-format', ref])).isDone)
      return not(`${name} is no name of a branch.`)
    if ((await text(['show-ref', '--verify', '--quiet', ref])).isDone) {
      return not(`There is a branch ${name} already.`)
    }
    const head = await text(['rev-parse', '--verify', '--quiet', 'HEAD^{commit}'])
    if (!head.isDone) return not('The repository has no commit yet.')
    const read = await text(['read-tree', head.out])
    if (!read.isDone) return not(read.said)
    const folder = relative(holder, ROOT)
    const place = folder === '' ? [] : [`--directory=${folder}`]
    const apply = ['apply', '--cached', '--binary', '--whitespace=nowarn', ...place]
    const applied = await text([...apply, ...(isLook ? ['--check'] : []), '-'], patch)
    if (!applied.isDone) {
      const conflicts = [...applied.said.matchAll(CONFLICT)].map(([, path = '']) =>
        relative(folder, path),
      )
      return conflicts.length > 0 ? { commit: null, conflicts, problem: null } : not(applied.said)
    }
    if (isLook) return { commit: null, conflicts: [], problem: null }
    const tree = await text(['write-tree'])
    const commit = await text(['commit-tree', tree.out, '-p', head.out], Buffer.from(message))
    const created = commit.isDone ? await text(['update-ref', ref, commit.out, '']) : commit
    return created.isDone ? { commit: commit.out, conflicts: [], problem: null } : not(created.said)
  })
  return made instanceof GitRefusal ? not(made.advice) : made
}
