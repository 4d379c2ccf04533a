import { execFile } from 'node:child_process'
import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Notice } from '../domain/records.ts'
import type { ProjectFolder } from '../domain/run-config.ts'
import { codeOf, messageOf, throwIfShort } from '../lib/message-of.ts'
import { FIRST_PORT, networkVariables } from './container-shell.ts'
import type { Connection } from './network/connection.ts'
import { CommandProxy } from './network/proxy.ts'
import { networkOf, openWholeNetwork, type WholeNetwork } from './network/whole-network.ts'
import { openFolder, repositoryAround, SandboxError } from './project-folder.ts'
import { isRoot, OWN_ID, programIn, type Sandbox } from './sandbox.ts'
import { HOLD, hold, WITHIN_MS } from './system.ts'

const execute = promisify(execFile)

/** A network that the commands of a run share while a process works in the background. */
export type Localhost = {
  /** The same for all that may share it. */
  readonly key: string
  /** Whether it is such a process; the others join the network if it is there. */
  readonly opens: boolean
}

type Environment = Readonly<Record<string, string>>
type Note = (notice: Notice) => void
type Run<T> = (sandbox: Sandbox, env: Environment) => Promise<T>

type Shared = {
  readonly network: Promise<WholeNetwork>
  /** The commands in it, by their numbers. The first gets what is reported of the whole network. */
  readonly members: Map<number, Note>
}

/** Below the folder where the server makes folders for commands: the sockets of proxies. */
export const PROXY_FOLDER = 'proxy'

/**
 * The networks of commands. Each command has one of its own, except while a process of its run works in the background:
 * then the commands of the run join the network of that process, so that they reach its ports on localhost. A network
 * ends with the last command in it.
 */
export class Networks {
  readonly #shared = new Map<string, Shared>()
  #sockets: { readonly folder: string; readonly descriptor: number } | null = null
  #count = 0

  /**
   * Calls `run` with a sandbox and an environment in which a command reaches what it may reach. Rejects with a
   * `SandboxError` if the network cannot be made.
   * @param localhost whose ports on localhost it reaches: its own, if this is left out
   */
  async with<T>(
    sandbox: Sandbox,
    { env, localhost }: { readonly env: Environment; readonly localhost?: Localhost },
    note: Note,
    run: Run<T>,
  ): Promise<T> {
    const shared = this.#sharedBy(sandbox, localhost, note)
    const onPort = (inside: Sandbox, port: number) => this.#withHosts(inside, env, port, note, run)
    if (shared === null) return onPort(sandbox, FIRST_PORT)
    const { members, network } = shared
    let member = 0
    while (members.has(member)) member += 1
    members.set(member, note)
    try {
      const enter = [...sandbox.enter, ...(await network).enter]
      const inside = { ...sandbox, enter, hasNetwork: true }
      return await onPort(inside, FIRST_PORT + member)
    } finally {
      if (members.size === 1) {
        for (const [key, one] of this.#shared) if (one === shared) this.#shared.delete(key)
        // It reports to the last member.
        await network.then(({ close }) => close()).catch(() => {})
      }
      members.delete(member)
    }
  }

  /** The network that a command enters; null if it gets an empty one from its container. */
  #sharedBy(sandbox: Sandbox, localhost: Localhost | undefined, note: Note): Shared | null {
    const isWhole = sandbox.network === 'full'
    const joins = localhost !== undefined && sandbox.programs.nsenter !== undefined
    const known = joins ? this.#shared.get(localhost.key) : undefined
    if (known !== undefined) return known
    if (!isWhole && !(joins && localhost.opens)) return null
    const members = new Map<number, Note>()
    const onConnection = (payload: Connection): void => {
      const [first = note] = members.values()
      first({ kind: 'network_connection', payload })
    }
    const network = isWhole ? openWholeNetwork(sandbox, onConnection) : openLoopback(sandbox)
    const shared = { members, network }
    if (joins && localhost.opens) this.#shared.set(localhost.key, shared)
    return shared
  }

  async #withHosts<T>(
    sandbox: Sandbox,
    env: Environment,
    port: number,
    note: Note,
    run: Run<T>,
  ): Promise<T> {
    const { network, folder } = sandbox
    if (typeof network === 'string') return run(sandbox, env)
    this.#count += 1
    const name = `call-${this.#count}`
    // The path of a socket must be short.
    const short = `/proc/self/fd/${this.#socketsIn(folder)}/${name}`
    const proxy = await CommandProxy.open(short, network.allow, (payload) =>
      note({ kind: 'network_connection', payload }),
    )
    try {
      const socket = join(folder, PROXY_FOLDER, name)
      const variables = { ...env, ...networkVariables(network, port) }
      return await run({ ...sandbox, proxy: { socket, port } }, variables)
    } finally {
      await proxy.close()
    }
  }

  /** A descriptor of the folder of sockets, from which those of an earlier runner are removed. */
  #socketsIn(folder: string): number {
    if (this.#sockets?.folder === folder) return this.#sockets.descriptor
    const path = join(folder, PROXY_FOLDER)
    mkdirSync(path, { recursive: true, mode: 0o700 })
    for (const name of readdirSync(path)) rmSync(join(path, name), { recursive: true, force: true })
    if (this.#sockets !== null) closeSync(this.#sockets.descriptor)
    const descriptor = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY)
    this.#sockets = { folder, descriptor }
    return descriptor
  }
}

