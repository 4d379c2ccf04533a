import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  realpathSync,
  statSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Level } from '../../domain/isolation.ts'
import type { Network } from '../../domain/network.ts'
import type { ProjectFolder } from '../../domain/project-folder.ts'
import type { NetworkTools } from '../network/network-tools.ts'
import type { CheckHome } from './check-homes.ts'
import { openFolder, SandboxError } from './project-folder.ts'

/** The user of commands in projects of root, who owns nothing else, and the programs that let it work there. */
export type OwnUser = {
  /** The id of the user, and of its group. */
  readonly id: number
} & Readonly<Record<'unshare' | 'mount' | 'umount' | 'nsenter', string>>

/** What an isolated command sees and may do, as the runner needs it. */
export type Sandbox = {
  readonly level: Exclude<Level, 'none'>
  /** Absolute path of bwrap or, at the level `landlock`, of setpriv. */
  readonly launcher: string
  /** The path of setpriv, which a root server needs at every level. */
  readonly setpriv: string | null
  /** The file that holds the filter of system calls. It is empty if no filter exists for this kind of processor. */
  readonly filter: string
  /** The project as the run names it. All that the command may change is in here, or in the folders below. */
  readonly project: string
  /** Which folder that is; null if it is not known. */
  readonly known: ProjectFolder | null
  /** Folders of the host for its home and its temporary files, made when missing; null: empty ones for this command. `kept`: from one command of the run to the next. */
  readonly own: { readonly home: string; readonly tmp: string; readonly kept: boolean } | null
  /** The home of a command that has none of its own, such as one of a check; null: an empty one. */
  readonly checkHome: CheckHome | null
  /** Whether a home can be shown below a layer that takes its changes. */
  readonly layers: boolean
  /** More folders that it may write, such as the one for the report of a check. */
  readonly writable: readonly string[]
  /** More folders and files that it may read, also if they are above the project or are the project. */
  readonly readable: readonly string[]
  /** Folders of tool chains outside of the system's own, to be read. */
  readonly tools: readonly string[]
  /** What it reaches. */
  readonly network: Network
  /** The socket of the proxy, if it reaches a list of hosts, and the port that leads to it. The runner knows them. */
  readonly proxy: { readonly socket: string; readonly port: number } | null
  /** Whether `enter` leads into the network that it has. Otherwise it gets one in which there is nothing. */
  readonly hasNetwork: boolean
  /** The program that passes connections on to that socket; null: the Node of this server does it. */
  readonly socat: string | null
  /** The program with which a command joins the network of a process of its run; null if it is missing. */
  readonly nsenter: string | null
  /** The programs for the network `full`; null if one is missing. */
  readonly networkTools: NetworkTools | null
  /** Who works in the projects of root, at the level `namespaces` of a root server; null if nobody else can. */
  readonly ownUser: OwnUser | null
  /** What comes before the launcher, so that it starts in namespaces that were made for it. */
  readonly enter: readonly string[]
  /** What comes right before the launcher, so that mounts of the machine that come later are not seen; empty if nothing can do that. */
  readonly apart: readonly string[]
  /** Where the server makes folders for commands. */
  readonly folder: string
  /** The home of the server's user, which records show as `~`. */
  readonly userHome: string
  /** Folders of the server: never shown, whatever they are in. */
  readonly hidden: readonly string[]
}

/** Where home and temporary files are in a container. */
export const HOME = '/home/agent'
export const TMP = '/tmp'

export const isRoot = (): boolean => process.getuid?.() === 0

/** The home and the temporary files in a folder of the server. */
export const placesIn = (folder: string, kept: boolean): NonNullable<Sandbox['own']> => ({
  home: join(folder, 'home'),
  tmp: join(folder, 'tmp'),
  kept,
})

/** Whether a path is in a folder, or is it. */
export const isWithin = (folder: string, path: string): boolean =>
  path === folder || path.startsWith(folder.endsWith('/') ? folder : `${folder}/`)

const overlap = (one: string, other: string): boolean =>
  isWithin(one, other) || isWithin(other, one)

/** The project's folder, opened: whatever the run puts in its place later, this is what is mounted. */
export type OpenedProject = {
  readonly descriptor: number
  /** Where it is, through no link. */
  readonly real: string
  /** Who runs the command, if this process may choose: the owner of the project, or a user of its own if that is root. */
  readonly user: { readonly uid: number; readonly gid: number } | null
  readonly isRootOwned: boolean
}

/**
 * The end of a command that is refused for that.
 * @param why as a part of a sentence
 */
export function notIsolated(why: string) {
  const message = `The command was not started, because it cannot be isolated: ${why}`
  return { end: 'not_isolated', message } as const
}

/** What the error of a launcher that was not started means: if it is gone, nothing can be isolated. */
export const launchError = (launcher: string, cause: unknown): unknown =>
  isExecutable(launcher) ? cause : new SandboxError(`${launcher} is not installed any more`)

/** Opens the project. Throws as `openFolder` does, and if it is a folder of the server. */
export function openProject({ project, known, hidden, ownUser }: Sandbox): OpenedProject {
  const { descriptor, path: real, uid, gid } = openFolder(project, known)
  if (hidden.some((path) => overlap(path, real))) {
    closeSync(descriptor)
    throw new SandboxError(`${project} leads to the data folder of the server`)
  }
  const isRootOwned = uid === 0
  const owner = isRootOwned ? idsOf(ownUser) : { uid, gid }
  const user = isRoot() ? owner : null
  return { descriptor, real, user, isRootOwned }
}

/** Where a path leads, or the path if it leads nowhere. */
export function realPathOf(path: string): string {
  try {
    return realpathSync.native(path)
  } catch {
    return path
  }
}

const idsOf = (ownUser: OwnUser | null): OpenedProject['user'] =>
  ownUser === null ? null : { uid: ownUser.id, gid: ownUser.id }

const ROOT = { uid: 0, gid: 0 }

/** Makes the folders that a command may write, and gives them to the user who runs it. */
export function prepareFolders(
  {
    own,
    checkHome,
    writable,
    readable,
    hidden,
    folder,
  }: Pick<Sandbox, 'own' | 'checkHome' | 'writable' | 'readable' | 'hidden' | 'folder'>,
  user: OpenedProject['user'],
): void {
  const homes = [own?.home, own?.tmp, checkHome?.layer?.changes ?? checkHome?.home]
  for (const path of homes.filter((path) => path !== undefined)) {
    const isNew = mkdirSync(path, { recursive: true, mode: 0o711 }) !== undefined
    // An earlier command of the run may have had another user: something may have been mounted in the project since.
    const owner = user ?? (isRoot() ? ROOT : null)
    if (owner !== null && lstatSync(path).uid !== owner.uid) give(path, owner)
    if (isNew) chmodSync(path, 0o700)
  }
  if (user === null) return
  // Only what the server has made for this command, in a folder of its own.
  const made = [...writable, ...readable].filter((path) => {
    return [...hidden, folder].some((ours) => isWithin(ours, path))
  })
  for (const path of made) give(path, user)
}

/** Gives a user what is at a path. A command may write there meanwhile, so what is in a folder is named from the opened folder. */
function give(path: string, user: NonNullable<OpenedProject['user']>): void {
  lchownSync(path, user.uid, user.gid)
  if (!lstatSync(path).isDirectory()) return
  const folder = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
  try {
    const inside = `/proc/self/fd/${folder}`
    for (const name of readdirSync(inside)) give(join(inside, name), user)
  } finally {
    closeSync(folder)
  }
}

/** Whether a path leads to a file that this process may execute. */
export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}
