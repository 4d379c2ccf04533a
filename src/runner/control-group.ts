import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, join, relative } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import { codeOf, messageOf } from '../lib/message-of.ts'
import type { CommandLimits } from './command.ts'
import { hasEnded, limitGroup, ownNamespace, processName, removeTree, statOf } from './processes.ts'
import type { ControlGroup } from './protocol.ts'

/** The group of a server: the inode of its namespace of process ids, and its name there. */
const OWNED = /^retrai-(\d+):(\d+:\d+)(-server)?$/

/**
 * Makes this server's control group, with the limits of all commands. The error, a part of a sentence, says why not.
 */
export function makeControlGroup(all: CommandLimits['all']): Result<ControlGroup, string> {
  if (process.platform !== 'linux') return err('only Linux has control groups')
  try {
    const group = make(readFileSync('/proc/self/cgroup', 'utf8'))
    limitGroup(group, all)
    weigh(group)
    return ok(group)
  } catch (cause) {
    return err(messageOf(cause))
  }
}

/** Removes the control group of this server. What still runs in it keeps it until the next start. */
export const removeControlGroup = ({ folder }: ControlGroup): void => removeTree(folder)

/**
 * The control group of a process for each controller, and with the name '' that of version 2.
 * @param text of `/proc/PID/cgroup`
 */
export function groupPaths(text: string): ReadonlyMap<string, string> {
  const lines = text.matchAll(/^\d+:([^:]*):(.*)$/gm)
  return new Map(
    [...lines].flatMap(([, controllers = '', path = '']) =>
      controllers.split(',').map((name) => [name, path] as const),
    ),
  )
}

function make(own: string): ControlGroup {
  const paths = groupPaths(own)
  const memory = folderOf('memory', paths.get('memory'))
  if (memory !== null) return { version: 1, folder: makeIn(memory) }
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
    if (own === null || codeOf(cause) !== 'EBUSY') throw cause
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
const isOurs = (pid: string): boolean =>
  pid === String(process.pid) ||
  (statOf(Number(pid))?.parent === process.pid &&
    readlinkSync(`/proc/${pid}/exe`) === process.execPath)

/** The kernel gives every other group 100. */
const CPU_WEIGHT = '33'

/** Lets the server go first when it and its commands want the processors at the same time. Version 1 leaves that to `nice`. */
function weigh({ version, folder }: ControlGroup): void {
  const weight = join(folder, 'cpu.weight')
  if (version === 2 && existsSync(weight)) writeFileSync(weight, CPU_WEIGHT)
}
