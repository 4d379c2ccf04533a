import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { lstat, opendir, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { codeOf, throwIfShort } from '../lib/message-of.ts'
import { THREADS_PER_PROCESS } from '../sandbox/container-shell.ts'
import { linkOf } from '../sandbox/project-folder.ts'
import type { ControlGroup, Limits } from './protocol.ts'

/** What the kernel says of a process. */
type Stat = {
  /** Its id in its namespace of process ids. */
  readonly pid: number
  /** A letter: `Z` if it is dead and not reaped yet. */
  readonly state: string
  readonly parent: number
  readonly session: number
  /** When it began. No other process with the same id has the same time. */
  readonly began: string
}

/** Null if the process does not exist. Throws if this process is short of something. */
export function statOf(pid: number | 'self'): Stat | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // After the name, which is in parentheses and may hold anything: state, parent, group, session, …
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const [, parent, , session] = fields.map(Number)
    const began = fields[19] ?? ''
    const own = { pid: Number.parseInt(stat, 10), state: fields[0] ?? '', began }
    return { ...own, parent: parent ?? 0, session: session ?? 0 }
  } catch (cause) {
    throwIfShort(cause)
    return null
  }
}

/** A process in its namespace of process ids, for its whole life: its id, and when it began. Null if it does not exist. */
export function processName(pid: number | 'self'): string | null {
  const stat = statOf(pid)
  return stat && `${stat.pid}:${stat.began}`
}

/** The namespace of process ids of a process; null if it is gone or of another user. */
export const namespaceOf = (pid: number | 'self'): string | null => linkOf(`/proc/${pid}/ns/pid`)

/** The namespace of process ids of this process: what it cannot see in another one may live. */
export const ownNamespace = (): string => namespaceOf('self') ?? 'unknown'

/** Whether a name is that of a process which has ended. `namespace` is that of the process that was named. */
export const hasEnded = (namespace: string, name: string): boolean =>
  namespace === ownNamespace() && processName(Number.parseInt(name, 10)) !== name

/** The processes that this one can see. Throws if it is out of descriptors. */
export const processes = (): number[] =>
  readdirSync('/proc').flatMap((name) => (/^\d/.test(name) ? [Number(name)] : []))

/** The text of a file of a process, each byte as a character; '' if it is gone, or of another user. */
export function textOf(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'latin1')
  } catch {
    return ''
  }
}

/** Sends a signal to a process, or with `-pid` to its group; false if it is gone. */
export function sendSignal(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}

/** The most rounds of `killAll`: what forks faster is killed with its group or its container. */
const MAX_ROUNDS = 20

/** Kills processes, again and again while they fork, until none is found. */
export function killAll(find: () => readonly number[]): void {
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const pids = find()
    if (pids.length === 0) return
    for (const pid of pids) sendSignal(pid, 'SIGKILL')
  }
}

/** Between 0 and 19: the server gets about five times the processor time of a command when both want it. */
export const NICENESS = 7

/** The session of this process, for the sharing out of the processor. */
export const SESSION = '/proc/self/autogroup'

/**
 * Where Linux shares the processor out by sessions, only the niceness of a session counts against others. A new session
 * begins without one: that of the runner, and that of each command.
 * @param pid a process of the session
 */
export function sessionGivesWay(pid: number | 'self'): void {
  try {
    writeFileSync(SESSION.replace('self', String(pid)), String(NICENESS))
  } catch {
    // Linux does not do so here, or the process has ended.
  }
}

/** Whether memory and processes of commands can be limited here: only Linux reports what each process uses. */
export const canLimitMemory: boolean =
  process.platform === 'linux' && existsSync('/proc/self/status')

/** Sets the limits of a group. Throws what the file system throws. */
export function limitGroup(
  { version, folder }: ControlGroup,
  { memoryBytes, processes }: Pick<Limits, 'memoryBytes' | 'processes'>,
): void {
  if (version === 1) {
    writeFileSync(join(folder, 'memory.limit_in_bytes'), `${memoryBytes}`)
    return
  }
  writeFileSync(join(folder, 'memory.max'), `${memoryBytes}`)
  const [pids, swap] = [join(folder, 'pids.max'), join(folder, 'memory.swap.max')]
  if (existsSync(pids)) writeFileSync(pids, `${processes * THREADS_PER_PROCESS}`)
  if (existsSync(swap)) writeFileSync(swap, '0')
}

