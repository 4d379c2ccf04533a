import { randomUUID } from 'node:crypto'
import { lstat, mkdir, readdir, realpath, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import { type IsolationPolicy, isAtLeast, LEVELS, type Level } from '../../domain/isolation.ts'
import type { Network } from '../../domain/network.ts'
import { messageOf } from '../../lib/message-of.ts'
import { sha256 } from '../../lib/sha256.ts'
import type { Command } from '../command.ts'
import { DOORS_FOLDER } from '../network/doors.ts'
import { proxyVariables } from '../network/forwarder.ts'
import { findNetworkTools } from '../network/network-tools.ts'
import { RESOLV_CONF } from '../network/whole-network.ts'
import type { Runner } from '../runner.ts'
import { factsOfContainer } from './bubblewrap.ts'
import { EVERYTHING, NOTHING, type PolicyFacts } from './policy.ts'
import { probe } from './probe.ts'
import { HOME, isExecutable, type Sandbox, TMP } from './sandbox.ts'
import { seccompProgram } from './seccomp.ts'
import { factsOfRestricted } from './setpriv.ts'
import { isolatedEnvironment, toolChains } from './tool-chains.ts'

/** Below the data folder: homes and temporary files of runs. */
const FOLDER = 'sandboxes'
/** What no command may see, to try that. */
const SECRET = 'secret'
const KEPT: ReadonlySet<string> = new Set([
  ...[SECRET, 'checks', DOORS_FOLDER, RESOLV_CONF.name],
  ...LEVELS.map((level) => `filter-${level}`),
])
const NOBODY = 65_534
const INSTALL = 'apt-get install bubblewrap'

/** How a server isolates its commands. */
export type Isolation = {
  /** Null: commands are refused. */
  readonly level: Level | null
  /** A sentence for people. */
  readonly detail: string
  /** Why no command can have the whole network here, as a sentence for people; null if one can. */
  readonly fullNetworkProblem: string | null
  /** Where tools and checks keep what they need for a moment, if the data folder is no place for that. */
  readonly scratchDir: string | null
  readonly network: IsolationPolicy['network']
  /** The isolation that keeps at least a level: this one, or another that passes its trial. The error is a sentence. */
  atLeast(level: Level): Promise<Result<Isolation, string>>
  /** What the commands of a run in this project may see and do. Throws a `SandboxError`. */
  factsFor(project: string, network: Network): PolicyFacts
  /** What the runner needs for a command and the environment of the command; null at the level `none`. */
  prepare(command: Command, env: Readonly<Record<string, string>>): Prepared | null
  /** Removes the home and the temporary files of a run that has ended. Never rejects. */
  forget(runId: string): Promise<void>
  /** Removes those of all other runs. Never rejects. */
  forgetAllBut(runIds: ReadonlySet<string>): Promise<void>
}

type Prepared = {
  readonly sandbox: Sandbox
  readonly env: Readonly<Record<string, string>>
  /** Removes what was made for this command only. */
  readonly done: () => Promise<void>
}

/** Without any isolation: for tests, benches and the level `none`. */
export const NO_ISOLATION: Isolation = {
  level: 'none',
  detail:
    'Commands are not isolated: they have all rights of the server and can read its keys and change its log.',
  fullNetworkProblem: null,
  scratchDir: null,
  network: 'host',
  atLeast: async (level) =>
    level === 'none' ? ok(NO_ISOLATION) : err('This server does not isolate commands.'),
  factsFor: () => EVERYTHING,
  prepare: () => null,
  forget: async () => {},
  forgetAllBut: async () => {},
}

type Options = {
  readonly runner: Runner
  readonly dataDir: string
  readonly env: Readonly<Record<string, string | undefined>>
  /** More folders that commands may read. */
  readonly toolPaths: readonly string[]
}

/** Finds out which level works here. Commands are refused if the wanted one, or with `auto` a good one, does not. */
export async function chooseIsolation(
  wanted: Level | 'auto',
  options: Options,
): Promise<Isolation> {
  const attempts = new Map<Level, Promise<Result<OneLevel, string>>>()
  const attempt = (level: Level): Promise<Result<OneLevel, string>> => {
    const tried = attempts.get(level) ?? tryLevel(level, options)
    attempts.set(level, tried)
    return tried
  }
  const why: string[] = []
  for (const level of wanted === 'auto' ? (['namespaces', 'landlock'] as const) : [wanted]) {
    const tried = await attempt(level)
    if (tried.isOk()) return withStricter(tried.value, attempt)
    why.push(`${level}: ${tried.error}`)
  }
  const detail =
    `Commands are refused, because they cannot be isolated here (${why.join('; ')}). Install bubblewrap (${INSTALL}) ` +
    'and start the server again, or set RETRAI_ISOLATION=none to run commands with all rights of the server.'
  const atLeast = async (): Promise<Result<Isolation, string>> => err(detail)
  return { ...NO_ISOLATION, level: null, detail, atLeast, network: 'none', factsFor: () => NOTHING }
}

/** Isolation at its one level. */
type OneLevel = Omit<Isolation, 'atLeast' | 'level'> & { readonly level: Level }

/** Lets a run ask for a stricter level, which is tried when the first one asks. */
function withStricter(
  own: OneLevel,
  attempt: (level: Level) => Promise<Result<OneLevel, string>>,
): Isolation {
  const isolation: Isolation = {
    ...own,
    atLeast: async (wanted) => {
      if (isAtLeast(own.level, wanted)) return ok(isolation)
      const why: string[] = []
      for (const level of LEVELS.filter((level) => isAtLeast(level, wanted)).reverse()) {
        const tried = await attempt(level)
        if (tried.isOk()) return ok(withStricter(tried.value, attempt))
        why.push(`${level}: ${tried.error}`)
      }
      return err(`This server cannot isolate commands at the level ${wanted} (${why.join('; ')}).`)
    },
  }
  return isolation
}

/** Never rejects. The error is a part of a sentence. */
async function tryLevel(level: Level, options: Options): Promise<Result<OneLevel, string>> {
  if (level === 'none') return ok({ ...NO_ISOLATION, level })
  return trySandbox(level, options).catch((cause) => err(messageOf(cause)))
}

async function trySandbox(
  level: Sandbox['level'],
  { runner, env, toolPaths, ...options }: Options,
): Promise<Result<OneLevel, string>> {
  const launcher = programOn(env.PATH, level === 'namespaces' ? 'bwrap' : 'setpriv')
  const setpriv = programOn(env.PATH, 'setpriv')
  if (launcher === null) return err('its program is not installed')
  if (isRoot() && setpriv === null) return err('setpriv of util-linux is not installed')
  if (level === 'uid' && !isRoot()) return err('the server does not run as root')
  const dataDir = await realpath(options.dataDir)
  const inside = join(dataDir, FOLDER)
  await mkdir(inside, { recursive: true, mode: 0o700 })
  const secret = join(inside, SECRET)
  await writeFile(secret, '')
  const folder = level !== 'namespaces' && isRoot() ? await folderForUsers(dataDir) : inside
  const filter = join(folder, `filter-${level}`)
  await writeFile(filter, seccompProgram({ network: level === 'uid' }) ?? '', { mode: 0o644 })
  const hidden = [...new Set([dataDir, options.dataDir])]
  // Where administrators have their programs, which are not on the PATH of every user.
  const whole = findNetworkTools((name) => programOn(`${env.PATH ?? ''}:/usr/sbin:/sbin`, name))
  const tools = toolChains(env, toolPaths, hidden)
  const sandbox: Sandbox = {
    ...{ level, launcher, setpriv, filter, hidden, folder, tools },
    ...{ project: '/', own: null, writable: [], readable: [], userHome: env.HOME ?? '' },
    ...{ network: 'none', proxy: null, socat: programOn(env.PATH, 'socat'), enter: [] },
    networkTools: 'tools' in whole ? whole.tools : null,
  }
  await writeFile(join(folder, RESOLV_CONF.name), RESOLV_CONF.text, { mode: 0o644 })
  // Of a root server, commands run as the owner of the project.
  const owners = level === 'uid' ? [NOBODY] : isRoot() ? [null, NOBODY] : [null]
  for (const owner of owners) {
    const trial = { ...sandbox, own: placesIn(join(folder, 'probe'), false) }
    const problem = await probe(runner, trial, { secret, owner })
    await rm(join(folder, 'probe'), { recursive: true, force: true })
    if (problem !== null) return err(problem)
  }
  return ok(isolated(sandbox, folder, 'problem' in whole ? whole.problem : null))
}

const isRoot = (): boolean => process.getuid?.() === 0

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

const DETAILS = {
  namespaces:
    'Each command runs in a container of its own (bubblewrap). It has no network, unless its run asks for one.',
  landlock:
    'Commands cannot read or change the data folder (Landlock), and have no network. They can signal the server, and what they start is found by a mark.',
  uid: 'Commands run as the owner of the project, not as root.',
}

const placesIn = (folder: string, kept: boolean): NonNullable<Sandbox['own']> => ({
  home: join(folder, 'home'),
  tmp: join(folder, 'tmp'),
  kept,
})

function isolated(base: Sandbox, folder: string, fullNetworkProblem: string | null): OneLevel {
  const { level } = base
  // What cannot be removed is tried again at the next start.
  const remove = (name: string) =>
    rm(join(folder, name), { recursive: true, force: true }).catch(() => {})
  return {
    level,
    detail: DETAILS[level],
    fullNetworkProblem,
    scratchDir: level !== 'namespaces' && isRoot() ? join(folder, 'checks') : null,
    network: level === 'uid' ? 'host' : 'none',
    factsFor(project, network) {
      // The folders of a run are made with its first command. Any folder has their roles.
      const own = { home: folder, tmp: folder, kept: true }
      const sandbox = { ...base, project, own, network }
      return level === 'namespaces' ? factsOfContainer(sandbox) : factsOfRestricted(sandbox)
    },
    prepare(command, env) {
      const { cwd, project = cwd, run, writable = [], readable = [], network = 'none' } = command
      const isContained = level === 'namespaces'
      const fresh = run === undefined && !isContained ? `fresh-${randomUUID()}` : null
      const name = run ?? fresh
      const own = name === null ? null : placesIn(join(folder, name), run !== undefined)
      const seen = isContained || own === null ? { home: HOME, tmp: TMP } : own
      const { tools } = base
      return {
        sandbox: { ...base, project, own, writable, readable, network },
        env: { ...isolatedEnvironment(env, { ...seen, tools }), ...proxyVariables(network) },
        done: async () => (fresh === null ? undefined : remove(fresh)),
      }
    },
    forget: remove,
    async forgetAllBut(runIds) {
      const names = await readdir(folder).catch(() => [])
      const left = names.filter((name) => !KEPT.has(name) && !runIds.has(name))
      for (const name of left) await remove(name)
    },
  }
}

function programOn(path = '/usr/bin:/bin', name: string): string | null {
  const files = path.split(':').map((folder) => join(folder, name))
  return files.find(isExecutable) ?? null
}
