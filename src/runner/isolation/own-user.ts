import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, readFileSync, statSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import type { ProjectFolder } from '../../domain/project-folder.ts'
import { lives, spawned } from '../child.ts'
import { openFolder, SandboxError } from './project-folder.ts'
import { repositoryAround } from './repositories.ts'
import type { OwnUser, Sandbox } from './sandbox.ts'

/** Above the ids that systems give to users, containers and subordinate users, and below 2^31. */
export const OWN_ID = 2_000_000_000

/** Files in which programs look for the name of that user: where they are, and their names in the folder of the server. */
export const ACCOUNTS = [
  {
    path: '/etc/passwd',
    name: 'passwd',
    line: `agent:x:${OWN_ID}:${OWN_ID}::/home/agent:/bin/bash`,
  },
  { path: '/etc/group', name: 'group', line: `agent:x:${OWN_ID}:` },
] as const

/** How long a namespace in which the project belongs to another user is kept after its last command. */
const IDLE_MS = 60_000
const READY_WITHIN_MS = 10_000
/** The exit code of `mount` if the kernel refused the mount, such as one of a file system that cannot map ids. */
const REFUSED = 32

/** Shows files of root as those of the user, and stores those of the user as those of root. All others stay. */
const MAP = `X-mount.idmap=b:0:${OWN_ID}:1 b:1:1:${OWN_ID - 1}`
/**
 * Keeps the namespace until the pipe is closed: the runner's end of it closes with the runner. What no container shows of
 * the kernel is unmounted there, because bwrap reads the list of all mounts again for each that it makes.
 */
const HOLD = `mount=$1 umount=$2 map=$3 path=$4
while read -r _ _ _ _ at _; do
  case $at in /sys/fs/*|/sys/kernel/*|/dev/pts|/dev/shm|/dev/mqueue|/dev/hugepages) of_kernel="$at $of_kernel";; esac
done </proc/self/mountinfo
"$umount" --lazy $of_kernel 2>/dev/null
"$mount" --bind -o "$map" "$path" "$path" || exit
echo ready; read -r _`

/** The user, if the programs that it needs are installed. */
export function ownUserFrom(find: (name: string) => string | null): OwnUser | null {
  const [unshare, mount, umount, nsenter] = ['unshare', 'mount', 'umount', 'nsenter'].map(find)
  const areThere = unshare && mount && umount && nsenter
  return areThere ? { id: OWN_ID, unshare, mount, umount, nsenter } : null
}

/** Writes the accounts of the machine with that of the user. */
export async function writeAccounts(folder: string): Promise<void> {
  for (const { path, name, line } of ACCOUNTS) {
    const accounts = await readFile(path, 'utf8').catch(() => '')
    await writeFile(join(folder, name), `${accounts.trimEnd()}\n${line}\n`, { mode: 0o644 })
  }
}

/** Keeps a namespace. Until it is known whether it was started, it may have no pipes. */
type Holder = ChildProcessByStdio<Writable, Readable, null>

type Held = {
  readonly holder: Holder
  /** False if the file system of the project cannot map ids. Rejects as `isMapped` does. */
  readonly ready: Promise<boolean>
  users: number
  idle: NodeJS.Timeout | undefined
}

/**
 * Lets a command in a project of root run as another user. An id-mapped mount covers the project in a mount namespace of
 * its own, so nothing of it is seen elsewhere, and the files of the project keep their owner.
 */
export class OwnUserProjects {
  readonly #held = new Map<string, Held>()
  readonly #readyWithinMs: number

  /** @param readyWithinMs how long the mount of a project may take */
  constructor(readyWithinMs = READY_WITHIN_MS) {
    this.#readyWithinMs = readyWithinMs
  }

