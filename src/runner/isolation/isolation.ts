import { randomUUID } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import {
  type IsolationPolicy,
  isAtLeast,
  LEVELS,
  type Level,
  type RecordedLevel,
} from '../../domain/isolation.ts'
import type { Network } from '../../domain/network.ts'
import { messageOf } from '../../lib/message-of.ts'
import { removeFolder } from '../../lib/remove-folder.ts'
import type { Command } from '../command.ts'
import { networkVariables } from '../network/forwarder.ts'
import { factsOfContainer } from './bubblewrap.ts'
import { CheckHomes } from './check-homes.ts'
import { EVERYTHING, NOTHING, type PolicyFacts } from './policy.ts'
import { HOME, isRoot, placesIn, type Sandbox, TMP } from './sandbox.ts'
import { factsOfRestricted } from './setpriv.ts'
import { isolatedEnvironment } from './tool-chains.ts'
import { FOLDER, KEPT, type TrialOptions, trySandbox } from './trial.ts'

/** What lets this machine isolate commands, by a part of the reason why it cannot. The first that fits counts. */
const ADVICE: readonly (readonly [RegExp, string])[] = [
  [/it exists only on/, 'Run the server on Linux'],
  [
    /refuses (user )?namespaces|hides parts of/,
    'Allow it namespaces (docs/operations.md, "Isolation of commands")',
  ],
  [
    /namespaces: (its program is not installed|bwrap: Unknown option)/,
    'Install bubblewrap (apt-get install bubblewrap)',
  ],
  [
    /setpriv of util-linux|(^|\()landlock: (its program is not installed|setpriv: unrecognized)/,
    'Install util-linux (apt-get install util-linux)',
  ],
]

/** @param why in the words of trials; the advice is a sentence without a point */
export const adviceFor = (why: string): string =>
  ADVICE.find(([reason]) => reason.test(why))?.[1] ??
  'Remove this cause (docs/operations.md, "Isolation of commands")'

/** How a server isolates its commands. */
export type Isolation = {
  /** Null: commands are refused. */
  readonly level: Level | null
  /** A sentence for people. */
  readonly detail: string
  /** Why no command can have the whole network here, as a sentence for people; null if one can. */
  readonly fullNetworkProblem: string | null
  /** Why commands in a project of root are root too, or may be refused, as a sentence for people; null if they are not. */
  readonly ownUserProblem: string | null
  /** Where tools and checks keep what they need for a moment, if the data folder cannot be used for it. */
  readonly scratchDir: string | null
  readonly network: IsolationPolicy['network']
  /** The isolation that keeps at least a level: this one, or another that passes its trial. The error is a sentence. */
  atLeast(level: RecordedLevel): Promise<Result<Isolation, string>>
  /** What the commands of a run in this project may see and do. Throws a `SandboxError`. */
  factsFor(project: string, network: Network): PolicyFacts
  /** What the runner needs for a command and the environment of the command; null at the level `none`. */
  prepare(
    command: Omit<Command, 'timeoutMs'>,
    env: Readonly<Record<string, string>>,
  ): Promise<Prepared | null>
  /** Removes the home and the temporary files of a run that has ended. Never rejects. */
  forget(runId: string): Promise<void>
  /** Removes the homes and temporary files of all other runs. Never rejects. */
  forgetAllBut(runIds: ReadonlySet<string>): Promise<void>
}

type Prepared = {
  readonly sandbox: Sandbox
  readonly env: Readonly<Record<string, string>>
  /** Removes what was made for this command only. `exited`: it ended by itself. */
  readonly done: (exited: boolean) => Promise<void>
}

/** Without any isolation: for tests, benches and the level `none`. */
export const NO_ISOLATION: Isolation = {
  level: 'none',
  detail:
    'Commands are not isolated: they have all rights of the server and can read its keys and change its log.',
  fullNetworkProblem: null,
  ownUserProblem: null,
  scratchDir: null,
  network: 'host',
  atLeast: async (level) =>
    level === 'none' ? ok(NO_ISOLATION) : err('This server does not isolate commands.'),
  factsFor: () => EVERYTHING,
  prepare: async () => null,
  forget: async () => {},
  forgetAllBut: async () => {},
}

/** Finds out which level works here. Commands are refused if the wanted one, or with `auto` a good one, does not. */
export async function chooseIsolation(
  wanted: Level | 'auto',
  options: TrialOptions,
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
    `Commands are refused, because they cannot be isolated here (${why.join('; ')}). ${adviceFor(why.join())} ` +
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
  const used = new Set([own])
  const isolation: Isolation = {
    ...own,
    forget: async (runId) => {
      for (const level of used) await level.forget(runId)
    },
    atLeast: async (wanted) => {
      if (isAtLeast(own.level, wanted)) return ok(isolation)
      const why: string[] = []
      for (const level of LEVELS.filter((level) => isAtLeast(level, wanted)).toReversed()) {
        const tried = await attempt(level)
        if (tried.isOk()) {
          used.add(tried.value)
          return ok(withStricter(tried.value, attempt))
        }
        why.push(`${level}: ${tried.error}`)
      }
      return err(`This server cannot isolate commands at the level ${wanted} (${why.join('; ')}).`)
    },
  }
  return isolation
}

/** Never rejects. The error is a part of a sentence. */
async function tryLevel(level: Level, options: TrialOptions): Promise<Result<OneLevel, string>> {
  if (level === 'none') return ok({ ...NO_ISOLATION, level })
  const tried = await trySandbox(level, options).catch((cause) => err(messageOf(cause)))
  return tried.map(({ base, fullNetworkProblem, ownUserProblem }) => {
    const detail = [DETAILS[base.level], ownUserProblem ?? []].flat().join(' ')
    return { ...isolated(base, options), detail, fullNetworkProblem, ownUserProblem }
  })
}

const DETAILS = {
  namespaces:
    'Each command runs in a container of its own (bubblewrap). It has no network, unless its run asks for one.',
  landlock:
    'Commands cannot read or change the data folder (Landlock), and have no network. They can signal the server, and the processes that they start are found by a mark in their environment.',
}

function isolated(
  base: Sandbox,
  { dataDir }: Pick<TrialOptions, 'dataDir'>,
): Omit<OneLevel, 'detail' | 'fullNetworkProblem' | 'ownUserProblem'> {
  const { level, folder } = base
  const checkHomes = base.layers ? new CheckHomes(folder) : null
  // A container that is ending may still make folders. What cannot be removed is tried again at the next start.
  const remove = (name: string, at = folder) => removeFolder(join(at, name)).catch(() => {})
  return {
    level,
    scratchDir: level !== 'namespaces' && isRoot() ? join(folder, 'checks') : null,
    network: 'none',
    factsFor(project, network) {
      // The folders of a run are made with its first command. Any folder has their roles.
      const own = { home: folder, tmp: folder, kept: true }
      const sandbox = { ...base, project, own, network }
      return level === 'namespaces' ? factsOfContainer(sandbox) : factsOfRestricted(sandbox)
    },
    async prepare(command, env) {
      const { cwd, project = cwd, folder: known = null, run } = command
      const { checkHome: wanted = null, writable = [], readable = [], network = 'none' } = command
      const isContained = level === 'namespaces'
      const fresh = run === undefined && !isContained ? `fresh-${randomUUID()}` : null
      const name = run ?? fresh
      const own = name === null ? null : placesIn(join(folder, name), run !== undefined)
      const seen = isContained || own === null ? { home: HOME, tmp: TMP } : own
      const { tools } = base
      const lent = run === undefined && wanted !== null ? await checkHomes?.lend(wanted) : undefined
      const { checkHome = null } = lent ?? {}
      return {
        sandbox: { ...base, project, known, own, checkHome, writable, readable, network },
        env: { ...isolatedEnvironment(env, { ...seen, tools }), ...networkVariables(network) },
        done: async (exited) => {
          await lent?.done(exited)
          if (fresh !== null) await remove(fresh)
        },
      }
    },
    async forget(runId) {
      checkHomes?.forget(runId)
      await remove(runId)
    },
    async forgetAllBut(runIds) {
      // Runs that asked for a stricter level have theirs in the data folder.
      for (const at of new Set([folder, join(dataDir, FOLDER)])) {
        const names = await readdir(at).catch(() => [])
        const left = names.filter((name) => !KEPT.has(name) && !runIds.has(name))
        for (const name of left) await remove(name, at)
      }
    },
  }
}
