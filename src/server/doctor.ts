import { access, constants, mkdir, mkdtemp, realpath, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Level } from '../domain/isolation.ts'
import { createCatalogue } from '../models/catalogue.ts'
import { removeControlGroup } from '../runner/control-group.ts'
import { commandRunner, DEFAULT_LIMITS } from '../runner/run-command.ts'
import { Runner } from '../runner/runner.ts'
import { ADVICE, type Isolation } from '../sandbox/isolation.ts'
import { openReadableLog } from '../store/embedded/existing-log.ts'
import { chooseCommands } from './commands.ts'
import { readConfiguration } from './configuration.ts'
import { openWritable } from './open-history.ts'
import { diskProblem } from './readiness.ts'
import { isLocal, type Settings } from './settings.ts'
import { doubtsAbout } from './start-notices.ts'

/** What `retrai doctor` found about one thing. */
export type Finding = {
  readonly name: string
  /** `note`: it is missing, and only some projects need it. `warn`: a server works, but not as well as it could. */
  readonly verdict: 'ok' | 'note' | 'warn' | 'fail'
  /** What was found, as a sentence. */
  readonly message: string
  /** What a person can do about it; null if there is nothing to do. */
  readonly fix: string | null
}

const fine = (name: string, message: string): Finding => {
  return { name, verdict: 'ok', message, fix: null }
}
const fixable =
  (verdict: Exclude<Finding['verdict'], 'ok'>) =>
  (name: string, message: string, fix: string): Finding => ({ name, verdict, message, fix })
const note = fixable('note')
const warn = fixable('warn')
const fail = fixable('fail')

/**
 * Looks at everything that a server with these settings needs, without starting one: how commands are isolated and
 * limited, the programs for goals, models and keys, the store, the disk and the data folder. Changes nothing.
 */
export async function examine(settings: Settings): Promise<Finding[]> {
  const commands = examineCommands(settings)
  const folders = [settings.RETRAI_DATA_DIR, process.cwd()]
  const shortage = await diskProblem(folders, DEFAULT_LIMITS)
  const doubts = doubtsAbout(settings, process.env)
  return [
    ...doubts.map(({ name, message, fix }) => warn(name, message, fix)),
    ...(await commands),
    ...(await aboutFiles(settings)),
    ...aboutAccess(settings),
    await aboutStore(settings),
    await aboutFolder(settings.RETRAI_DATA_DIR),
    shortage === null
      ? fine('disk', 'There is enough free space for commands.')
      : fail('disk', shortage, 'Free some space.'),
  ]
}

const WITHIN_MS = 20_000

/** Whether commands can be isolated and limited here, and the programs that they see. */
async function examineCommands(settings: Settings): Promise<Finding[]> {
  const runner = new Runner({ error: () => {} })
  const base = await realpath(await mkdtemp(join(tmpdir(), 'retrai-doctor-')))
  const [dataDir, project] = [join(base, 'data'), join(base, 'project')]
  await mkdir(dataDir)
  await mkdir(project)
  const chosen = await chooseCommands({ ...settings, RETRAI_DATA_DIR: dataDir }, runner)
  const { isolation } = chosen
  const { limits, detail } = chosen.limits
  try {
    const run = commandRunner(limits, runner, isolation)
    const { signal } = new AbortController()
    const version = async ([file, ...args]: Ask): Promise<string | null> => {
      const result = await run({ file, args, cwd: project, timeoutMs: WITHIN_MS, signal })
      return result.exitCode === 0 ? (result.output.split('\n', 1)[0] ?? '') : null
    }
    const limited =
      limits.group === null
        ? warn('limits', detail, 'See docs/operations.md, "Limits of commands".')
        : fine('limits', detail)
    const found = [await aboutIsolation(isolation, settings.RETRAI_ISOLATION), limited]
    return isolation.level === null ? found : [...found, ...(await aboutPrograms(version))]
  } finally {
    if (limits.group !== null) removeControlGroup(limits.group)
    runner.close()
    await isolation.leave()
    await rm(base, { recursive: true, force: true })
  }
}

async function aboutIsolation(isolation: Isolation, wanted: Level | 'auto'): Promise<Finding> {
  const name = 'isolation'
  const { level, detail, ownUserProblem } = isolation
  if (level === null) return fail(name, detail, `${ADVICE}.`)
  const found = `${level}: ${detail}`
  if (level === 'namespaces') {
    const advice = 'Give projects to another user than root, or use util-linux 2.39 or newer.'
    return ownUserProblem === null ? fine(name, found) : warn(name, found, advice)
  }
  const better = await isolation.atLeast('namespaces')
  return better.match(
    () => {
      const advice = `Set RETRAI_ISOLATION=auto instead of ${wanted}: the level namespaces works here.`
      return warn(name, found, advice)
    },
    (why) => warn(name, `${found} ${why}`, `${ADVICE}.`),
  )
}

/** A command that prints the version of a program. */
type Ask = readonly [string, ...string[]]
type Program = readonly [name: string, use: string, ask: Ask]