  /**
   * Calls `run` with the sandbox in which the command has its own user, or without one if the file system of the
   * project cannot map ids. Nothing changes for projects of other users. Rejects with a `SandboxError`, or for a shortage,
   * if it is not known whether the file system can: the next command tries again.
   */
  async with<T>(sandbox: Sandbox, run: (sandbox: Sandbox) => Promise<T>): Promise<T> {
    const { ownUser } = sandbox
    const project = ownUser === null ? null : placeOf(sandbox)
    if (ownUser === null || project === null) return run(sandbox)
    if (hasMountsInside(project.path)) return run({ ...sandbox, ownUser: null })
    const place = rootAround(project, sandbox) ?? project
    const held = this.#hold(place, ownUser)
    held.users += 1
    clearTimeout(held.idle)
    try {
      if (!(await this.#untilReady(held))) return await run({ ...sandbox, ownUser: null })
      const enter = [ownUser.nsenter, `--target=${held.holder.pid}`, '--mount', '--']
      return await run({ ...sandbox, enter: [...enter, ...sandbox.enter] })
    } finally {
      held.users -= 1
      if (held.users === 0) held.idle = setTimeout(() => this.#release(held), IDLE_MS).unref()
    }
  }

  async #untilReady(held: Held): Promise<boolean> {
    try {
      return await held.ready
    } catch (cause) {
      this.#release(held)
      held.holder.kill('SIGKILL')
      throw cause
    }
  }

  #hold(place: Place, ownUser: OwnUser): Held {
    const key = JSON.stringify(place)
    const before = this.#held.get(key)
    if (before !== undefined && lives(before.holder)) return before
    const { unshare, mount, umount } = ownUser
    const args = ['--mount', '--propagation', 'private', '/bin/sh', '-c', HOLD, 'sh']
    const holder = spawn(unshare, [...args, mount, umount, MAP, place.path], {
      ...{ cwd: '/', env: {}, stdio: ['pipe', 'pipe', 'ignore'] as const },
    })
    const ready = isMapped(holder, place, this.#readyWithinMs)
    const held = { holder, ready, users: 0, idle: undefined }
    this.#held.set(key, held)
    return held
  }

  #release(held: Held): void {
    held.holder.stdin?.destroy()
    for (const [key, one] of this.#held) if (one === held) this.#held.delete(key)
  }
}

/** A project of root: its path through no link, and which folder that is. */
type Place = ProjectFolder

/** Null if it belongs to another user. Throws as `openFolder` does. */
function placeOf({ project, known }: Pick<Sandbox, 'project' | 'known'>): Place | null {
  const { descriptor, uid, path, device, inode } = openFolder(project, known)
  closeSync(descriptor)
  return uid === 0 ? { path, device, inode } : null
}

/** The root of the repository around a project, which git and its packages read: null if it has another owner or mounts. */
function rootAround({ path }: Place, sandbox: Sandbox): Place | null {
  const root = repositoryAround(path, sandbox)?.root ?? path
  return root === path || hasMountsInside(root) ? null : placeOf({ project: root, known: null })
}

/** Whether something is mounted below a folder: the mapped mount would not show it. */
function hasMountsInside(folder: string): boolean {
  const escaped = folder.replace(/[ \t\n\\]/g, (c) => `\\0${c.charCodeAt(0).toString(8)}`)
  const below = escaped.endsWith('/') ? escaped : `${escaped}/`
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .some((line) => line.includes(below) && line.split(' ')[4]?.startsWith(below))
}

/**
 * Whether the folder belongs to the user in the namespace of the holder; false if the kernel or `mount` cannot map its ids.
 * Rejects with a `SandboxError` if that is not known, or if the holder cannot be started.
 */
async function isMapped(
  holder: Holder,
  { path, device, inode }: Place,
  withinMs: number,
): Promise<boolean> {
  await spawned(holder)
  const signal = AbortSignal.timeout(withinMs)
  holder.stdin.on('error', () => {})
  const ready = once(holder.stdout, 'data', { signal }).then(() => 'ready')
  const ended = once(holder, 'close', { signal }).then(([code]) => code)
  const end = await Promise.race([ready, ended]).catch(() => 'late')
  if (end === REFUSED) return false
  if (end !== 'ready') {
    const why = end === 'late' ? `was not mounted within ${withinMs / 1000} s` : 'cannot be mounted'
    throw new SandboxError(`its project ${why} for its user. The next command tries that again`)
  }
  const at = `/proc/${holder.pid}/root${path}`
  const seen = statSync(at, { bigint: true, throwIfNoEntry: false })
  if (`${seen?.dev}` !== device || `${seen?.ino}` !== inode) {
    throw new SandboxError(`${path} was replaced while it was mounted`)
  }
  return seen?.uid === BigInt(OWN_ID)
}
