import { accessSync, constants, lstatSync, readlinkSync, statSync } from 'node:fs'
import type { OpenedProject } from './sandbox.ts'

/** What programs need of the system. Nothing else of the host is shown to an isolated command. */
export const SYSTEM: readonly string[] = [
  ...['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32', '/etc', '/opt'],
  ...['/nix/store', '/gnu/store'],
]

/** What only root reads: a command of a root server owns it. */
export const SECRET_FILES: readonly string[] = [
  ...['shadow', 'shadow-', 'gshadow', 'gshadow-', 'sudoers', 'krb5.keytab', 'machine-id'],
  'security/opasswd',
].map((name) => `/etc/${name}`)

export const SECRET_FOLDERS: readonly string[] = [
  ...['ssh', 'ssl/private', 'sudoers.d', 'wireguard', 'NetworkManager', 'docker', 'kubernetes'],
  ...['rancher', 'letsencrypt'],
].map((name) => `/etc/${name}`)

export const DEVICES: readonly string[] = [
  ...['null', 'zero', 'full', 'random', 'urandom', 'tty'],
].map((name) => `/dev/${name}`)

/** The size of a home and of temporary files that are in memory, of a command that keeps nothing. */
export const MEMORY_FOLDER_BYTES = 1024 * 1024 * 1024
/** The size of each other folder in memory. Without control groups, it counts nowhere. */
const SHARED_MEMORY_BYTES = 256 * 1024 * 1024

const KERNEL_FILES = [
  ...['kcore', 'keys', 'timer_list', 'latency_stats', 'sysrq-trigger', 'kallsyms', 'mtrr'],
].map((name) => `/proc/${name}`)
const KERNEL_FOLDERS = ['acpi', 'scsi', 'driver', 'fs', 'pressure'].map((name) => `/proc/${name}`)

/** Empty on every Linux with terminals: the kernel keeps it for old programs. */
const EMPTY_FOLDER = '/proc/tty/ldisc'

const statusOf = (path: string) => lstatSync(path, { throwIfNoEntry: false })
const isFolder = (path: string): boolean => statusOf(path)?.isDirectory() === true

type User = Pick<OpenedProject, 'user' | 'isRootOwned'>

/**
 * Whether the user of a command may have a right to a file or folder of the system. What the kernel refuses need not be
 * covered. Each cover takes a fifth of a millisecond, because bwrap reads all mounts again.
 */
function isOpenTo({ user, isRootOwned }: User, path: string): boolean {
  try {
    const status = statSync(path, { throwIfNoEntry: false })
    if (status === undefined) return false
    const { uid, gid, mode } = status
    if ((mode & 0o007) !== 0 || uid === user?.uid || gid === user?.gid) return true
    // The rights of a group may be those of an access control list, which can name any user but one who owns nothing.
    return user === null ? isOpenHere(path) : !isRootOwned && (mode & 0o070) !== 0
  } catch {
    return false
  }
}

/** Whether this process has a right to it, as the user it is. */
function isOpenHere(path: string): boolean {
  return [constants.R_OK, constants.W_OK, constants.X_OK].some((right) => {
    try {
      accessSync(path, right)
      return true
    } catch {
      return false
    }
  })
}

const shown = (): string[] =>
  SYSTEM.flatMap((path) => {
    const status = statusOf(path)
    if (status?.isSymbolicLink()) return ['--symlink', readlinkSync(path), path]
    return status?.isDirectory() ? ['--ro-bind', path, path] : []
  })

/** An empty folder in memory belongs to the user who runs bwrap: if that is the user of the command, it has to be read-only. */
function emptied({ user }: User, path: string): string[] {
  const inMemory = ['--perms', '0555', '--tmpfs', path]
  if (user !== null) return inMemory
  const isThere = isFolder(EMPTY_FOLDER)
  return isThere ? ['--ro-bind', EMPTY_FOLDER, path] : [...inMemory, '--remount-ro', path]
}

/** What is the same for every command of this machine, found out once. */
let fixed: { readonly shown: readonly string[]; readonly folders: readonly string[] } | null = null

/** The part of bwrap's arguments that is the same for all commands of a user: what they see of the system. */
export function systemArguments(user: User): string[] {
  fixed ??= { shown: shown(), folders: KERNEL_FOLDERS.filter(isFolder) }
  const nothingOf = (files: readonly string[]): string[] =>
    files.filter((path) => isOpenTo(user, path)).flatMap((path) => ['--ro-bind', '/dev/null', path])
  return [
    ...['--unshare-pid', '--unshare-ipc'],
    ...['--unshare-uts', '--unshare-cgroup-try', '--hostname', 'sandbox'],
    ...['--die-with-parent', '--new-session', '--cap-drop', 'ALL'],
    ...fixed.shown,
    ...nothingOf(SECRET_FILES),
    ...SECRET_FOLDERS.filter((path) => isFolder(path) && isOpenTo(user, path)).flatMap((path) => {
      return ['--perms', '0000', '--tmpfs', path]
    }),
    ...['--dev', '/dev', '--perms', '1777', '--size', String(SHARED_MEMORY_BYTES)],
    ...['--tmpfs', '/dev/shm'],
    // bwrap leaves /proc/sys writable for root, and with it core_pattern, which the kernel runs as root.
    ...['--proc', '/proc', '--ro-bind', '/proc/sys', '/proc/sys'],
    ...nothingOf(KERNEL_FILES),
    ...fixed.folders.flatMap((path) => emptied(user, path)),
    ...['--ro-bind-try', '/sys/devices/system/cpu', '/sys/devices/system/cpu'],
    ...['--dir', '/run', '--dir', '/var', '--symlink', '../run', '/var/run'],
    ...['--perms', '1777', '--size', String(SHARED_MEMORY_BYTES), '--tmpfs', '/var/tmp'],
  ]
}