/** What the tools and goals need of the machine. */
const PROGRAMS: readonly Program[] = [
  ['bash', 'bash_exec, shell-goal, and the commands of checks', ['bash', '--version']],
  ['git', 'the git tools', ['git', '--version']],
  ['make', 'make-test', ['make', '--version']],
  ['node', 'npm-test', ['node', '--version']],
  ['npm', 'npm-test and the lint scripts of lint', ['npm', '--version']],
  ['bun', 'bun-test', ['bun', '--version']],
  ['pytest', 'pytest and run_pytest', ['python3', '-m', 'pytest', '--version']],
  ['pyright', 'pyright', ['pyright', '--version']],
  ['ruff', 'lint', ['python3', '-m', 'ruff', '--version']],
  ['cargo', 'cargo-test', ['cargo', '--version']],
  ['clippy', 'lint', ['cargo', 'clippy', '--version']],
  ['go', 'go-test, and go vet of lint', ['go', 'version']],
]
const ALWAYS_NEEDED: ReadonlySet<string> = new Set(['bash', 'git'])

/** Which programs commands find. For the others, what needs them and how to install them. */
const aboutPrograms = (version: (ask: Ask) => Promise<string | null>): Promise<Finding[]> =>
  Promise.all(
    PROGRAMS.map(async ([name, use, ask]) => {
      const found = await version(ask)
      if (found !== null) return fine(name, `${found}, for ${use}.`)
      const missing = ALWAYS_NEEDED.has(name) ? warn : note
      const message = `Commands do not find it. It is needed for ${use}.`
      return missing(name, message, 'Install it, for the machine or in the project that uses it.')
    }),
  )

/** The files that settings name, and the model of runs that name none. No provider and no MCP server is asked. */
async function aboutFiles(settings: Settings): Promise<Finding[]> {
  const read = await readConfiguration(settings)
  if (read.isErr()) {
    return [fail('files', read.error, 'Correct the file, or unset the setting that names it.')]
  }
  const { name, reason, problem } = createCatalogue(read.value.models).default
  const chosen = `Runs that name no model use ${name}, because ${reason}.`
  const advice = 'Set a key of a provider, or RETRAI_MODEL.'
  return [
    fine('files', 'The files that settings name are valid.'),
    problem === null ? fine('model', chosen) : warn('model', `${chosen} It ${problem}`, advice),
  ]
}

function aboutAccess({ RETRAI_TOKEN, RETRAI_LISTEN: address }: Settings): Finding[] {
  if (RETRAI_TOKEN !== undefined || !isLocal(address)) return []
  const message =
    'Without tokens, everybody who reaches loopback on this machine is an admin of the server.'
  const fix = 'Make a token with "retrai token create NAME --role admin" if you share this machine.'
  return [warn('access', message, fix)]
}

/** Whether the log can be read and, in an EventStoreDB, written. */
async function aboutStore({
  EVENTSTORE_URL: connectionString,
  RETRAI_DATA_DIR: dataDir,
}: Settings): Promise<Finding> {
  const name = 'store'
  if (connectionString !== undefined) return aboutEventStoreDb(name, connectionString)
  const file = join(dataDir, 'log.sqlite')
  if ((await stat(file).catch(() => null)) === null) {
    return fine(name, 'embedded: there is no log yet; the first start makes one.')
  }
  const log = await openReadableLog(file)
  if (log.isErr()) {
    const fix = `Restore ${file} from a backup, or name another data folder.`
    return fail(name, log.error.message, fix)
  }
  await log.value.close()
  return fine(name, `embedded: ${file} can be read, and has the format of this version.`)
}

async function aboutEventStoreDb(name: string, connectionString: string): Promise<Finding> {
  const fix = 'Check EVENTSTORE_URL, the server that it names, and the rights of its user.'
  const store = await openWritable({ connectionString })
  if (store.isErr()) return fail(name, store.error, fix)
  const answer = await store.value.ping()
  await store.value.close()
  if (answer.isErr()) return fail(name, answer.error.message, fix)
  return fine(name, 'The EventStoreDB answers. This user may read and write the log.')
}

const OTHERS = 0o077

async function aboutFolder(dataDir: string): Promise<Finding> {
  const name = 'data folder'
  const found = await stat(dataDir).catch(() => null)
  if (found === null) return fine(name, `${dataDir} does not exist yet; the first start makes it.`)
  const usable = await access(dataDir, constants.R_OK | constants.W_OK).then(
    () => found.isDirectory(),
    () => false,
  )
  if (!usable) {
    return fail(
      name,
      `This user may not write to ${dataDir}.`,
      'Remove it, or name another folder.',
    )
  }
  if ((found.mode & OTHERS) === 0) return fine(name, `${dataDir} is open to this user alone.`)
  const message = `Other users of this machine may look into ${dataDir}, which holds keys and records.`
  return fail(name, message, `Run: chmod 700 '${dataDir}'`)
}
