import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs'
import { basename, join, relative } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import { messageOf } from '../lib/message-of.ts'
import { hasEnded, ownNamespace, processName } from './process-name.ts'
import type { ControlGroup, Limits } from './protocol.ts'

/** The group of a server: the inode of its namespace of process ids, and its name there. */
const OWNED = /^retrai-(\d+):(\d+:\d+)(-server)?$/
/** The kernel counts threads, and every Node has a dozen. */
export const THREADS_PER_PROCESS = 8

/**
 * Makes this server's control group, with the limits of all commands. The error, a part of a sentence, says why not.
 */
export function makeControlGroup(all: Limits['all']): Result<ControlGroup, string> {
  if (process.platform !== 'linux') return err('only Linux has control groups')
  try {
    const group = make(readFileSync('/proc/self/cgroup', 'utf8'))
    limit(group, all)
    weigh(group)
    return ok(group)
  } catch (cause) {
    return err(messageOf(cause))
  }
}

/** Removes the control group of this server. What still runs in it keeps it until the next start. */
export function removeControlGroup(group: ControlGroup): void {
  for (const folder of foldersOf(group)) removeTree(folder)
}

function make(own: string): ControlGroup {
  const paths = new Map(
    own.split('\n').flatMap((line) => {
      const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
      return (controllers ?? '').split(',').map((name) => [name, path ?? ''] as const)
    }),
  )
  const memory = folderOf('memory', paths.get('memory'))
  if (memory !== null) {
    const pids = folderOf('pids', paths.get('pids'))
    return { version: 1, memory: makeIn(memory), pids: pids === null ? null : makeIn(pids) }
  }
  const unified = folderOf(null, paths.get(''))
  if (unified === null) throw new Error('no control groups are mounted here')
  const controllers = readFileSync(join(unified, 'cgroup.controllers'), 'utf8').split(/\s+/)
  if (!controllers.includes('memory')) {
    throw new Error('the control group of this server has no memory controller')
  }
  const folder = makeIn(unified)
  const wanted = ['memory', 'pids', 'cpu'].filter((name) => controllers.includes(name))
  delegate(unified, wanted, folder)
  delegate(folder, wanted, null)
  return { version: 2, folder }
}

/** Where the control group with this path is, by the mounts of this process; null if it is not mounted. */
function folderOf(controller: string | null, path: string | undefined): string | null {
  if (path === undefined) return null
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const [before = '', after = ''] = line.split(' - ')
    const [, , , root = '', mountPoint = ''] = before.split(' ')
    const [type, , options = ''] = after.split(' ')
    const fits =
      controller === null
        ? type === 'cgroup2'
        : type === 'cgroup' && options.split(',').includes(controller)
    const within = relative(root, path)
    if (fits && !within.startsWith('..')) return join(mountPoint, within)
  }
  return null
}

function makeIn(folder: string): string {
  removeStale(folder)
  const namespace = ownNamespace().replace(/\D/g, '')
  const own = join(folder, `retrai-${namespace}:${processName('self')}`)
  mkdirSync(own, { recursive: true })
  return own
}

/** Groups of servers that do not live any more. One of another container, which may share the folder, may live. */
function removeStale(folder: string): void {
  for (const name of readdirSync(folder)) {
    const [, namespace, server = ''] = OWNED.exec(name) ?? []
    if (namespace !== undefined && hasEnded(`pid:[${namespace}]`, server)) {
      removeTree(join(folder, name))
    }
  }
}

function removeTree(folder: string): void {
  try {
    for (const child of readdirSync(folder, { withFileTypes: true })) {
      if (child.isDirectory()) removeTree(join(folder, child.name))
    }
    rmdirSync(folder)
  } catch {
    // Something still runs in it, or it is gone.
  }
}

/**
 * Gives the groups below a folder their controllers. A group that has some may hold no processes itself, so those of this
 * server move to a group beside. @param own the group for commands; null if the folder is that group
 */
function delegate(folder: string, controllers: readonly string[], own: string | null): void {
  const control = join(folder, 'cgroup.subtree_control')
  const added = controllers.map((name) => `+${name}`).join(' ')
  try {
    writeFileSync(control, added)
  } catch (cause) {
    if (own === null || (cause as NodeJS.ErrnoException).code !== 'EBUSY') throw cause
    const pids = readFileSync(join(folder, 'cgroup.procs'), 'utf8').trim().split('\n')
    if (!pids.every(isOurs)) {
      throw new Error('the control group of this server has processes of others in it')
    }
    const beside = join(folder, `${basename(own)}-server`)
    mkdirSync(beside, { recursive: true })
    for (const pid of pids) writeFileSync(join(beside, 'cgroup.procs'), pid)
    writeFileSync(control, added)
  }
}

/** Whether a process is this one or one that it has started. */
function isOurs(pid: string): boolean {
  if (pid === String(process.pid)) return true
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const parent = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]
  return parent === String(process.pid) && readlinkSync(`/proc/${pid}/exe`) === process.execPath
}

/** The folder of each controller. */
export const foldersOf = (group: ControlGroup): string[] =>
  group.version === 2
    ? [group.folder]
    : [group.memory, ...(group.pids === null ? [] : [group.pids])]

export type GroupLimits = Pick<Limits, 'memoryBytes' | 'processes'>

/** Sets the limits of a group. Throws what the file system throws. */
export function limit(group: ControlGroup, { memoryBytes, processes }: GroupLimits): void {
  const threads = String(processes * THREADS_PER_PROCESS)
  if (group.version === 1) {
    writeFileSync(join(group.memory, 'memory.limit_in_bytes'), String(memoryBytes))
    if (group.pids !== null) writeFileSync(join(group.pids, 'pids.max'), threads)
    return
  }
  writeFileSync(join(group.folder, 'memory.max'), String(memoryBytes))
  writeFileSync(join(group.folder, 'pids.max'), threads)
  const swap = join(group.folder, 'memory.swap.max')
  if (existsSync(swap)) writeFileSync(swap, '0')
}

/** The kernel gives every other group 100. */
const CPU_WEIGHT = '33'

/** Lets the server go first when it and its commands want the processors at the same time. Version 1 leaves that to `nice`. */
function weigh(group: ControlGroup): void {
  if (group.version === 1) return
  const weight = join(group.folder, 'cpu.weight')
  if (existsSync(weight)) writeFileSync(weight, CPU_WEIGHT)
}
