import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import type { Network } from '../../domain/network.ts'
import { present } from '../../domain/present.ts'
import type { HashedPath, LeftOut } from '../../domain/snapshots.ts'
import { pathBytes } from '../../lib/git-objects.ts'
import type { CheckHomeOf } from '../../sandbox/check-homes.ts'
import type { Workspace } from '../../workspace/workspace.ts'
import type { CleanCopy, PutFile } from './clean-copy.ts'

const NAMES: ReadonlySet<string> = new Set(['node_modules', '.venv', 'venv', 'vendor'])

const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1)
/** The folder of a path; '' for that of the project. */
const folderOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/')))

/** The folder of packages that a path is, or is in, by its name; null if there is none. */
function dependencyOf(path: string): string | null {
  const names = path.split('/')
  const at = names.findIndex((name) => NAMES.has(name))
  return at < 0 ? null : names.slice(0, at + 1).join('/')
}

/** Whether an ignored path is packages that the project needs. */
export const isDependency = (path: string): boolean => dependencyOf(path) !== null

/** Paths of what snapshots leave out and the run changed, made or, of dependencies, removed. */
export type ChangedLeftOut = {
  readonly dependencies: readonly string[]
  /** Other ignored files and folders, such as those that a build makes. */
  readonly ignored: readonly string[]
  readonly repositories: readonly string[]
}

/**
 * @param before the hashes of the start; null if there are none, so all counts as changed
 * @param now of what the last snapshot left out, which is `leftOut`
 */
export function changedLeftOut(
  before: readonly HashedPath[] | null,
  now: readonly HashedPath[],
  leftOut: readonly LeftOut[],
): ChangedLeftOut {
  const known = new Map(before?.map(({ path, sha256 }) => [path, sha256]))
  const here = new Set(now.map(({ path }) => path))
  const isChanged = ({ path, sha256 }: HashedPath) => sha256 === null || known.get(path) !== sha256
  const changed = now.filter(isChanged).map(({ path }) => path)
  const gone = [...known.keys()].filter((path) => isDependency(path) && !here.has(path))
  const ofRepositories = new Set(
    leftOut.flatMap(({ path, why }) => (why === 'repository' ? [path] : [])),
  )
  const repositories = changed.filter((path) => ofRepositories.has(path))
  const others = changed.filter((path) => !ofRepositories.has(path))
  return {
    // A folder with rules of its own is more than one path.
    dependencies: [...new Set([...others, ...gone].flatMap((path) => dependencyOf(path) ?? []))],
    ignored: others.filter((path) => !isDependency(path)),
    repositories,
  }
}

/** How packages are installed as a lock file says. */
type Installer = {
  readonly lock: string
  /** The folder that it makes beside the lock file. */
  readonly makes: string
  /** What leads it to other packages: these are as they were at the start, too. */
  readonly settings: readonly string[]
  /** For bash. */
  readonly command: string
}

const npm = (lock: string): Installer => ({
  ...{ lock, makes: 'node_modules', settings: ['.npmrc'], command: 'npm ci --no-audit --no-fund' },
})

const INSTALLERS: readonly Installer[] = [
  ...[npm('package-lock.json'), npm('npm-shrinkwrap.json')],
  {
    ...{ lock: 'pnpm-lock.yaml', makes: 'node_modules' },
    settings: ['.npmrc', 'pnpm-workspace.yaml', '.pnpmfile.cjs'],
    command: 'pnpm install --frozen-lockfile',
  },
  {
    ...{ lock: 'yarn.lock', makes: 'node_modules' },
    settings: ['.npmrc', '.yarnrc', '.yarnrc.yml'],
    command:
      'case $(yarn --version) in 1.*) yarn install --frozen-lockfile ;; *) yarn install --immutable ;; esac',
  },
  {
    ...{ lock: 'uv.lock', makes: '.venv', settings: ['uv.toml'] },
    command: 'uv sync --locked --all-extras --all-groups',
  },
]

const TIMEOUT_MS = 10 * 60_000
/** A larger lock file is not used. */
const MAX_BYTES = 64 * 1024 * 1024

/** A file as it was at the start: of the first snapshot, or one that it left out and the run did not change. Null if there was none. */
export type OriginalFile = (path: string) => Promise<Omit<PutFile, 'path'> | null>

type Asked = {
  /** Folders of dependencies that the run changed. */
  readonly folders: readonly string[]
  readonly original: OriginalFile
  /** What the commands of the run reach. */
  readonly network: Network
  readonly checkHome?: CheckHomeOf | null
  readonly signal: AbortSignal
}

/**
 * Installs dependencies in a copy, from the lock files that the project had at the start. If that fails, the copy has them as the
 * run left them. Scripts of the project may run: put what is protected into the copy before, and again afterwards.
 */
export async function reinstall(copy: CleanCopy, asked: Asked): Promise<'reinstalled' | 'changed'> {
  const { folders, network, original } = asked
  const found = new Map<string, { readonly at: string; readonly by: Installer }>()
  for (const folder of folders) {
    const one = network === 'none' ? null : await installerOf(folder, original)
    if (one === null) return 'changed'
    found.set(`${one.at}/${one.by.lock}`, one)
  }
  const aside: string[] = []
  const asideOf = (folder: string): string => `${folder}.${id}`
  const id = randomUUID()
  for (const path of folders) {
    const moved = await rename(copy.files, path, asideOf(path))
    if (moved) aside.push(path)
  }
  let isDone = true
  for (const { at, by } of found.values()) isDone &&= await install(copy, at, by, asked)
  const left = isDone ? aside.map(asideOf) : folders
  const removed = await copy.put(left.map((path) => ({ path: pathBytes(path), content: null })))
  if (isDone) return removed.isOk() ? 'reinstalled' : 'changed'
  for (const path of aside) await rename(copy.files, asideOf(path), path)
  return 'changed'
}

/** The lock file in the folder of the dependencies, or the nearest above it. */
async function installerOf(path: string, original: OriginalFile) {
  for (let at = folderOf(path); ; at = folderOf(at)) {
    for (const by of INSTALLERS) {
      const isIts = by.makes === nameOf(path) && (await original(join(at, by.lock))) !== null
      if (isIts) return { at, by }
    }
    if (at === '') return null
  }
}

const rename = async (files: Workspace, path: string, to: string): Promise<boolean> =>
  (await files.ask('rename', { path, to, overwrite: false })).isOk()

async function install(
  copy: CleanCopy,
  at: string,
  { lock, settings, command }: Installer,
  { original, network, checkHome, signal }: Asked,
): Promise<boolean> {
  const paths = [lock, ...settings].map((name) => join(at, name))
  const own: PutFile[] = []
  const wanted: PutFile[] = []
  for (const path of paths) {
    const bytes = pathBytes(path)
    wanted.push({ path: bytes, ...((await original(path)) ?? { content: null }) })
    const read = await copy.files.ask('read', { path, bytes: MAX_BYTES })
    own.push({ path: bytes, content: read.isOk() ? read.value.body : null })
  }
  if ((await copy.put(wanted)).isErr()) return false
  const { end, exitCode } = await copy.runCommand({
    ...{ file: 'bash', args: ['-c', command], cwd: join(copy.cwd, at), timeoutMs: TIMEOUT_MS },
    ...{ network, signal, ...present({ checkHome }) },
  })
  const isRestored = (await copy.put(own)).isOk()
  return isRestored && end === 'exited' && exitCode === 0
}
