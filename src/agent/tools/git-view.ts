import { mkdir, open, realpath, symlink, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { err, ok, type Result } from 'neverthrow'
import { withTemporaryFolder } from '../../lib/temporary-folder.ts'
import {
  confine,
  isInside,
  type OpenedPath,
  openForReading,
  pathForCommands,
  readConfined,
} from './confine.ts'
import {
  closeRepository,
  entriesOf,
  findRepository,
  type GitProblem,
  MAX_NAMES_BYTES,
  type Repository,
} from './git-repository.ts'
import type { ToolContext } from './tool.ts'

const MAX_CONFIG_BYTES = 1024 * 1024
const MAX_INDEX_BYTES = 512 * 1024 * 1024
const TIMEOUT_MS = 30_000

/**
 * Calls `use` with an environment in which git reads the repository of the project and runs nothing that the
 * repository names. Instead of `.git`, git sees a folder made for this call: the history, a copy of the index, and a
 * configuration of the few settings below. Filters, hooks, programs, included files and remotes are not copied, so
 * they cannot act. Nothing in the repository is written.
 */
export async function withGitView<T>(
  context: ToolContext,
  use: (env: Readonly<Record<string, string>>, readable: readonly string[]) => Promise<T>,
): Promise<Result<T, GitProblem>> {
  const found = await findRepository(context.folder?.path ?? (await realpath(context.cwd)))
  if (found.isErr()) return err(found.error)
  const { holder } = found.value
  try {
    return await withTemporaryFolder(context.scratchDir, 'git-', async (view) => {
      const made = await fillView(view, found.value, context)
      if (made.isErr()) return err(made.error)
      return ok(await use(environment(view, holder), [view, holder]))
    })
  } finally {
    await closeRepository(found.value)
  }
}

const environment = (view: string, holder: string): Record<string, string> => ({
  ...NEUTRAL,
  GIT_DIR: view,
  GIT_WORK_TREE: holder,
  GIT_INDEX_FILE: join(view, 'index'),
})

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

const unusable = (message: string) => err({ type: 'unusable', message } as const)

/** The names below `objects` that hold objects. */
const isObjectFolder = (name: string): boolean => name === 'pack' || /^[0-9a-f]{2}$/.test(name)

async function fillView(
  view: string,
  repository: Repository,
  context: ToolContext,
): Promise<Result<void, GitProblem>> {
  const { root, gitDir, commonDir } = repository
  const project = { cwd: root, dataDir: null }
  const head = await readConfined(project, join(gitDir.real, 'HEAD'), MAX_NAMES_BYTES)
  if (head.isErr()) return unusable('.git/HEAD cannot be read')
  const alternates = await alternatesOf(root, join(commonDir.real, 'objects'))
  if (alternates.isErr()) return err(alternates.error)
  const config = await configOf(repository)
  if (config.isErr()) return err(config.error)
  // git lists the settings of a file that it does not use as its configuration.
  await writeFile(join(view, 'theirs'), config.value)
  const settings = await settingsIn(join(view, 'theirs'), context)
  if (settings.isErr()) return err(settings.error)

  await mkdir(join(view, 'objects', 'info'), { recursive: true })
  await mkdir(join(view, 'info'))
  await writeFile(join(view, 'config'), settings.value)
  await writeFile(join(view, 'HEAD'), head.value)
  await writeFile(join(view, 'objects/info/alternates'), alternates.value.join('\n'))
  await linkParts(view, repository, context.isolated)
  return copyIndex(join(gitDir.real, 'index'), root, join(view, 'index'))
}

/** Links the view to what git reads in the repository itself. None of it names a program. */
async function linkParts(
  view: string,
  { gitDir, commonDir }: Repository,
  isolated: boolean,
): Promise<void> {
  const namesIn = async (folder: OpenedPath, path: string) =>
    (await entriesOf(folder, path)).map(({ name }) => name)
  const link = async (folder: OpenedPath, paths: readonly string[]): Promise<void> => {
    for (const path of paths) {
      await symlink(join(pathForCommands(folder, isolated), path), join(view, path))
    }
  }
  const objects = (await namesIn(commonDir, 'objects')).filter(isObjectFolder)
  const info = (await entriesOf(commonDir, 'info')).filter(
    (entry) => entry.isFile() && (gitDir === commonDir || entry.name !== SPARSE),
  )
  await link(commonDir, [
    ...(await namesIn(commonDir, '.')).filter((name) => LINKED.has(name)),
    ...objects.map((name) => join('objects', name)),
    ...info.map(({ name }) => join('info', name)),
  ])
  const parts = (await namesIn(gitDir, '.')).filter((name) => name.startsWith('sharedindex.'))
  const own = gitDir === commonDir ? [] : await entriesOf(gitDir, 'info')
  const isSparse = own.some((entry) => entry.isFile() && entry.name === SPARSE)
  await link(gitDir, isSparse ? [...parts, join('info', SPARSE)] : parts)
}

const LINKED: ReadonlySet<string> = new Set(['refs', 'packed-refs', 'reftable', 'shallow'])
/** In `info`, the only file that belongs to one worktree. */
const SPARSE = 'sparse-checkout'

/** The settings of a repository and those of its linked worktree, which only matter if git uses both. */
async function configOf(repository: Repository): Promise<Result<Buffer, GitProblem>> {
  const { root, gitDir, commonDir } = repository
  const own = gitDir === commonDir ? [] : [join(gitDir.real, 'config.worktree')]
  const texts: Buffer[] = []
  for (const path of [join(commonDir.real, 'config'), ...own]) {
    const text = await readConfined({ cwd: root, dataDir: null }, path, MAX_CONFIG_BYTES)
    if (text.isOk()) texts.push(text.value, Buffer.from('\n'))
    else if (text.error.type !== 'not_found')
      return unusable('.git/config is not a regular file of at most 1 MiB')
  }
  return ok(Buffer.concat(texts))
}

async function copyIndex(
  path: string,
  root: string,
  target: string,
): Promise<Result<void, GitProblem>> {
  const confined = await confine({ cwd: root, dataDir: null }, path)
  const opened = confined.isErr() ? err(confined.error) : await openForReading(confined.value)
  if (opened.isErr()) {
    if (opened.error.type === 'not_found') return ok(undefined)
    return unusable('.git/index is not a regular file')
  }
  const { file, stats } = opened.value
  try {
    if (stats.size > MAX_INDEX_BYTES) return unusable('.git/index is too large')
    const copy = await open(target, 'wx', 0o600)
    const source = file.createReadStream({ autoClose: false, start: 0, end: MAX_INDEX_BYTES })
    await pipeline(source, copy.createWriteStream())
    return ok(undefined)
  } finally {
    await file.close()
  }
}

/** The other folders of objects that a repository names, and those that they name in turn. */
async function alternatesOf(
  root: string,
  objects: string,
  depth = 0,
): Promise<Result<readonly string[], GitProblem>> {
  const what = '.git/objects/info/alternates'
  const project = { cwd: root, dataDir: null }
  const content = await readConfined(project, join(objects, 'info/alternates'), MAX_NAMES_BYTES)
  if (content.isErr()) {
    return content.error.type === 'not_found' ? ok([]) : err({ type: 'leads_outside', what })
  }
  const found: string[] = []
  for (const line of content.value.toString().split('\n')) {
    if (line === '' || line.startsWith('#')) continue
    const real = await realpath(resolve(objects, line)).catch(() => null)
    if (real === null || !isInside(root, real) || depth >= 5) {
      return err({ type: 'leads_outside', what })
    }
    const further = await alternatesOf(root, real, depth + 1)
    if (further.isErr()) return err(further.error)
    found.push(real, ...further.value)
  }
  return ok(found)
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

/** Picks the settings that are used from a file, in the format of a configuration. */
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
    readable: [dirname(file)],
    signal,
  })
  if (result.end !== 'exited') return err({ type: 'command', result })
  if (result.exitCode !== 0) return unusable('.git/config cannot be read')
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
