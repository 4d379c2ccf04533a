import { randomUUID } from 'node:crypto'
import { readdir, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import { isAtLeast, LEVELS, type Level, type RecordedLevel } from '../domain/isolation.ts'
import type { Network } from '../domain/network.ts'
import type { ProjectFolder } from '../domain/run-config.ts'
import { messageOf } from '../lib/message-of.ts'
import { removeFolder } from '../lib/remove-folder.ts'
import { factsOfContainer } from './bubblewrap.ts'
import { type CheckHomeOf, CheckHomes } from './check-homes.ts'
import { isolatedEnvironment } from './container-shell.ts'
import {
  EVERYTHING,
  HOME,
  NOTHING,
  type PolicyFacts,
  type ProjectCopy,
  placesIn,
  type Sandbox,
  TMP,
} from './sandbox.ts'
import { factsOfRestricted } from './setpriv.ts'
import { FOLDER, KEPT, type TrialOptions, trySandbox, type Working } from './trial.ts'

/** What a program sees and reaches if it is isolated. */
export type IsolatedProgram = {
  readonly cwd: string
  /** The project that it works on, which an isolated command sees with the system's programs, and no more; `cwd` if left out. */
  readonly project?: string
  /** Which folder that is: if another is there, the command is not started. */
  readonly folder?: ProjectFolder
  /** If it works on a copy of the project, or makes one; `cwd` is in what it works on. */
  readonly copy?: ProjectCopy
  /** The run whose home and temporary files it uses; if left out, empty ones, so that nothing written before decides it. */
  readonly run?: string
  /** The home of a run's checks, in place of an empty one. Used only if `run` is left out. */
  readonly checkHome?: CheckHomeOf | null
  /** More folders that an isolated command may read. */
  readonly readable?: readonly string[]
  /** What it reaches; nothing if it is left out. Only containers have a network of their own. */
  readonly network?: Network
}

/** How a server isolates its commands. */
export type Isolation = {
  /** Null: commands are refused. */
  readonly level: Level | null
  /** A sentence for people. */
  readonly detail: string
  /** Why no command can have the whole network here, as a sentence for people; null if one can. */
  readonly fullNetworkProblem: string | null
  /** Why commands in a project of root are root too, as a sentence for people; null if they are not. */
  readonly ownUserProblem: string | null
  /** The isolation that keeps at least a level: this one, or another that passes its trial. The error is a sentence. */
  atLeast(level: RecordedLevel): Promise<Result<Isolation, string>>
  /** What the commands of a run in this project may see and do. Throws a `SandboxError`. */
  factsFor(project: string, network: Network): PolicyFacts
  /** What the runner needs for a command and the environment of the command; null at the level `none`. */
  prepare(program: IsolatedProgram, env: Readonly<Record<string, string>>): Promise<Prepared | null>
  /** A new place for a copy of the project of a run, where nothing is yet. */
  placeOfCopy(runId: string): string
  /** Removes the home, the temporary files and the copies of a run that has ended. Never rejects. */
  forget(runId: string): Promise<void>
  /** Removes the homes and temporary files of all other runs, and the copies of all. Never rejects. */
  forgetAllBut(runIds: ReadonlySet<string>): Promise<void>
  /** Removes what it has made outside of the data folder, unless runs that are not at their end need it. Never rejects. */
  leave(): Promise<void>
}

type Prepared = {
  readonly sandbox: Sandbox
  readonly env: Readonly<Record<string, string>>
  /** Removes what was made for this command only. `exited`: it ended by itself. */
  readonly done: (exited: boolean) => Promise<void>
}

const copiesOf = (runId: string): string => `copies-${runId}`

// A container that is ending may still make folders. What cannot be removed is tried again at the next start.
const remove = (path: string): Promise<void> => removeFolder(path).catch(() => {})

/** Removes what is of no run in a folder. */
async function removeOthers(folder: string, runIds: ReadonlySet<string>): Promise<void> {
  const names = await readdir(folder).catch(() => [])
  const left = names.filter((name) => !KEPT.has(name) && !runIds.has(name))
  for (const name of left) await remove(join(folder, name))
}

/** What is made for runs in a folder of the server. */
const placesOfRuns = (folder: string) => ({
  placeOfCopy: (runId: string) => join(folder, copiesOf(runId), randomUUID()),
  async forget(runId: string) {
    for (const name of [runId, copiesOf(runId)]) await remove(join(folder, name))
  },
  forgetAllBut: (runIds: ReadonlySet<string>) => removeOthers(folder, runIds),
})

/** @param folder for copies of projects */
const withoutIsolation = (folder: string): OneLevel => ({
  ...placesOfRuns(folder),
  level: 'none',
  detail:
    'Commands are not isolated: they have all rights of the server and can read its keys and change its log.',
  fullNetworkProblem: null,
  ownUserProblem: null,
  factsFor: () => EVERYTHING,
  prepare: async () => null,
  leave: async () => {},
})

/** Without any isolation: for tests, benches and the level `none`. */
export const NO_ISOLATION: Isolation = {
  ...withoutIsolation(join(tmpdir(), `retrai-${process.pid}`)),
  atLeast: async (level) =>
    level === 'none' ? ok(NO_ISOLATION) : err('This server does not isolate commands.'),
}

/** Isolation at its one level. */
type OneLevel = Omit<Isolation, 'atLeast' | 'level'> & { readonly level: Level }

/** Finds out which level works here. Commands are refused if the wanted one, or with `auto` a good one, does not. */
export async function chooseIsolation(
  wanted: Level | 'auto',
  options: TrialOptions,
): Promise<Isolation> {
  const tried = new Map<Level, Promise<Result<OneLevel, string>>>()
  /** The first level that works. The error says why none does. */
  const firstOf = async (levels: readonly Level[]): Promise<Result<Isolation, string>> => {
    const why: string[] = []
    for (const level of levels) {
      const trial = tried.get(level) ?? tryLevel(level, options)
      tried.set(level, trial)
      const result = await trial
      if (result.isOk()) return ok(withStricter(result.value))
      why.push(`${level}: ${result.error}`)
    }
    return err(why.join('; '))
  }
  /** Lets a run ask for a stricter level, which is tried when the first one asks. */
  const withStricter = (own: OneLevel): Isolation => {
    const isolation: Isolation = {
      ...own,
      forget: async (runId) => {
        for (const level of await Promise.all(tried.values())) {
          if (level.isOk()) await level.value.forget(runId)
        }
      },
      atLeast: async (least) => {
        if (isAtLeast(own.level, least)) return ok(isolation)
        const stricter = LEVELS.filter((level) => isAtLeast(level, least)).toReversed()
        return (await firstOf(stricter)).mapErr(
          (why) => `This server cannot isolate commands at the level ${least} (${why}).`,
        )
      },
    }
    return isolation
  }
  const chosen = await firstOf(wanted === 'auto' ? ['namespaces', 'landlock'] : [wanted])
  if (chosen.isOk()) return chosen.value
  const detail =
    `Commands are refused, because they cannot be isolated here (${chosen.error}). ${ADVICE}. ` +
    'Then start the server again. Or set RETRAI_ISOLATION=none to run commands with all rights of the server.'
  const atLeast = async (): Promise<Result<Isolation, string>> => err(detail)
  return { ...NO_ISOLATION, level: null, detail, atLeast, factsFor: () => NOTHING }
}

/** What lets a machine isolate commands: a sentence without its point. */
export const ADVICE =
  'Run the server on Linux, install bubblewrap and util-linux (apt-get install bubblewrap util-linux), or allow it namespaces (docs/operations.md, "Isolation of commands")'

/** Never rejects. The error is a part of a sentence. */
async function tryLevel(level: Level, options: TrialOptions): Promise<Result<OneLevel, string>> {
  if (level === 'none') return ok(withoutIsolation(join(options.dataDir, FOLDER)))
  const tried = await trySandbox(level, options).catch((cause) => err(messageOf(cause)))
  return tried.map((working) => isolated(working, options))
}

const DETAILS = {
  namespaces:
    'Each command runs in a container of its own (bubblewrap). It has no network, unless its run asks for one.',
  landlock:
    'Commands cannot read or change the data folder (Landlock), and have no network. They can signal the server, and the processes that they start are found by a mark in their environment.',
}

function isolated(
  { base, fullNetworkProblem, ownUserProblem }: Working,
  { dataDir }: Pick<TrialOptions, 'dataDir'>,
): OneLevel {
  const { level, folder } = base
  const checkHomes = base.layers ? new CheckHomes(folder) : null
  const places = placesOfRuns(folder)
  return {
    ...places,
    level,
    fullNetworkProblem,
    ownUserProblem,
    detail: [DETAILS[level], ownUserProblem ?? []].flat().join(' '),
    factsFor(project, network) {
      // The folders of a run are made with its first command. Any folder has their roles.
      const own = { home: folder, tmp: folder, kept: true }
      const sandbox = { ...base, project, own, network }
      return level === 'namespaces' ? factsOfContainer(sandbox) : factsOfRestricted(sandbox)
    },
    async prepare(program, env) {
      const { cwd, project = cwd, folder: known = null, run } = program
      const { checkHome: wanted = null, readable = [], network = 'none', copy = null } = program
      const isContained = level === 'namespaces'
      const fresh = run === undefined && !isContained ? `fresh-${randomUUID()}` : null
      const name = run ?? fresh
      const own = name === null ? null : placesIn(join(folder, name), run !== undefined)
      const seen = isContained || own === null ? { home: HOME, tmp: TMP } : own
      const { tools } = base
      const lent = run === undefined && wanted !== null ? await checkHomes?.lend(wanted) : undefined
      const { checkHome = null } = lent ?? {}
      return {
        sandbox: { ...base, project, known, copy, own, checkHome, readable, network },
        env: isolatedEnvironment(env, { ...seen, tools, network }),
        done: async (exited) => {
          await lent?.done(exited)
          if (fresh !== null) await remove(join(folder, fresh))
        },
      }
    },
    forget(runId) {
      checkHomes?.forget(runId)
      return places.forget(runId)
    },
    async forgetAllBut(runIds) {
      // Runs that asked for a stricter level have theirs in the data folder.
      const folders = new Set([folder, join(dataDir, FOLDER)])
      for (const at of folders) await removeOthers(at, runIds)
    },
    async leave() {
      if (folder === join(dataDir, FOLDER)) return
      for (const name of KEPT) await remove(join(folder, name))
      await rmdir(folder).catch(() => {})
    },
  }
}
