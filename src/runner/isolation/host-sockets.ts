import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { isAbsolute, join, relative } from 'node:path'
import { throwIfShort } from '../../lib/shortage.ts'
import { isWithin } from './sandbox.ts'

type BoundSocket = readonly [inode: string, name: string]

let lastList: { readonly readAt: number; readonly sockets: readonly BoundSocket[] } = {
  readAt: Number.NEGATIVE_INFINITY,
  sockets: [],
}

/** Where a socket with a relative name was bound, by its inode; null if nobody can say. */
let folders = new Map<string, string | null>()

/**
 * The unix sockets of processes of this machine that are in a project, as paths from it. A command could connect to them
 * also through a read-only mount. A list of the kernel has them, so the project, which may be large, is not searched.
 * @param project its paths, with and without links
 * @param maxAgeMs how old the list may be. On a busy machine it takes milliseconds to read.
 */
export function hostSockets(project: readonly string[], maxAgeMs = 0): string[] {
  const found = new Set<string>()
  const known = new Map<string, string | null>()
  if (performance.now() >= lastList.readAt + maxAgeMs) {
    lastList = { readAt: performance.now(), sockets: boundSockets() }
  }
  for (const [inode, name] of lastList.sockets) {
    for (const path of pathsOf(inode, name, project, known)) {
      const root = project.find((folder) => isWithin(folder, path) && path !== folder)
      if (root !== undefined && isSocket(path)) found.add(relative(root, path))
    }
  }
  folders = known
  return [...found].toSorted()
}

/** What the list of the kernel has before a name: Num RefCount Protocol Flags Type St Inode. */
const BEFORE_NAME = String.raw`[\da-f]+: (?:[\dA-F]+ ){5} *(\d+)`
/** Abstract names begin with @. Other names may have line breaks. */
const NAMED = new RegExp(
  `^${BEFORE_NAME} ([^@][\\s\\S]*?)(?=\n(?:${BEFORE_NAME}|(?![\\s\\S])))`,
  'gm',
)

/** The sockets of this network namespace that have a path, each an inode and a name. */
function boundSockets(): BoundSocket[] {
  try {
    const bound = readFileSync('/proc/net/unix', 'utf8').matchAll(NAMED)
    return [...bound].map(([, inode = '', name = '']) => [inode, name])
  } catch (cause) {
    throwIfShort(cause)
    return []
  }
}

/** A relative name belongs to the folder that its process was in. That may be the project. */
function pathsOf(
  inode: string,
  name: string,
  project: readonly string[],
  known: Map<string, string | null>,
): string[] {
  if (isAbsolute(name)) return [name]
  const folder = folders.get(inode) ?? folderOfOwner(inode)
  known.set(inode, folder)
  return [...project, ...(folder === null ? [] : [folder])].map((base) => join(base, name))
}

/** The working folder of the process that has a socket open, if this process may know it. */
function folderOfOwner(inode: string): string | null {
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue
    try {
      const descriptors = readdirSync(`/proc/${pid}/fd`)
      const isOwner = descriptors.some(
        (fd) => linkOf(`/proc/${pid}/fd/${fd}`) === `socket:[${inode}]`,
      )
      if (isOwner) return readlinkSync(`/proc/${pid}/cwd`)
    } catch (cause) {
      throwIfShort(cause)
      // It is gone, or belongs to another user.
    }
  }
  return null
}

function linkOf(path: string): string | null {
  try {
    return readlinkSync(path)
  } catch {
    return null
  }
}

const isSocket = (path: string): boolean =>
  lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true
