import { chown, lstat, mkdir, realpath, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import { LEVELS } from '../../domain/isolation.ts'
import { removeFolder } from '../../lib/remove-folder.ts'
import { sha256 } from '../../lib/sha256.ts'
import { PROXY_FOLDER } from '../network/command-proxies.ts'
import { findNetworkTools } from '../network/network-tools.ts'
import { RESOLV_CONF } from '../network/whole-network.ts'
import type { Runner } from '../runner.ts'
import { findProgram } from './find-program.ts'
import { ACCOUNTS, ownUserFrom, writeAccounts } from './own-user.ts'
import { probe } from './probe.ts'
import { isRoot, type OwnUser, placesIn, type Sandbox } from './sandbox.ts'
import { seccompProgram } from './seccomp.ts'
import { toolChains } from './tool-chains.ts'

/** Below the data folder: homes and temporary files of runs. */
export const FOLDER = 'sandboxes'
/** A file that no command may see: a trial tries to read it. */
const SECRET = 'secret'
/** What is kept in that folder, beside what belongs to a run. */
export const KEPT: ReadonlySet<string> = new Set([
  ...[SECRET, 'checks', PROXY_FOLDER, RESOLV_CONF.name, ...ACCOUNTS.map(({ name }) => name)],
  ...LEVELS.map((level) => `filter-${level}`),
])
const NOBODY = 65_534
export type TrialOptions = {
  readonly runner: Pick<Runner, 'start'>
  readonly dataDir: string
  readonly env: Readonly<Record<string, string | undefined>>
  /** More folders that commands may read. */
  readonly toolPaths: readonly string[]
}

const LAUNCHERS = { namespaces: 'bwrap', landlock: 'setpriv' } as const

/** A level that works here. */
type Tried = {
  /** The sandbox of a command, without what belongs to the command. */
  readonly base: Sandbox
  readonly fullNetworkProblem: string | null
  /** Why commands in a project of root are root too, or may be refused, as a sentence for people; null if they are not. */
  readonly ownUserProblem: string | null
}

/** Makes what every command at a level has in common, and runs a command as a trial. The error is a part of a sentence. */
export async function trySandbox(
  level: Sandbox['level'],
  { runner, env, toolPaths, ...options }: TrialOptions,
): Promise<Result<Tried, string>> {
  if (process.platform !== 'linux') return err('it exists only on Linux')
  const launcher = findProgram(LAUNCHERS[level], env.PATH)
  const setpriv = findProgram('setpriv', env.PATH)
  if (launcher === null) return err('its program is not installed')
  if (isRoot() && setpriv === null) return err('setpriv of util-linux is not installed')
  const dataDir = await realpath(options.dataDir)
  const inside = join(dataDir, FOLDER)
  await mkdir(inside, { recursive: true, mode: 0o700 })
  const secret = join(inside, SECRET)
  await writeFile(secret, '')
  const folder = level !== 'namespaces' && isRoot() ? await folderForUsers(dataDir) : inside
  const filter = join(folder, `filter-${level}`)
  const calls = seccompProgram({ network: level !== 'landlock' })
  await writeFile(filter, calls ?? '', { mode: 0o644 })
  const hidden = [...new Set([dataDir, options.dataDir])]
  // Where administrators have their programs, which are not on the PATH of every user.
  const find = (name: string) => findProgram(name, `${env.PATH ?? ''}:/usr/sbin:/sbin`)
  const whole = findNetworkTools(find)
  const tools = toolChains(env, toolPaths, hidden)
  let sandbox: Sandbox = {
    ...{ level, launcher, setpriv, filter, hidden, folder, tools },
    ...{
      project: '/',
      known: null,
      own: null,
      writable: [],
      readable: [],
      userHome: env.HOME ?? '',
    },
    ...{ checkHome: null, layers: false },
    ...{ network: 'none', proxy: null, socat: findProgram('socat', env.PATH) },
    ...{ enter: [], apart: level === 'namespaces' ? apartFrom(find) : [] },
    ...{ hasNetwork: false, nsenter: find('nsenter') },
    ...{ networkTools: 'tools' in whole ? whole.tools : null, ownUser: null },
  }
  await writeFile(join(folder, RESOLV_CONF.name), RESOLV_CONF.text, { mode: 0o644 })
  const attempt = async (ownUser: OwnUser | null, owner: number | null) => {
    const own = placesIn(join(folder, 'probe'), false)
    const tried = { ...sandbox, own, ownUser }
    const problem = await again(() => probe(runner, tried, { secret, owner }))
    await removeFolder(join(folder, 'probe'))
    return problem
  }
  if (sandbox.apart.length > 0 && (await attempt(null, null)) !== null) {
    sandbox = { ...sandbox, apart: [] }
  }
  const isOfRoot = isRoot() && level === 'namespaces'
  const ownUser = isOfRoot ? ownUserFrom(find) : null
  if (ownUser !== null) await writeAccounts(folder)
  const without = ownUser === null ? NO_OWN_USER : await attempt(ownUser, null)
  // Null for the server's user: commands of a root server run as the owner of the project.
  for (const owner of isRoot() ? [null, NOBODY] : [null]) {
    if (owner === null && without === null) continue
    const problem = await attempt(null, owner)
    if (problem !== null) return err(problem)
  }
  const layered = without === null ? { ...sandbox, ownUser } : sandbox
  const layers = level === 'namespaces' && (await canLayer(runner, layered, secret))
  const fullNetworkProblem = 'problem' in whole ? whole.problem : null
  const isNever = without !== null && !LATE.test(without)
  const base = { ...sandbox, layers, ownUser: isNever ? null : ownUser }
  return ok({ base, fullNetworkProblem, ownUserProblem: isOfRoot ? problemOf(without) : null })
}

/**
 * Starts the launcher in a mount namespace that gets nothing of the machine's any more. bwrap alone would show what the machine
 * mounts later below a folder that it shows, and as it is mounted there: writable, with programs of the rights of their owner.
 */
function apartFrom(find: (name: string) => string | null): string[] {
  const unshare = find('unshare')
  const users = isRoot() ? [] : ['--user', '--map-current-user']
  return unshare === null ? [] : [unshare, ...users, '--mount', '--propagation', 'private', '--']
}

/** Whether a home can be shown below a layer: that needs bubblewrap 0.11, and a file system that the kernel can layer. */
async function canLayer(
  runner: TrialOptions['runner'],
  sandbox: Sandbox,
  secret: string,
): Promise<boolean> {
  const at = (name: string): string => join(sandbox.folder, 'probe', name)
  const checkHome = { home: at('home'), layer: { changes: at('changes'), work: at('work') } }
  for (const name of ['home', 'changes', 'work']) await mkdir(at(name), { recursive: true })
  const owner = isRoot() && sandbox.ownUser === null ? NOBODY : null
  const user = owner ?? sandbox.ownUser?.id
  if (user !== undefined) await chown(checkHome.home, user, user)
  const problem = await probe(runner, { ...sandbox, checkHome }, { secret, owner })
  await removeFolder(join(sandbox.folder, 'probe'))
  return problem === null
}

const NO_OWN_USER = 'mount, umount, unshare or nsenter is not installed'

/** What a trial says of a machine that is slow now, and not of what it can do. */
const LATE = /took too long|not mounted within/

/** Repeats a trial that was too slow: when a machine starts, much else does. */
async function again(trial: () => Promise<string | null>): Promise<string | null> {
  const problem = await trial()
  return problem !== null && LATE.test(problem) ? trial() : problem
}

/** @param why there is no user of their own, as a part of a sentence */
function problemOf(why: string | null): string | null {
  if (why === null) return null
  return LATE.test(why) ? NOT_KNOWN : `${AS_ROOT} (${why}).`
}

const AS_ROOT = 'In a project that belongs to root, commands run as root without capabilities'
const NOT_KNOWN =
  'Whether commands in a project that belongs to root can have a user of their own is not known, because the trial took too long. ' +
  'Each command tries it, and is refused if its project is not mounted in time.'

/**
 * If commands run as the owner of the project and share the file system of a root server, they cannot pass through the
 * data folder to their home. This folder lets them pass, and shows no names.
 */
async function folderForUsers(dataDir: string): Promise<string> {
  const folder = join('/var/tmp', `retrai-${sha256(dataDir).slice(0, 16)}`)
  await mkdir(folder, { mode: 0o711 }).catch(() => {})
  const { uid, mode } = await lstat(folder)
  if (uid !== 0 || (mode & 0o170_777) !== 0o040_711) {
    throw new Error(`${folder} is not what this server has made. Remove it`)
  }
  await mkdir(join(folder, 'checks'), { mode: 0o711 }).catch(() => {})
  return folder
}

/** Removes that folder when the server stops, unless runs that are not at their end have homes in it. Never rejects. */
export async function leaveFolderForUsers(folder: string): Promise<void> {
  for (const name of KEPT) await removeFolder(join(folder, name)).catch(() => {})
  await rmdir(folder).catch(() => {})
}
