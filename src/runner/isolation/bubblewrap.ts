import { closeSync, existsSync, fstatSync, lstatSync, openSync, readlinkSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { THREADS_PER_PROCESS } from '../cgroup.ts'
import { PROXY_SOCKET, startForwarder } from '../network/forwarder.ts'
import { RESOLV_CONF } from '../network/whole-network.ts'
import { GUARDED } from './guarded-files.ts'
import { hostSockets } from './host-sockets.ts'
import {
  EMPTY_HOME,
  EMPTY_TMP,
  type PolicyFacts,
  policyHash,
  readableRole,
  toolRole,
  unique,
} from './policy.ts'
import { repositoryAbove } from './repository.ts'
import {
  HOME,
  isWithin,
  type OpenedProject,
  openProject,
  prepareFolders,
  type Sandbox,
  SandboxError,
  TMP,
} from './sandbox.ts'
import { seccompProgram } from './seccomp.ts'
import { SECRET_FILES, SECRET_FOLDERS, SYSTEM } from './system.ts'

/** Opens what a path names without rights to its content, and no link. */
const O_PATH = 0o10000000
const O_NOFOLLOW = 0o400000

/** The descriptors of a container that are no mounts: see `stdio` below. */
export const NOT_FOUND_FD = 3
export const STATUS_FD = 4
export const SECCOMP_FD = 5
const FIRST_MOUNT_FD = 6

const GIB = 1024 * 1024 * 1024
/** Of the folders of a container that are in memory. */
const MEMORY_FOLDER_BYTES = GIB
/** Of an empty folder that covers one of the server. */
const COVER_BYTES = 65_536
/** Of one file that a command writes. */
export const MAX_FILE_BYTES = 16 * GIB
const FILE_BLOCKS = MAX_FILE_BYTES / 512

/**
 * Process 1 of the container: its end is the end of all that the command left. Reports a missing program on a
 * descriptor that the command does not get.
 */
const prelude = (forward: string): string => `cd "$1" || exit 126; threads=$2; shift 2
command -v "$1" >/dev/null 2>&1 || { echo not_found >&${NOT_FOUND_FD}; exit 127; }
exec ${NOT_FOUND_FD}>&- 4>&2 2>/dev/null
${forward}
echo 1000 >/proc/self/oom_score_adj; ulimit -c 0; ulimit -f ${FILE_BLOCKS}; ulimit -u "$threads" || ulimit -p "$threads"
(exec "$@") 2>&4 4>&-
exit $?`

const KERNEL_FILES = [
  ...['kcore', 'keys', 'timer_list', 'latency_stats', 'sysrq-trigger', 'kallsyms', 'mtrr'],
].map((name) => `/proc/${name}`)
const KERNEL_FOLDERS = ['acpi', 'scsi', 'driver', 'fs', 'pressure'].map((name) => `/proc/${name}`)

const statusOf = (path: string) => lstatSync(path, { throwIfNoEntry: false })
/** Where links lead, also if that does not exist. */
function realPathOf(path: string): string {
  try {
    return resolve(dirname(path), readlinkSync(path))
  } catch {
    return path
  }
}
const isFolder = (path: string): boolean => statusOf(path)?.isDirectory() === true

/** The part of the arguments that is the same for every command of this machine. */
function systemArguments(): string[] {
  return [
    ...['--as-pid-1', '--unshare-pid', '--unshare-ipc'],
    ...['--unshare-uts', '--unshare-cgroup-try', '--hostname', 'sandbox'],
    ...['--die-with-parent', '--new-session', '--cap-drop', 'ALL'],
    ...SYSTEM.flatMap((path) => {
      const status = statusOf(path)
      if (status?.isSymbolicLink()) return ['--symlink', readlinkSync(path), path]
      return status?.isDirectory() ? ['--ro-bind', path, path] : []
    }),
    ...SECRET_FILES.filter(existsSync).flatMap((path) => ['--ro-bind', '/dev/null', path]),
    ...SECRET_FOLDERS.filter(isFolder).flatMap((path) => ['--perms', '0000', '--tmpfs', path]),
    ...[
      '--dev',
      '/dev',
      '--perms',
      '1777',
      '--size',
      String(MEMORY_FOLDER_BYTES),
      '--tmpfs',
      '/dev/shm',
    ],
    // bwrap leaves /proc/sys writable for root, and with it core_pattern, which the kernel runs as root.
    ...['--proc', '/proc', '--ro-bind', '/proc/sys', '/proc/sys'],
    ...KERNEL_FILES.filter(existsSync).flatMap((path) => ['--ro-bind', '/dev/null', path]),
    ...KERNEL_FOLDERS.filter(isFolder).flatMap((path) => {
      return ['--perms', '0555', '--tmpfs', path, '--remount-ro', path]
    }),
    ...['--ro-bind-try', '/sys/devices/system/cpu', '/sys/devices/system/cpu'],
    ...['--dir', '/run', '--dir', '/var', '--symlink', '../run', '/var/run'],
    ...['--perms', '1777', '--size', String(MEMORY_FOLDER_BYTES), '--tmpfs', '/var/tmp'],
  ]
}

let system: readonly string[] | null = null

/** A command line of bwrap, and what belongs to it. */
export type Container = {
  readonly args: readonly string[]
  /** To be passed from descriptor `FIRST_MOUNT_FD` on, and closed when bwrap was started. */
  readonly mounts: readonly number[]
  readonly seccomp: Buffer
  /** What the command may see and do. */
  readonly facts: PolicyFacts
  /** The descriptor that it waits for, after those of the mounts. */
  readonly blockFd: number
}

type Kind = '--bind-fd' | '--ro-bind-fd'

/** Mounts from open descriptors, so that nothing can be exchanged before it is mounted. */
class Mounts {
  readonly args: string[] = []
  readonly descriptors: number[] = []
  /** The mounts in their order, each a kind and a role. */
  readonly roles: string[] = []
  readonly #folders = new Set<string>()

  add(kind: Kind, descriptor: number, target: string, role: string): void {
    this.makeAbove(target)
    this.args.push(kind, String(FIRST_MOUNT_FD + this.descriptors.length), target)
    this.descriptors.push(descriptor)
    this.roles.push(`${kind} ${role}`)
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
    if (above === '/' || this.#folders.has(above)) return
    this.makeAbove(above)
    this.#folders.add(above)
    this.args.push('--perms', '0755', '--dir', above)
  }

  /** Nothing if there is no such path. */
  addPath(kind: Kind, path: string, role: string, target = path): void {
    const descriptor = opened(path)
    if (descriptor !== null) this.add(kind, descriptor, target, role)
  }

  rolesOf(kind: Kind): string[] {
    const prefix = `${kind} `
    return this.roles.flatMap((line) =>
      line.startsWith(prefix) ? [line.slice(prefix.length)] : [],
    )
  }
}

function opened(path: string, flags = 0): number | null {
  try {
    return openSync(path, O_PATH | flags)
  } catch {
    return null
  }
}

type HowToRun = {
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string
  readonly processes: number
  /** Whether the command waits until something is written to `blockFd`. */
  readonly blocks: boolean
}

/**
 * Prepares the container of a command. Throws a `SandboxError` if the project is not what it was.
 * @param env the whole environment of the command
 * @param cwd where it starts, a path on the host
 */
export function container(
  sandbox: Sandbox,
  command: readonly string[],
  { env, cwd, processes, blocks }: HowToRun,
): Container {
  const seccomp = seccompProgram({ network: true })
  if (seccomp === null) throw new SandboxError(`there is no filter for ${process.arch} processors`)
  const project = openProject(sandbox)
  const mounts = new Mounts()
  try {
    prepareFolders(sandbox, project.user)
    const repository = repositoryAbove(project.real, sandbox.userHome)
    addMounts(mounts, sandbox, project, repository)
    system ??= systemArguments()
    const facts = factsOf(mounts, system, project.user !== null)
    const blockFd = FIRST_MOUNT_FD + mounts.descriptors.length
    const forward = sandbox.proxy === null ? '' : startForwarder(sandbox.socat)
    const variables = { ...gitVariables(repository, project.user), ...env }
    const environment = Object.entries(variables).flatMap(([name, value]) => [
      '--setenv',
      name,
      value,
    ])
    const args = [
      ...(blocks ? ['--block-fd', String(blockFd)] : []),
      ...['--json-status-fd', String(STATUS_FD), ...system, ...userArguments(project.user)],
      ...(sandbox.network === 'full' ? [] : ['--unshare-net']),
      ...[...mounts.args, ...environment],
      ...['--seccomp', String(SECCOMP_FD), '--remount-ro', '/', '--chdir', '/'],
      ...['--', ...becoming(project.user, sandbox.setpriv)],
      ...['/bin/sh', '-c', prelude(forward), 'sh', cwd],
      ...[String(processes * THREADS_PER_PROCESS), ...command],
    ]
    return { args, mounts: mounts.descriptors, seccomp, facts, blockFd }
  } catch (cause) {
    for (const descriptor of mounts.descriptors) closeSync(descriptor)
    throw cause
  }
}

/** What a command in such a container may see and do. */
export function factsOfContainer(sandbox: Sandbox): PolicyFacts {
  const project = openProject(sandbox)
  const mounts = new Mounts()
  try {
    addMounts(mounts, sandbox, project, repositoryAbove(project.real, sandbox.userHome))
    system ??= systemArguments()
    return factsOf(mounts, system, project.user !== null)
  } finally {
    for (const descriptor of mounts.descriptors) closeSync(descriptor)
  }
}

/**
 * A command of the server's own user has a user namespace. It cannot be the owner of the project there: bwrap would have
 * to run as that owner, who may not reach what is mounted. So bwrap leaves root the right to become somebody else, once.
 */
const userArguments = (user: OpenedProject['user']): string[] =>
  user === null
    ? ['--unshare-user', '--disable-userns']
    : ['CAP_SETUID', 'CAP_SETGID', 'CAP_SETPCAP'].flatMap((name) => ['--cap-add', name])

function becoming(user: OpenedProject['user'], setpriv: string | null): string[] {
  if (user === null) return []
  if (setpriv === null) throw new SandboxError('setpriv of util-linux is not installed')
  const ids = [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups']
  return [setpriv, ...ids, '--inh-caps=-all', '--bounding-set=-all', '--']
}

/** What is read-only in the project is protected; what is bound of it to be a mount is no more than the project. */
function factsOf(mounts: Mounts, system: readonly string[], asOwner: boolean): PolicyFacts {
  const isInProject = (role: string): boolean => role.startsWith('project/')
  const read = mounts.rolesOf('--ro-bind-fd')
  const memory = mounts.roles.includes(`--tmpfs ${EMPTY_HOME}`) ? [EMPTY_HOME, EMPTY_TMP] : []
  return {
    visible: unique(['system', ...read.filter((role) => !isInProject(role))]),
    writable: unique([
      ...mounts.rolesOf('--bind-fd').filter((role) => !isInProject(role)),
      ...memory,
    ]),
    protected: unique(read.filter(isInProject).map((role) => role.slice('project/'.length))),
    policy_sha256: policyHash(
      [...system, asOwner ? 'as the owner of the project' : '', prelude('')],
      mounts.roles,
    ),
  }
}

/** What lets git look for a repository above the project, in a folder that bwrap has made as another user. */
function gitVariables(
  repository: string | null,
  user: OpenedProject['user'],
): Readonly<Record<string, string>> {
  if (repository === null) return {}
  const safe = { GIT_CONFIG_COUNT: '1', GIT_CONFIG_KEY_0: 'safe.directory' }
  return {
    GIT_DISCOVERY_ACROSS_FILESYSTEM: '1',
    ...(user === null ? {} : { ...safe, GIT_CONFIG_VALUE_0: dirname(repository) }),
  }
}

/** Later mounts cover earlier ones. */
function addMounts(
  mounts: Mounts,
  sandbox: Sandbox,
  project: OpenedProject,
  repository: string | null,
): void {
  const { own, tools, hidden, writable, readable, proxy, network } = sandbox
  if (own === null) {
    const inMemory = { perms: '1777', bytes: MEMORY_FOLDER_BYTES }
    mounts.makeAbove(HOME)
    mounts.addMemory(TMP, EMPTY_TMP, inMemory)
    mounts.addMemory(HOME, EMPTY_HOME, inMemory)
  } else {
    mounts.addPath('--bind-fd', own.tmp, 'tmp', TMP)
    mounts.addPath('--bind-fd', own.home, 'home', HOME)
  }
  const shown = tools.filter((path) => !isWithin(sandbox.project, path))
  for (const path of shown) mounts.addPath('--ro-bind-fd', path, toolRole(path, sandbox))
  // A repository around the project may have the data folder in it.
  const around = readable.filter((path) => hidden.some((ours) => isWithin(path, ours)))
  for (const path of around) mounts.addPath('--ro-bind-fd', path, readableRole(path, sandbox))
  const above = [...SYSTEM, ...shown, ...around]
  const covered = hidden.filter((path) => above.some((folder) => isWithin(folder, path)))
  for (const path of covered)
    mounts.addMemory(path, 'nothing', { perms: '0755', bytes: COVER_BYTES })
  if (repository !== null) mounts.addPath('--ro-bind-fd', repository, 'repository')
  mounts.add('--bind-fd', project.descriptor, sandbox.project, 'project')
  const sockets = hostSockets([project.real, sandbox.project])
  guard(mounts, project.descriptor, sandbox.project, sockets)
  if (project.real !== sandbox.project) {
    const again = openSync(`/proc/self/fd/${project.descriptor}`, O_PATH)
    mounts.add('--bind-fd', again, project.real, 'project')
    guard(mounts, again, project.real, sockets)
  }
  for (const path of writable) mounts.addPath('--bind-fd', path, 'report')
  for (const path of readable.filter((path) => !around.includes(path))) {
    mounts.addPath('--ro-bind-fd', path, readableRole(path, sandbox))
  }
  if (network === 'full') {
    const path = join(sandbox.folder, RESOLV_CONF.name)
    mounts.addPath('--ro-bind-fd', path, 'resolver', realPathOf(RESOLV_CONF.path))
  }
  mounts.roles.push(network === 'full' ? 'the network of the machine' : '--unshare-net')
  // Where a run is described, there is no proxy yet.
  if (typeof network !== 'string') {
    mounts.addPath('--ro-bind-fd', proxy ?? '/dev/null', 'proxy', PROXY_SOCKET)
  }
  for (const path of covered) mounts.args.push('--remount-ro', path)
}

/**
 * Makes what is guarded read-only, and puts nothing in the place of sockets. A folder above them becomes a mount of its
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

/** A file or a folder, or nothing for a socket. A link is not followed: what it leads to is no part of the repository. */
function openGuarded(path: string): number | null {
  const found = opened(path, O_NOFOLLOW)
  if (found === null) return null
  const status = fstatSync(found)
  if (status.isDirectory() || status.isFile()) return found
  closeSync(found)
  return status.isSocket() ? opened('/dev/null') : null
}
