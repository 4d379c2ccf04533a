import { existsSync, lstatSync, readlinkSync } from 'node:fs'

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

/** Of the folders of a container that are in memory. */
export const MEMORY_FOLDER_BYTES = 1024 * 1024 * 1024

const KERNEL_FILES = [
  ...['kcore', 'keys', 'timer_list', 'latency_stats', 'sysrq-trigger', 'kallsyms', 'mtrr'],
].map((name) => `/proc/${name}`)
const KERNEL_FOLDERS = ['acpi', 'scsi', 'driver', 'fs', 'pressure'].map((name) => `/proc/${name}`)

const statusOf = (path: string) => lstatSync(path, { throwIfNoEntry: false })
const isFolder = (path: string): boolean => statusOf(path)?.isDirectory() === true

/** The part of bwrap's arguments that is the same for every command of this machine: what it sees of the system. */
export function systemArguments(): string[] {
  return [
    ...['--unshare-pid', '--unshare-ipc'],
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