export function removeTree(folder: string): void {
  try {
    for (const child of readdirSync(folder, { withFileTypes: true })) {
      if (child.isDirectory()) removeTree(join(folder, child.name))
    }
    rmdirSync(folder)
  } catch {
    // Something still runs in it, or it is gone.
  }
}

const RELEASE_TRIES = 20
const RELEASE_PAUSE_MS = 10

let count = 0

/** The control group of one command. */
export class CommandGroup {
  readonly #group: ControlGroup

  /** A group without processes. Throws what the file system throws. */
  constructor(
    { version, folder }: ControlGroup,
    limits: Pick<Limits, 'memoryBytes' | 'processes'>,
  ) {
    count += 1
    // The groups of a runner that died may still be there.
    this.#group = { version, folder: join(folder, `c${process.pid}-${count}`) }
    mkdirSync(this.#group.folder)
    limitGroup(this.#group, limits)
  }

  /** Moves a process into the group. What it starts from now on is in the group too. */
  add(pid: number): void {
    try {
      writeFileSync(join(this.#group.folder, 'cgroup.procs'), String(pid))
    } catch (cause) {
      // It has ended already.
      if (codeOf(cause) !== 'ESRCH') throw cause
    }
  }

  /** How many processes of the command the kernel has killed because the group had too much memory. */
  kills(): number {
    const { version } = this.#group
    const counted = this.#read(version === 2 ? 'memory.events' : 'memory.oom_control')
    return Number(/^oom_kill (\d+)$/m.exec(counted)?.[1] ?? 0)
  }

  /** Kills all that is in the group, again and again while it forks. */
  killAll(): void {
    killAll(() => this.members())
  }

  /** The processes in it. */
  members(): number[] {
    return this.#read('cgroup.procs').split('\n').filter(Boolean).map(Number)
  }

  /** Removes the group of a command whose processes are dead. The kernel may need a moment to forget them. */
  async release(): Promise<void> {
    for (let tries = 0; this.members().length > 0 && tries < RELEASE_TRIES; tries += 1) {
      await pause(RELEASE_PAUSE_MS)
    }
    // What cannot be removed is removed with the group of the server.
    removeTree(this.#group.folder)
  }

  /** '' if the server has removed it. */
  #read(name: string): string {
    try {
      return readFileSync(join(this.#group.folder, name), 'utf8')
    } catch {
      return ''
    }
  }
}

const MIB = 1024 * 1024

/** What is missing on the first disk that has less free space than this, as a part of a sentence; null if none has. */
export async function diskShortage(
  folders: readonly string[],
  freeBytes: number,
): Promise<string | null> {
  for (const folder of folders) {
    const disk = await statfs(folder).catch(() => null)
    if (disk !== null && disk.bavail * disk.bsize < freeBytes) {
      return `${Math.round(freeBytes / MIB)} MiB free on the disk of ${folder}`
    }
  }
  return null
}

/** Why no command is started, for people. */
export const noDisk = (short: string): string =>
  `No command is started: there is less than ${short}. Free some space.`

const BLOCK_BYTES = 512

/** What a folder takes of its disk, in bytes. What cannot be read counts nothing. */
export async function sizeOf(folder: string, over: AbortSignal): Promise<number> {
  let bytes = 0
  const folders = [folder]
  for (let at = folders.pop(); at !== undefined && !over.aborted; at = folders.pop()) {
    try {
      for await (const entry of await opendir(at)) {
        const path = join(at, entry.name)
        if (entry.isDirectory()) folders.push(path)
        const status = await lstat(path).catch(() => null)
        bytes += (status?.blocks ?? 0) * BLOCK_BYTES
      }
    } catch {
      // It is gone, or of another user.
    }
  }
  return bytes
}
