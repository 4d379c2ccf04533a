import {
  chmodSync,
  closeSync,
  constants,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
} from 'node:fs'
import { join } from 'node:path'
import type { IsolationPolicy, Level } from '../domain/isolation.ts'
import type { Network } from '../domain/network.ts'
import type { ProjectFolder } from '../domain/run-config.ts'
import { isWithin } from '../lib/paths.ts'
import { sha256 } from '../lib/sha256.ts'
import { openFolder, SandboxError } from './project-folder.ts'
import { isExecutable } from './system.ts'

/** The id of the user of commands in projects of root, and of its group: above those that systems give, below 2^31. */
export const OWN_ID = 2_000_000_000

/** Files in which programs look for the name of that user: where they are, and their names in the folder of the server. */
export const ACCOUNTS = [
  {
    path: '/etc/passwd',
    name: 'passwd',
    line: `agent:x:${OWN_ID}:${OWN_ID}::/home/agent:/bin/bash`,
  },
  { path: '/etc/group', name: 'group', line: `agent:x:${OWN_ID}:` },
] as const

/** Programs that some commands need beside the launcher. */
export const PROGRAMS = ['setpriv', 'unshare', 'nsenter', 'mount', 'pasta', 'ip'] as const
type Program = (typeof PROGRAMS)[number]
/** Where those are that are installed, as absolute paths. */
export type Programs = { readonly [Name in Program]?: string }

/** Throws a `SandboxError` if the program is not installed. */
export function programIn({ programs }: Pick<Sandbox, 'programs'>, name: Program): string {
  const path = programs[name]
  if (path === undefined) throw new SandboxError(`${name} is not installed`)
  return path
}

/** The home of a command of a check, as folders of the host. */
export type CheckHome = {
  readonly home: string
  /** Where its changes go, which are removed with the command; null: into the home itself, which this check makes. */
  readonly layer: { readonly changes: string; readonly work: string } | null
}

/** A copy of the project in a folder of the server, which is made with the first command that names it. */
export type ProjectCopy = {
  readonly folder: string
  /** Whether the command has it in the place of the project. Otherwise it is being made, and is beside the project. */
  readonly replaces: boolean
}

