import type { Dirent } from 'node:fs'
import {
  lstat,
  mkdir,
  mkdtemp,
  open,
  readdir,
  realpath,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { err, ok, type Result } from 'neverthrow'
import type { CommandResult } from '../../runner/command.ts'
import {
  confine,
  isInside,
  type OpenedPath,
  openFolder,
  openForReading,
  pathForCommands,
  pathIn,
  readConfined,
} from './confine.ts'
import type { ToolContext } from './tool.ts'

/** Of files that hold a name or a few: HEAD, a gitfile, alternates. */
const MAX_NAMES_BYTES = 64 * 1024
const MAX_CONFIG_BYTES = 1024 * 1024
const MAX_INDEX_BYTES = 512 * 1024 * 1024
const TIMEOUT_MS = 30_000

/** Why the repository of a project is not read. */
export type GitProblem =
  | { readonly type: 'no_repository' }
  /** Something of it leads to a place outside of the folder that it is in. */
  | { readonly type: 'leads_outside'; readonly what: string }
  | { readonly type: 'worktree' }
  | { readonly type: 'unusable'; readonly message: string }
  /** git itself could not be run. */
  | { readonly type: 'command'; readonly result: CommandResult }

type Repository = {
  /** The folder that holds `.git`. */
  readonly holder: string
  readonly gitDir: OpenedPath
}

/**
 * Lends an environment in which git reads the repository of the project, and nothing that the repository names is
 * run. git is shown a folder made for this call instead of `.git`: in it are the history, a copy of the index, and a
 * configuration of the few settings below. What is not copied cannot act: filters, hooks, programs, included files,
 * remotes. Nothing in the repository is written.
 */
export async function withGitView<T>(
  context: ToolContext,
  use: (env: Readonly<Record<string, string>>) => Promise<T>,
): Promise<Result<T, GitProblem>> {
  const found = await findRepository(await realpath(context.cwd))
  if (found.isErr()) return err(found.error)
  const { holder, gitDir } = found.value
  try {
    await mkdir(context.scratchDir, { recursive: true, mode: 0o700 })
    const view = await mkdtemp(join(context.scratchDir, 'git-'))
    try {
      const made = await fillView(view, found.value, context)
      if (made.isErr()) return err(made.error)
      return ok(await use(environment(view, holder)))
    } finally {
      await rm(view, { recursive: true, force: true })
    }
  } finally {
    await gitDir.file.close()
  }
}

const environment = (view: string, holder: string): Record<string, string> => ({
  ...NEUTRAL,
  GIT_DIR: view,
  GIT_WORK_TREE: holder,
  GIT_INDEX_FILE: join(view, 'index'),
})

/** Keeps the settings of the machine out too, and every way to reach another one. */
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

/** Looks for `.git` in the project and in the folders above it, as git does. */
async function findRepository(cwd: string): Promise<Result<Repository, GitProblem>> {
  for (let holder = cwd; ; holder = dirname(holder)) {
    const path = await gitDirIn(holder)
    if (path.isErr()) return err(path.error)
    if (path.value !== null) {
      const gitDir = await openRepository(holder, path.value)
      if (gitDir.isErr()) return err(gitDir.error)
      if (gitDir.value !== null) return ok({ holder, gitDir: gitDir.value })
    }
    if (holder === dirname(holder)) return err({ type: 'no_repository' })
  }
}

/** Where `.git` of a folder leads to, which must be in that folder; null if there is none. */
async function gitDirIn(holder: string): Promise<Result<string | null, GitProblem>> {
  const path = join(holder, '.git')
  const stats = await lstat(path).catch(() => null)
  if (stats === null) return ok(null)
  if (stats.isDirectory()) return ok(path)
  let target = path
  if (!stats.isSymbolicLink()) {
    const content = await readConfined({ cwd: holder, dataDir: null }, '.git', MAX_NAMES_BYTES)
    const named = content.isOk() ? /^gitdir: (.+?)\r?\n?$/.exec(content.value.toString()) : null
    if (named?.[1] === undefined) return err({ type: 'no_repository' })
    target = resolve(holder, named[1])
  }
  const real = await realpath(target).catch(() => null)
  return real !== null && isInside(holder, real)
    ? ok(real)
    : err({ type: 'leads_outside', what: '.git' })
}

/** Opens a folder if it is a repository. A link in it must not lead out of the folder that holds it. */
async function openRepository(
  holder: string,
  path: string,
): Promise<Result<OpenedPath | null, GitProblem>> {
  const confined = await confine({ cwd: holder, dataDir: null }, path)
  if (confined.isErr()) return err({ type: 'leads_outside', what: '.git' })
  const opened = await openFolder(confined.value)
  if (opened.isErr()) return ok(null)
  const gitDir = opened.value
  const names = new Set((await entriesOf(gitDir, '.')).map(({ name }) => name))
  const isRepository = ['HEAD', 'objects', 'refs'].every((name) => names.has(name))
  const problem = names.has('commondir')
    ? ({ type: 'worktree' } as const)
    : isRepository
      ? await linkOut(holder, gitDir)
      : null
  if (isRepository && problem === null) return ok(gitDir)
  await gitDir.file.close()
  return problem === null ? ok(null) : err(problem)
}

const entriesOf = (gitDir: OpenedPath, path: string): Promise<readonly Dirent[]> =>
  readdir(pathIn(gitDir, path), { withFileTypes: true }).catch(() => [])

/** The names below `objects` that hold objects. */
const isObjectFolder = (name: string): boolean => name === 'pack' || /^[0-9a-f]{2}$/.test(name)

async function linkOut(holder: string, gitDir: OpenedPath): Promise<GitProblem | null> {
  const objects = await entriesOf(gitDir, 'objects')
  const folders = objects.map(({ name }) => join('objects', name))
  for (const folder of ['.', 'info', 'refs', 'objects', ...folders]) {
    for (const entry of await entriesOf(gitDir, folder)) {
      if (!entry.isSymbolicLink()) continue
      const what = join('.git', folder, entry.name)
      const real = await realpath(pathIn(gitDir, join(folder, entry.name))).catch(() => null)
      if (real === null || !isInside(holder, real)) return { type: 'leads_outside', what }
    }
  }
  return null
}

async function fillView(
  view: string,
  { holder, gitDir }: Repository,
  context: ToolContext,
): Promise<Result<void, GitProblem>> {
  const project = { cwd: holder, dataDir: null }
  const inGitDir = (name: string): string => join(gitDir.real, name)
  const head = await readConfined(project, inGitDir('HEAD'), MAX_NAMES_BYTES)
  if (head.isErr()) return err({ type: 'unusable', message: '.git/HEAD cannot be read' })
  const alternates = await alternatesOf(holder, inGitDir('objects'))
  if (alternates.isErr()) return err(alternates.error)
  const config = await readConfined(project, inGitDir('config'), MAX_CONFIG_BYTES)
  if (config.isErr() && config.error.type !== 'not_found') {
    return err({ type: 'unusable', message: '.git/config is not a regular file of at most 1 MiB' })
  }
  // Settings are read where they cannot act.
  await writeFile(join(view, 'theirs'), config.isOk() ? config.value : '')
  const settings = await settingsIn(join(view, 'theirs'), context)
  if (settings.isErr()) return err(settings.error)

  await mkdir(join(view, 'objects', 'info'), { recursive: true })
  await mkdir(join(view, 'info'))
  await writeFile(join(view, 'config'), settings.value)
  await writeFile(join(view, 'HEAD'), head.value)
  await writeFile(join(view, 'objects/info/alternates'), alternates.value.join('\n'))
  const names = (await entriesOf(gitDir, '.'))
    .map(({ name }) => name)
    .filter((name) => LINKED.has(name) || name.startsWith('sharedindex.'))
  const objects = (await entriesOf(gitDir, 'objects')).map(({ name }) => name)
  const info = (await entriesOf(gitDir, 'info')).filter((entry) => entry.isFile())
  for (const path of [
    ...names,
    ...objects.filter(isObjectFolder).map((name) => join('objects', name)),
    ...info.map(({ name }) => join('info', name)),
  ]) {
    await symlink(join(pathForCommands(gitDir), path), join(view, path))
  }
  return copyIndex(inGitDir('index'), holder, join(view, 'index'))
}

/** What git reads in the repository itself: nothing of it names a program. */
const LINKED: ReadonlySet<string> = new Set(['refs', 'packed-refs', 'reftable', 'shallow'])

async function copyIndex(
  path: string,
  holder: string,
  target: string,
): Promise<Result<void, GitProblem>> {
  const confined = await confine({ cwd: holder, dataDir: null }, path)
  const opened = confined.isErr() ? err(confined.error) : await openForReading(confined.value)
  if (opened.isErr()) {
    if (opened.error.type === 'not_found') return ok(undefined)
    return err({ type: 'unusable', message: '.git/index is not a regular file' })
  }
  const { file, stats } = opened.value
  try {
    if (stats.size > MAX_INDEX_BYTES)
      return err({ type: 'unusable', message: '.git/index is too large' })
    const copy = await open(target, 'wx', 0o600)
    const source = file.createReadStream({ autoClose: false, start: 0, end: MAX_INDEX_BYTES })
    await pipeline(source, copy.createWriteStream())
    return ok(undefined)
  } finally {
    await file.close()
  }
}

/** The further folders of objects that a repository names, and those that they name. */
async function alternatesOf(
  holder: string,
  objects: string,
  depth = 0,
): Promise<Result<readonly string[], GitProblem>> {
  const what = '.git/objects/info/alternates'
  const project = { cwd: holder, dataDir: null }
  const content = await readConfined(project, join(objects, 'info/alternates'), MAX_NAMES_BYTES)
  if (content.isErr()) {
    return content.error.type === 'not_found' ? ok([]) : err({ type: 'leads_outside', what })
  }
  const found: string[] = []
  for (const line of content.value.toString().split('\n')) {
    if (line === '' || line.startsWith('#')) continue
    const real = await realpath(resolve(objects, line)).catch(() => null)
    if (real === null || !isInside(holder, real) || depth >= 5) {
      return err({ type: 'leads_outside', what })
    }
    const further = await alternatesOf(holder, real, depth + 1)
    if (further.isErr()) return err(further.error)
    found.push(real, ...further.value)
  }
  return ok(found)
}

const BOOLEAN_OR_WORD = /^[\w.-]{0,64}$/
/** A name of a ref or a remote: no transport of git reads it. */
const REF = /^[^\0\n]{0,1000}$/

/** The settings that say how files and history are stored, and how they are shown. No other is used. */
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

/** The settings in a file that are used, written as a file of their own. */
async function settingsIn(
  file: string,
  { runCommand, signal }: ToolContext,
): Promise<Result<string, GitProblem>> {
  const result = await runCommand({
    file: 'git',
    args: ['config', '--file', file, '--no-includes', '--list', '-z'],
    cwd: dirname(file),
    timeoutMs: TIMEOUT_MS,
    maxBytes: 4 * MAX_CONFIG_BYTES,
    env: { ...NEUTRAL, GIT_DIR: '/dev/null' },
    signal,
  })
  if (result.end !== 'exited') return err({ type: 'command', result })
  if (result.exitCode !== 0) return err({ type: 'unusable', message: '.git/config cannot be read' })
  const lines = result.stdout.split('\0').flatMap((entry) => {
    const end = entry.indexOf('\n')
    // A key without a value is true.
    const [key, value] = end < 0 ? [entry, 'true'] : [entry.slice(0, end), entry.slice(end + 1)]
    const isUsed = SETTINGS.some(([keys, values]) => keys.test(key) && values.test(value))
    return isUsed ? [written(key, value)] : []
  })
  return ok(lines.join(''))
}

function written(key: string, value: string): string {
  const quoted = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`
  const [first, last] = [key.indexOf('.'), key.lastIndexOf('.')]
  const sub = first === last ? '' : ` ${quoted(key.slice(first + 1, last))}`
  return `[${key.slice(0, first)}${sub}]\n\t${key.slice(last + 1)} = ${quoted(value)}\n`
}

/** A sentence for the model. */
export function describeGitProblem(problem: Exclude<GitProblem, { type: 'command' }>): string {
  switch (problem.type) {
    case 'no_repository':
      return 'fatal: not a git repository (or any of the parent directories): .git'
    case 'leads_outside':
      return `${problem.what} leads out of the project's folder. The git tools read a repository only if all of it is in there; use bash_exec for others.`
    case 'worktree':
      return 'This is a linked worktree: its repository is outside of the project. The git tools do not read it; use bash_exec.'
    case 'unusable':
      return `The repository cannot be read: ${problem.message}.`
  }
}
