import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  accessSync,
  constants,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  statSync,
} from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { throwIfShort } from '../lib/message-of.ts'
import { within } from '../lib/promises.ts'
import { words } from '../lib/text.ts'
import { linkOf } from './project-folder.ts'

/** What programs need of the system. Nothing else of the host is shown to an isolated command. */
export const SYSTEM = words(`
  /usr /bin /sbin /lib /lib32 /lib64 /libx32 /etc /opt /nix/store /gnu/store
`)

/** What only root reads: a command of a root server owns it. */
export const SECRET_FILES = words(`
  shadow shadow- gshadow gshadow- sudoers krb5.keytab machine-id security/opasswd
`).map((name) => `/etc/${name}`)

export const SECRET_FOLDERS = words(`
  ssh ssl/private sudoers.d wireguard NetworkManager docker kubernetes rancher letsencrypt
`).map((name) => `/etc/${name}`)

export const DEVICES = ['null', 'zero', 'full', 'random', 'urandom', 'tty'].map(
  (name) => `/dev/${name}`,
)

/** The size of a home and of temporary files that are in memory, of a command that keeps nothing. */
export const MEMORY_FOLDER_BYTES = 1024 * 1024 * 1024
/** The size of each other folder in memory. Without control groups, it counts nowhere. */
const SHARED_MEMORY_BYTES = 256 * 1024 * 1024

const KERNEL_FILES = words(`
  kcore keys timer_list latency_stats sysrq-trigger kallsyms mtrr
`).map((name) => `/proc/${name}`)
const KERNEL_FOLDERS = ['acpi', 'scsi', 'driver', 'fs', 'pressure'].map((name) => `/proc/${name}`)

const statusOf = (path: string) => lstatSync(path, { throwIfNoEntry: false })
const isFolder = (path: string): boolean => statusOf(path)?.isDirectory() === true

const shown = (): string[] =>
  SYSTEM.flatMap((path) => {
    const status = statusOf(path)
    if (status?.isSymbolicLink()) return ['--symlink', readlinkSync(path), path]
    return status?.isDirectory() ? ['--ro-bind', path, path] : []
  })

const nothingOf = (files: readonly string[]): string[] =>
  files
    .filter((path) => statusOf(path) !== undefined)
    .flatMap((path) => ['--ro-bind', '/dev/null', path])

/** The part of bwrap's arguments that is the same for all commands: what they see of the system. */
export const systemArguments = (): string[] => [
  ...words('--unshare-pid --unshare-ipc --unshare-uts --unshare-cgroup-try --hostname sandbox'),
  ...words('--die-with-parent --new-session --cap-drop ALL'),
  ...shown(),
  ...nothingOf(SECRET_FILES),
  ...SECRET_FOLDERS.filter(isFolder).flatMap((path) => ['--perms', '0000', '--tmpfs', path]),
  ...words(`--dev /dev --perms 1777 --size ${SHARED_MEMORY_BYTES} --tmpfs /dev/shm`),
  // bwrap leaves /proc/sys writable for root, and with it core_pattern, which the kernel runs as root.
  ...words('--proc /proc --ro-bind /proc/sys /proc/sys'),
  ...nothingOf(KERNEL_FILES),
  // A folder in memory belongs to the user who runs bwrap, who may be that of the command.
  ...KERNEL_FOLDERS.filter(isFolder).flatMap((path) => {
    return ['--perms', '0555', '--tmpfs', path, '--remount-ro', path]
  }),
  ...words('--ro-bind-try /sys/devices/system/cpu /sys/devices/system/cpu'),
  ...words('--dir /run --dir /var --symlink ../run /var/run'),
  ...words(`--perms 1777 --size ${SHARED_MEMORY_BYTES} --tmpfs /var/tmp`),
]

/** Whether a path leads to a file that this process may execute. */
export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}

/** The end of a script that holds something: it prints the number of its shell, and waits until its input ends. */
export const HOLD = 'echo $$; read -r _'

/** How long a shell has to say that it holds. */
export const WITHIN_MS = 10_000

/** A shell that keeps something of the kernel for this process: a namespace, a mount, a pipe. It ends with this process. */
export type Holder = {
  /** The process id of the shell. */
  readonly pid: number
  readonly release: () => void
}

/** Whether a process has not ended. */
export const lives = ({ exitCode, signalCode }: ChildProcess): boolean =>
  exitCode === null && signalCode === null

/** The id of a process that was started. Rejects if it was not. */
export const spawned = (child: ChildProcess): Promise<number> =>
  new Promise((resolve, reject) => {
    child.on('error', reject)
    child.once('spawn', () => resolve(child.pid ?? 0))
  })

/**
 * Starts a command line whose last program is a shell that runs a script with `HOLD` at its end. Rejects with
 * what it printed before it ended, or with what `spawn` throws.
 */
export async function hold([file = '', ...args]: readonly string[]): Promise<Holder> {
  const child = spawn(file, args, { cwd: '/', env: {} })
  await spawned(child)
  child.stdin.on('error', () => {})
  const printed = text(child.stderr).catch(() => '')
  const held = once(child.stdout, 'data').then(([line]) => Number(line))
  const ended = once(child, 'close').then(() => null)
  const first = await within(WITHIN_MS, Promise.race([held, ended]), () => 'late' as const)
  if (typeof first === 'number') {
    return { pid: first, release: () => void child.stdin.destroy() }
  }
  child.kill('SIGKILL')
  if (first === 'late') throw new Error('it took too long')
  throw new Error((await printed).trim().split('\n')[0] || 'it ended')
}

/**
 * The unix sockets to which processes of this machine listen, as paths through no link: those whose name, in a list of the
 * kernel, still leads to them. A command could connect to them also through a read-only mount.
 */
export function hostSockets(): string[] {
  const names = boundNames()
  const folders = names.every(isAbsolute) ? [] : workingFolders()
  const paths = names
    .flatMap((name) => (isAbsolute(name) ? [name] : folders.map((folder) => join(folder, name))))
    .flatMap((path) => socketAt(path) ?? [])
  return [...new Set(paths)].toSorted()
}

/** What the list of the kernel has before a name, of what can be connected to: Num RefCount Protocol Flags Type St Inode. */
const BEFORE_NAME = String.raw`[\da-f]+: (?:[\dA-F]+ ){5} *\d+`
const REACHABLE = String.raw`[\da-f]+: [\dA-F]+ [\dA-F]+ (?:00010000 [\dA-F]+|[\dA-F]+ 0002) [\dA-F]+ *\d+`
/** Abstract names begin with @. Other names may have line breaks. */
const NAMED = new RegExp(
  `^${REACHABLE} ([^@][\\s\\S]*?)(?=\n(?:${BEFORE_NAME}|(?![\\s\\S])))`,
  'gm',
)

/** The names of the sockets of this network namespace that have a path and take connections or datagrams. */
function boundNames(): string[] {
  try {
    const bound = readFileSync('/proc/net/unix', 'utf8').matchAll(NAMED)
    return [...bound].map(([, name = '']) => name)
  } catch (cause) {
    throwIfShort(cause)
    return []
  }
}

/** Of all processes of which this one may know it: a relative name begins in one of them. */
const workingFolders = (): string[] =>
  readdirSync('/proc').flatMap((pid) => (/^\d/.test(pid) ? (linkOf(`/proc/${pid}/cwd`) ?? []) : []))

/** Where a name leads, through no link; null if that is no socket. */
function socketAt(name: string): string | null {
  try {
    const path = realpathSync.native(name)
    return lstatSync(path).isSocket() ? path : null
  } catch (cause) {
    throwIfShort(cause)
    return null
  }
}
