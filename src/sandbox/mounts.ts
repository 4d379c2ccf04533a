import { closeSync, fstatSync, lstatSync, openSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { throwIfShort } from '../lib/message-of.ts'
import { isWithin, realPathOf } from '../lib/paths.ts'
import { PROXY_SOCKET } from './container-shell.ts'
import { GUARDED } from './guarded-files.ts'
import { RESOLV_CONF } from './network/whole-network.ts'
import { linkOf, pathOf, type Repository } from './project-folder.ts'
import {
  ACCOUNTS,
  AROUND,
  CHECK_HOME,
  type CheckHome,
  COPIED_HOME,
  COPY,
  EMPTY_HOME,
  EMPTY_TMP,
  HOME,
  isOwnUser,
  type OpenedProject,
  PROGRAM,
  type Sandbox,
  TMP,
  toolRole,
} from './sandbox.ts'
import { MEMORY_FOLDER_BYTES, SYSTEM } from './system.ts'

/** The first descriptor of a mount, after those that bwrap uses itself. */
const FIRST_MOUNT_FD = 8

/** Opens what a path names without rights to its content, and no link. */
const O_PATH = 0o10000000
const O_NOFOLLOW = 0o400000

/** The size of an empty folder that covers one of the server. */
const COVER_BYTES = 65_536

type Kind = '--bind-fd' | '--ro-bind-fd'

/** Mounts from open descriptors, so nothing can be replaced before it is mounted. */
export class Mounts {
  readonly args: string[] = []
  readonly descriptors: number[] = []
  /** The mounts in their order, each a kind and a role. A mount that is a part of another one has none. */
  readonly roles: string[] = []
  /** What is there already, or is mounted before anything that may be in it. */
  readonly #folders = new Set(['/', '/usr', '/etc', TMP])

  add(kind: Kind, descriptor: number, target: string, role: string | null): void {
    this.makeAbove(target)
    this.args.push(kind, String(FIRST_MOUNT_FD + this.descriptors.length), target)
    this.descriptors.push(descriptor)
    if (role !== null) this.roles.push(`${kind} ${role}`)
  }

  /** An empty folder in memory. */
  addMemory(
    target: string,
    role: string,
    { perms, bytes }: { perms: string; bytes: number },
  ): void {
    this.args.push('--perms', perms, '--size', String(bytes), '--tmpfs', target)
    this.roles.push(`--tmpfs ${role}`)
  }

  /** Makes the folders above a mount so that every user may pass: by itself, bwrap makes them for root only. */
  makeAbove(target: string): void {
    const above = dirname(target)
    if (this.#folders.has(above)) return
    this.makeAbove(above)
    this.#folders.add(above)
    this.args.push('--perms', '0755', '--dir', above)
  }

  /** Does nothing if there is no such path. */
  addPath(kind: Kind, path: string, role: string | null, target = path): void {
    const descriptor = opened(path)
    if (descriptor !== null) this.add(kind, descriptor, target, role)
  }

  /** Like `addPath`, for a path that was found to lead through no link: if it does now, it is not mounted. */
  addFound(kind: Kind, path: string, role: string): void {
    const descriptor = opened(path, O_NOFOLLOW)
    if (descriptor === null) return
    const isThere = pathOf(descriptor, path) === path
    if (isThere && !fstatSync(descriptor).isSymbolicLink()) this.add(kind, descriptor, path, role)
    else closeSync(descriptor)
  }

  rolesOf(kind: Kind | '--tmpfs' | '--overlay'): string[] {
    const prefix = `${kind} `
    return this.roles.flatMap((line) =>
      line.startsWith(prefix) ? [line.slice(prefix.length)] : [],
    )
  }
}

/** Null if there is no such path. Throws if the system is short of something: what is guarded must not be left out. */
function opened(path: string, flags = 0): number | null {
  try {
    return openSync(path, O_PATH | flags)
  } catch (cause) {
    throwIfShort(cause)
    return null
  }
}

/**
 * What a command sees of the host, in the order in which bwrap mounts it: later mounts cover earlier ones.
 * @param repository the one around the project
 * @param sockets of the host, through no link
 */
export function addMounts(
  mounts: Mounts,
  sandbox: Sandbox,
  project: OpenedProject,
  { repository, sockets }: { repository: Repository | null; sockets: readonly string[] },
): void {
  const { own, checkHome, copy, tools, hidden, readable, proxy, network } = sandbox
  if (own === null) {
    const inMemory = { perms: '1777', bytes: MEMORY_FOLDER_BYTES }
    mounts.makeAbove(HOME)
    mounts.addMemory(TMP, EMPTY_TMP, inMemory)
    if (checkHome === null || !isHomeOf(checkHome, project.user)) {
      mounts.addMemory(HOME, EMPTY_HOME, inMemory)
    } else if (checkHome.layer === null) {
      mounts.addPath('--bind-fd', checkHome.home, CHECK_HOME, HOME)
    } else {
      // A layer takes the changes.
      const { changes, work } = checkHome.layer
      mounts.args.push('--overlay-src', checkHome.home, '--overlay', changes, work, HOME)
      mounts.roles.push(`--overlay ${COPIED_HOME}`)
    }
  } else {
    mounts.addPath('--bind-fd', own.tmp, 'tmp', TMP)
    mounts.addPath('--bind-fd', own.home, 'home', HOME)
  }
  const shown = tools.filter((path) => !isWithin(sandbox.project, path))
  for (const path of shown) mounts.addPath('--ro-bind-fd', path, toolRole(path, sandbox))
  for (const path of readable) mounts.addPath('--ro-bind-fd', path, PROGRAM)
  const above = [...SYSTEM, ...shown, ...readable]
  const covered = hidden.filter((path) => above.some((folder) => isWithin(folder, path)))
  for (const path of covered)
    mounts.addMemory(path, 'nothing', { perms: '0755', bytes: COVER_BYTES })
  for (const path of repository?.paths ?? []) mounts.addFound('--ro-bind-fd', path, 'repository')
  const around = repository?.around ? [repository.root] : []
  for (const root of around) mounts.addFound('--ro-bind-fd', root, AROUND)
  for (const path of repository?.around?.secrets ?? [])
    mounts.addPath('--ro-bind-fd', '/dev/null', null, path)
  const isInside = (path: string): boolean => isWithin(project.real, path)
  const outside = sockets.filter((path) => !isInside(path))
  const inside = sockets.filter(isInside).map((path) => relative(project.real, path))
  coverSockets(mounts, outside, [...above, ...(repository?.paths ?? []), ...around])
  mounts.add('--bind-fd', project.descriptor, sandbox.project, 'project')
  guard(mounts, project.descriptor, sandbox.project, inside)
  if (project.real !== sandbox.project) {
    const again = openSync(`/proc/self/fd/${project.descriptor}`, O_PATH)
    mounts.add('--bind-fd', again, project.real, 'project')
    guard(mounts, again, project.real, inside)
  }
  if (copy?.replaces === false) mounts.addPath('--bind-fd', copy.folder, 'copy', COPY)
  if (isOwnUser(project.user)) {
    for (const { path, name } of ACCOUNTS) {
      mounts.addPath('--ro-bind-fd', join(sandbox.folder, name), 'accounts', placeOf(path))
    }
  }
  if (network === 'full') {
    const path = join(sandbox.folder, RESOLV_CONF.name)
    mounts.addPath('--ro-bind-fd', path, 'resolver', placeOf(RESOLV_CONF.path))
  }
  mounts.roles.push(network === 'full' ? 'the network of the machine' : '--unshare-net')
  // Where a run is described, there is no proxy yet.
  if (typeof network !== 'string') {
    mounts.addPath('--ro-bind-fd', proxy?.socket ?? '/dev/null', 'proxy', PROXY_SOCKET)
  }
  for (const path of covered) mounts.args.push('--remount-ro', path)
}

/** Where a link leads, also if there is nothing: a mount cannot cover a link. */
const placeOf = (path: string): string => resolve(dirname(path), linkOf(path) ?? path)

/** Whether the user can use a home: the owner of the project may have changed since it was made. */
const isHomeOf = ({ home, layer }: CheckHome, user: OpenedProject['user']): boolean =>
  layer === null || user === null || lstatSync(home).uid === user.uid

/** Covers those in folders that are shown, where a command can rename nothing. */
function coverSockets(mounts: Mounts, sockets: readonly string[], shown: readonly string[]): void {
  if (sockets.length === 0) return
  for (const folder of new Set(shown)) {
    const real = realPathOf(folder)
    // A link of the system, such as /bin, leads to another folder that is shown.
    if (real !== folder && SYSTEM.includes(folder)) continue
    for (const socket of sockets.filter((path) => isWithin(real, path))) {
      mounts.addPath('--ro-bind-fd', '/dev/null', null, join(folder, relative(real, socket)))
    }
  }
}

/**
 * Makes what is guarded read-only, and covers sockets with /dev/null. A folder above them becomes a mount of its
 * own, because a mount cannot be renamed or removed. What does not exist cannot be guarded: bwrap would make it in the project.
 * @param sockets as paths from the project
 */
function guard(mounts: Mounts, project: number, at: string, sockets: readonly string[]): void {
  const pinned = new Map<string, number>()
  for (const path of [...GUARDED, ...sockets]) {
    const names = path.split('/')
    let folder = project
    for (const [depth, name] of names.entries()) {
      const target = join(at, ...names.slice(0, depth + 1))
      const found = pinned.get(target) ?? openGuarded(`/proc/self/fd/${folder}/${name}`)
      if (found === null) break
      const isEnd = depth === names.length - 1 || !fstatSync(found).isDirectory()
      const role = `project/${names.slice(0, depth + 1).join('/')}`
      if (!pinned.has(target)) mounts.add(isEnd ? '--ro-bind-fd' : '--bind-fd', found, target, role)
      pinned.set(target, found)
      folder = found
      if (isEnd) break
    }
  }
}

/** A file or a folder, or /dev/null for a socket. A link is not followed: its target is not a part of the repository. */
function openGuarded(path: string): number | null {
  const found = opened(path, O_NOFOLLOW)
  if (found === null) return null
  const status = fstatSync(found)
  if (status.isDirectory() || status.isFile()) return found
  closeSync(found)
  return status.isSocket() ? opened('/dev/null') : null
}
