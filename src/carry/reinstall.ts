import { randomUUID } from 'node:crypto'
import { basename, dirname, join } from 'node:path'
import type { Network } from '../domain/network.ts'
import { present } from '../domain/present.ts'
import { pathBytes } from '../lib/git-objects.ts'
import type { CheckHomeOf } from '../sandbox/check-homes.ts'
import type { Workspace } from '../workspace/workspace.ts'
import type { CleanCopy, PutFile } from './clean-copy.ts'

/** The lock files of npm, with which it installs `node_modules` beside them. */
const LOCKS = ['package-lock.json', 'npm-shrinkwrap.json']
/** What leads npm to other packages: it is as it was at the start, too. */
const SETTINGS = '.npmrc'
const INSTALL = 'npm ci --no-audit --no-fund'
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
  const locks = new Set<string>()
  for (const folder of folders) {
    const lock = network === 'none' ? null : await lockOf(folder, original)
    if (lock === null) return 'changed'
    locks.add(lock)
  }
  const aside: string[] = []
  const id = randomUUID()
  const asideOf = (folder: string): string => `${folder}.${id}`
  for (const path of folders) {
    const moved = await rename(copy.files, path, asideOf(path))
    if (moved) aside.push(path)
  }
  let isDone = true
  for (const lock of locks) isDone &&= await install(copy, lock, asked)
  const left = isDone ? aside.map(asideOf) : folders
  const removed = await copy.put(left.map((path) => ({ path: pathBytes(path), content: null })))
  if (isDone) return removed.isOk() ? 'reinstalled' : 'changed'
  for (const path of aside) await rename(copy.files, asideOf(path), path)
  return 'changed'
}

/** The lock file of the start beside a folder of packages, or the nearest above it; null if npm does not make that folder. */
async function lockOf(path: string, original: OriginalFile): Promise<string | null> {
  if (basename(path) !== 'node_modules') return null
  for (let at = dirname(path); ; at = dirname(at)) {
    for (const name of LOCKS) {
      if ((await original(join(at, name))) !== null) return join(at, name)
    }
    if (at === '.') return null
  }
}

const rename = async (files: Workspace, path: string, to: string): Promise<boolean> =>
  (await files.ask('rename', { path, to, overwrite: false })).isOk()

async function install(
  copy: CleanCopy,
  lock: string,
  { original, network, checkHome, signal }: Asked,
): Promise<boolean> {
  const at = dirname(lock)
  const own: PutFile[] = []
  const wanted: PutFile[] = []
  for (const path of [lock, join(at, SETTINGS)]) {
    const bytes = pathBytes(path)
    wanted.push({ path: bytes, ...((await original(path)) ?? { content: null }) })
    const read = await copy.files.ask('read', { path, bytes: MAX_BYTES })
    own.push({ path: bytes, content: read.isOk() ? read.value.body : null })
  }
  if ((await copy.put(wanted)).isErr()) return false
  const { end, exitCode } = await copy.runCommand({
    file: 'bash',
    args: ['-c', INSTALL],
    cwd: join(copy.cwd, at),
    timeoutMs: TIMEOUT_MS,
    network,
    signal,
    ...present({ checkHome }),
  })
  const isRestored = (await copy.put(own)).isOk()
  return isRestored && end === 'exited' && exitCode === 0
}