/** What an isolated command sees and may do, as the runner needs it. */
export type Sandbox = {
  readonly level: Exclude<Level, 'none'>
  /** Absolute path of bwrap or, at the level `landlock`, of setpriv. */
  readonly launcher: string
  readonly programs: Programs
  /** At the level `landlock`, the file that holds the filter of system calls. It is empty if none exists for this kind of processor. */
  readonly filter: string
  /** The project as the run names it. All that the command may change is in here, or in the folders below. */
  readonly project: string
  /** Which folder that is; null if it is not known. */
  readonly known: ProjectFolder | null
  /** Null: the command works on the project itself. */
  readonly copy: ProjectCopy | null
  /** Folders of the host for its home and its temporary files, made when missing; null: empty ones for this command. `kept`: from one command of the run to the next. */
  readonly own: { readonly home: string; readonly tmp: string; readonly kept: boolean } | null
  /** The home of a command that has none of its own, such as one of a check; null: an empty one. */
  readonly checkHome: CheckHome | null
  /** Whether a home can be shown below a layer that takes its changes. */
  readonly layers: boolean
  /** More folders and files that it may read: a program that is installed elsewhere. */
  readonly readable: readonly string[]
  /** Folders of tool chains outside of the system's own, to be read. */
  readonly tools: readonly string[]
  /** What it reaches. */
  readonly network: Network
  /** The socket of the proxy, if it reaches a list of hosts, and the port that leads to it. The runner knows them. */
  readonly proxy: { readonly socket: string; readonly port: number } | null
  /** Whether `enter` leads into the network that it has. Otherwise it gets one in which there is nothing. */
  readonly hasNetwork: boolean
  /** Whether a user of its own works in the projects of root, at the level `namespaces` of a root server. */
  readonly ownUser: boolean
  /** What comes before the launcher, so that it starts in namespaces that were made for it. */
  readonly enter: readonly string[]
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
/** Where a copy of the project is while it is made. */
export const COPY = '/home/copy'

export const isRoot = (): boolean => process.getuid?.() === 0

/** The home and the temporary files in a folder of the server. */
export const placesIn = (folder: string, kept: boolean): NonNullable<Sandbox['own']> => ({
  home: join(folder, 'home'),
  tmp: join(folder, 'tmp'),
  kept,
})

const overlap = (one: string, other: string): boolean =>
  isWithin(one, other) || isWithin(other, one)

/** The project's folder, opened: whatever the run puts in its place later, this is what is mounted. Disposed of, it is closed. */
export type OpenedProject = Disposable & {
  /** Of the copy, if a command has that in the place of the project. All else is that of the project. */
  readonly descriptor: number
  /** Where it is, through no link. */
  readonly real: string
  /** Who runs the command, if this process may choose: the owner of the project, or a user of its own if that is root. */
  readonly user: { readonly uid: number; readonly gid: number } | null
}

/**
 * The end of a command that is refused for that.
 * @param why as a part of a sentence
 */
export function notIsolated(why: string) {
  const message = `The command was not started, because it cannot be isolated: ${why}`
  return { end: 'not_isolated', message } as const
}

/** Opens the project. Throws as `openFolder` does, if it is a folder of the server, or if what isolates the command is gone. */
export function openProject(sandbox: Sandbox): OpenedProject {
  const { project, known, copy, hidden, ownUser, launcher, enter } = sandbox
  for (const program of [launcher, ...enter.slice(0, 1)]) {
    if (!isExecutable(program)) throw new SandboxError(`${program} is not installed any more`)
  }
  const opened = openFolder(project, known)
  const { path: real, uid, gid } = opened
  if (hidden.some((path) => overlap(path, real))) {
    opened[Symbol.dispose]()
    throw new SandboxError(`${project} leads to the data folder of the server, or to its artifacts`)
  }
  const own = ownUser ? { uid: OWN_ID, gid: OWN_ID } : null
  const user = isRoot() ? (uid === 0 ? own : { uid, gid }) : null
  if (copy?.replaces !== true) return { ...opened, real, user }
  opened[Symbol.dispose]()
  // It is in a folder that no command can change.
  return { ...openFolder(copy.folder, null), real, user }
}

const ROOT = { uid: 0, gid: 0 }

/** Makes the folders that a command may write, and gives them to the user who runs it. */
export function prepareFolders(
  { own, checkHome, copy }: Pick<Sandbox, 'own' | 'checkHome' | 'copy'>,
  user: OpenedProject['user'],
): void {
  const made = copy?.replaces === false ? copy.folder : undefined
  const homes = [own?.home, own?.tmp, checkHome?.layer?.changes ?? checkHome?.home, made]
  for (const path of homes.filter((path) => path !== undefined)) {
    const isNew = mkdirSync(path, { recursive: true, mode: 0o711 }) !== undefined
    // An earlier command of the run may have had another user: something may have been mounted in the project since.
    const owner = user ?? (isRoot() ? ROOT : null)
    if (owner !== null && lstatSync(path).uid !== owner.uid) give(path, owner)
    if (isNew) chmodSync(path, 0o700)
  }
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

/** What a command sees and may change, by roles, and the hash of the arguments that make it so. */
export type PolicyFacts = Pick<
  IsolationPolicy,
  'visible' | 'writable' | 'protected' | 'user' | 'policy_sha256'
>

/** The home and the temporary files of a command that keeps nothing. */
export const EMPTY_HOME = 'empty home'
export const EMPTY_TMP = 'empty tmp'
/** The home that the first check of a run makes, and that of a later one, which begins with what the first one left. */
export const CHECK_HOME = 'home of the first check'
export const COPIED_HOME = 'copy of the home of the first check'

/** What is shown of a program that is installed outside of the system and the tool chains. */
export const PROGRAM = 'program'

/** All of the repository around a project, and not only its history. */
export const AROUND = 'whole repository'

export const unique = (roles: readonly string[]): string[] => [...new Set(roles)]

/** @param roles what is mounted, or what rules allow, with roles in the place of paths */
export const policyHash = (fixed: readonly string[], roles: readonly string[]): string =>
  sha256(JSON.stringify([fixed, roles]))

/** Whether it is the user whom a root server has for projects of root, and for the copies of those. */
export const isOwnUser = (user: OpenedProject['user']): boolean => user?.uid === OWN_ID

/** With whose rights a command of a root server runs, for records and for the hash. Other servers have no choice. */
export function rightsOf(user: OpenedProject['user']): {
  readonly name: Pick<PolicyFacts, 'user'>
  readonly fixed: string
} {
  if (!isRoot()) return { name: {}, fixed: '' }
  if (user === null) return { name: { user: 'root' }, fixed: '' }
  return isOwnUser(user)
    ? { name: { user: 'own' }, fixed: 'as a user of its own' }
    : { name: { user: 'owner' }, fixed: 'as the owner of the project' }
}

/** Shows the home of the server's user as `~`: policies are compared between machines and users. */
export function toolRole(path: string, { userHome }: Pick<Sandbox, 'userHome'>): string {
  const inHome = userHome !== '' && userHome !== '/' && isWithin(userHome, path)
  return `tools:${inHome ? `~${path.slice(userHome.length)}` : path}`
}

/** Without isolation. */
export const EVERYTHING: PolicyFacts = {
  visible: ['everything'],
  writable: ['everything'],
  protected: [],
  policy_sha256: policyHash([], ['everything']),
}

/** If nothing can be started. */
export const NOTHING: PolicyFacts = {
  visible: [],
  writable: [],
  protected: [],
  policy_sha256: policyHash([], []),
}