/** A network namespace with nothing but loopback. bwrap makes it, because it can switch loopback on. */
async function openLoopback(sandbox: Sandbox): Promise<WholeNetwork> {
  const users = isRoot() ? [] : ['--unshare-user']
  const made = [...users, '--unshare-net', '--die-with-parent', '--dev-bind', '/', '/']
  const line = [sandbox.launcher, ...made, '--', '/bin/sh', '-c', HOLD]
  const holder = await hold(line).catch(() => {
    throw new SandboxError('a network namespace cannot be made')
  })
  return { enter: networkOf(holder, sandbox), close: async () => holder.release() }
}

/** Shows files of root as those of the user, and stores those of the user as those of root. All others stay. */
const MAP = `X-mount.idmap=b:0:${OWN_ID}:1 b:1:1:${OWN_ID - 1}`
const MOUNT = '"$1" --bind -o "$2" "$3" "$3" || exit; shift 3; exec "$@"'

/** The exit codes of a `mount` that does not know the option, and if the kernel refused it, such as for NFS. */
const UNKNOWN = '1'
const REFUSED = '32'
/** An older `mount` ignores the option: then the folder still belongs to root. */
const IS_MAPPED = `[ ! -O "$1" ] || exit ${UNKNOWN}`

/** The folders whose ids could be mapped, by their devices and paths. */
const mapping = new Set<string>()

/**
 * Lets a command in a project of root run as another user. An id-mapped mount covers the project in a mount namespace of
 * the command, so nothing of it is seen elsewhere, and the files of the project keep their owner. Nothing changes for
 * projects of other users.
 * @returns the sandbox in which the command has its own user, or without one if the file system of the project cannot map
 * ids. Rejects with a `SandboxError`, or for a shortage, if that is not known: the next command tries again
 */
export async function withOwnUser(sandbox: Sandbox): Promise<Sandbox> {
  const project = sandbox.ownUser ? placeOf(sandbox) : null
  if (project === null) return sandbox
  const { path, device } = rootAround(project, sandbox) ?? project
  const apart = [programIn(sandbox, 'unshare'), '--mount', '--propagation', 'private']
  const mounted = ['/bin/sh', '-c', MOUNT, 'sh', programIn(sandbox, 'mount'), MAP, path]
  const enter = [...apart, ...mounted]
  const canMap = !hasMountsInside(project.path) && (await maps(path, device, enter))
  return canMap
    ? { ...sandbox, enter: [...enter, ...sandbox.enter] }
    : { ...sandbox, ownUser: false }
}

/** Whether a folder can be mounted for the user. Tried until it can, and not again: then a mount that fails is an error. */
async function maps(path: string, device: string, enter: readonly string[]): Promise<boolean> {
  const place = `${device}:${path}`
  if (mapping.has(place)) return true
  const [file = '', ...args] = [...enter, '/bin/sh', '-c', IS_MAPPED, 'sh', path]
  try {
    await execute(file, args, { cwd: '/', env: {}, timeout: WITHIN_MS, killSignal: 'SIGKILL' })
    mapping.add(place)
    return true
  } catch (cause) {
    throwIfShort(cause)
    const code = codeOf(cause)
    if (code === UNKNOWN || code === REFUSED) return false
    throw new SandboxError(
      `its project cannot be mounted for its user. The next command tries that again: ${messageOf(cause)}`,
    )
  }
}

/** A project of root, by its path through no link; null if it belongs to another user. Throws as `openFolder` does. */
function placeOf({ project, known }: Pick<Sandbox, 'project' | 'known'>): ProjectFolder | null {
  using opened = openFolder(project, known)
  const { uid, path, device, inode } = opened
  return uid === 0 ? { path, device, inode } : null
}

/** The root of the repository around a project, which git and its packages read: null if it has another owner or mounts. */
function rootAround({ path }: ProjectFolder, sandbox: Sandbox): ProjectFolder | null {
  const root = repositoryAround(path, sandbox)?.root ?? path
  return root === path || hasMountsInside(root) ? null : placeOf({ project: root, known: null })
}

/** Whether something is mounted below a folder: the mapped mount would not show it. */
function hasMountsInside(folder: string): boolean {
  const escaped = folder.replace(/[ \t\n\\]/g, (c) => `\\0${c.charCodeAt(0).toString(8)}`)
  const below = escaped.endsWith('/') ? escaped : `${escaped}/`
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .some((line) => line.includes(below) && line.split(' ')[4]?.startsWith(below))
}
