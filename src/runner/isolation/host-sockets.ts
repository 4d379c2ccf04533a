import { lstatSync, readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { throwIfShort } from '../../lib/shortage.ts'

type BoundSocket = readonly [inode: string, name: string]

let lastList: { readonly readAt: number; readonly sockets: readonly BoundSocket[] } = {
  readAt: Number.NEGATIVE_INFINITY,
  sockets: [],
}

/** Where a socket with a relative name was bound, by its inode; null if nobody can say. */
let folders = new Map<string, string | null>()

/** How many names of a project are looked at. Those nearest to its folder come first. */
const MAX_NAMES = 20_000

/**
 * The unix sockets to which processes of this machine listen, as paths through no link: those whose name still leads to
 * them, wherever they are, and of the others those in the project. A command could connect to them also through a read-only
 * mount. A list of the kernel has the names, so the project, which may be large, is searched only if one of them leads nowhere.
 * @param project its paths, with and without links
 * @param maxAgeMs how old the list may be. On a busy machine it takes milliseconds to read.
 */
export function hostSockets(project: readonly string[], maxAgeMs = 0): string[] {
  const found = new Set<string>()
  const known = new Map<string, string | null>()
  if (performance.now() >= lastList.readAt + maxAgeMs) {
    lastList = { readAt: performance.now(), sockets: boundSockets() }
  }
  let isAnyLost = false
  for (const [inode, name] of lastList.sockets) {
    const paths = pathsOf(inode, name, project, known)
      .map(socketAt)
      .filter((path) => path !== null)
    // Two sockets with one name: at least the older one is elsewhere.
    if (paths.every((path) => found.has(path))) isAnyLost = true
    for (const path of paths) found.add(path)
  }
  folders = known
  if (isAnyLost) for (const path of socketsBelow(project[0] ?? '/')) found.add(path)
  return [...found].toSorted()
}

/** What the list of the kernel has before a name, of what can be connected to: Num RefCount Protocol Flags Type St Inode. */
const BEFORE_NAME = String.raw`[\da-f]+: (?:[\dA-F]+ ){5} *\d+`
const REACHABLE = String.raw`[\da-f]+: [\dA-F]+ [\dA-F]+ (?:00010000 [\dA-F]+|[\dA-F]+ 0002) [\dA-F]+ *(\d+)`
/** Abstract names begin with @. Other names may have line breaks. */
const NAMED = new RegExp(
  `^${REACHABLE} ([^@][\\s\\S]*?)(?=\n(?:${BEFORE_NAME}|(?![\\s\\S])))`,
  'gm',
)

/** The sockets of this network namespace that have a path and take connections or datagrams, each an inode and a name. */
function boundSockets(): BoundSocket[] {
  try {
    const bound = readFileSync('/proc/net/unix', 'utf8').matchAll(NAMED)
    return [...bound].map(([, inode = '', name = '']) => [inode, name])
  } catch (cause) {
    throwIfShort(cause)
    return []
  }
}

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

function socketsBelow(project: string): string[] {
  const found: string[] = []
  const waiting = [project]
  let names = 0
  for (let at = waiting.shift(); at !== undefined && names < MAX_NAMES; at = waiting.shift()) {
    try {
      for (const entry of readdirSync(at, { withFileTypes: true })) {
        names += 1
        if (entry.isDirectory()) waiting.push(join(at, entry.name))
        else if (entry.isSocket()) found.push(join(at, entry.name))
      }
    } catch (cause) {
      throwIfShort(cause)
      // It is gone, or may not be read.
    }
  }
  return found
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
