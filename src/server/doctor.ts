import { access, constants, mkdir, mkdtemp, realpath, rm, stat, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { readServersFile } from '../agent/mcp/servers-file.ts'
import { createCatalogue } from '../agent/model/catalogue.ts'
import { type OwnModels, readPriceFile } from '../agent/model/price-file.ts'
import type { Level } from '../domain/isolation.ts'
import { removeControlGroup } from '../runner/cgroup.ts'
import { chooseIsolation, type Isolation } from '../runner/isolation/isolation.ts'
import { commandRunner } from '../runner/run-command.ts'
import { Runner } from '../runner/runner.ts'
import { openReadableLog } from '../store/embedded/existing-log.ts'
import { chooseLimits } from './command-limits.ts'
import { modelSettings } from './create-agent.ts'
import { formerDataDir, newDataDir } from './data-folder.ts'
import { openWritable } from './open-log.ts'
import { isLoopback, type Settings } from './settings.ts'

/** What `retrai doctor` found about one thing. */
export type Finding = {
  readonly name: string
  readonly verdict: 'ok' | 'warn' | 'fail'
  /** What was found, as a sentence. */
  readonly message: string
  /** What a person can do about it; null if there is nothing to do. */
  readonly fix: string | null
}

const ok = (name: string, message: string): Finding => ({ name, verdict: 'ok', message, fix: null })

const warn = (name: string, message: string, fix: string): Finding => {
  return { name, verdict: 'warn', message, fix }
}

const fail = (name: string, message: string, fix: string): Finding => {
  return { name, verdict: 'fail', message, fix }
}

/**
 * Looks at everything that a server with these settings needs, without starting one: how commands are isolated and
 * limited, the programs for goals, models and keys, the store, the disk and the data folder. Changes nothing.
 */
export async function examine(settings: Settings): Promise<Finding[]> {
  const [commands, storage] = await Promise.all([
    examineCommands(settings),
    examineStorage(settings),
  ])
  return [
    ...commands,
    ...(await aboutModels(settings)),
    ...(await aboutMcp(settings)),
    ...aboutAccess(settings),
    ...storage,
  ]
}

async function aboutModels(settings: Settings): Promise<Finding[]> {
  const { RETRAI_PRICES: file } = settings
  if (file === undefined) return [aboutModel(settings)]
  const own = await readPriceFile(file)
  const prices = own.match(
    ({ size }) => ok('prices', `${file} has prices or windows of ${size} models.`),
    (problem) => fail('prices', problem, 'Correct the file, or unset RETRAI_PRICES.'),
  )
  return [prices, aboutModel(settings, own.unwrapOr(undefined))]
}

function aboutModel(settings: Settings, ownModels?: OwnModels): Finding {
  const { name, reason, problem } = createCatalogue(modelSettings(settings, ownModels)).default
  const chosen = `Runs that name no model use ${name}, because ${reason}.`
  if (problem === null) return ok('model', chosen)
  return warn('model', `${chosen} It ${problem}`, 'Set a key of a provider, or RETRAI_MODEL.')
}

/** Whether the MCP servers can be read. None of them is started or asked. */
async function aboutMcp(settings: Settings): Promise<Finding[]> {
  if (settings.RETRAI_MCP_SERVERS === undefined) return []
  const name = 'mcp servers'
  const read = await readServersFile(settings.RETRAI_MCP_SERVERS, process.env)
  if (read.isErr())
    return [fail(name, read.error, 'Correct the file, or unset RETRAI_MCP_SERVERS.')]
  const shown = [...read.value.servers.values()].map(({ recorded }) => {
    const { name, command, url = '', required } = recorded
    return `${name} (${command ?? url}${required ? '' : ', not required'})`
  })
  return [ok(name, shown.length === 0 ? 'The file names none.' : `${shown.join(', ')}.`)]
}

function aboutAccess({ RETRAI_TOKEN, RETRAI_HOST }: Settings): Finding[] {
  if (RETRAI_TOKEN !== undefined || !isLoopback(RETRAI_HOST)) return []
  return [
    warn(
      'access',
      'Without tokens, everybody who reaches loopback on this machine is an admin of the server.',
      'Make a token with "retrai token create NAME --role admin" if you share this machine.',
    ),
  ]
}

const NODE = 'Install Node.js from https://nodejs.org.'

/** What runs need of the machine: for which tool or goal, how to ask, and where to get it. */
const PROGRAMS: readonly (readonly [
  name: string,
  use: string,
  command: readonly [string, ...string[]],
  fix: string,
])[] = [
  ['bash', 'bash_exec and shell-goal', ['bash', '--version'], 'Install bash.'],
  ['git', 'the git tools', ['git', '--version'], 'Install git.'],
  [
    'pytest',
    'the goal pytest and run_pytest',
    ['python3', '-m', 'pytest', '--version'],
    'Install it in the projects, or with "python3 -m pip install pytest".',
  ],
  ['node', 'the goals npm-test and bun-test', ['node', '--version'], NODE],
  ['npm', 'the goal npm-test', ['npm', '--version'], NODE],
  ['bun', 'the goal bun-test', ['bun', '--version'], 'Install it with "npm install --global bun".'],
  [
    'pyright',
    'the goal pyright',
    ['pyright', '--version'],
    'Install it in the projects, or with "npm install --global pyright".',
  ],
  ['cargo', 'the goal cargo-test', ['cargo', '--version'], 'Install it from https://rustup.rs.'],
  ['curl', 'the goal api-test', ['curl', '--version'], 'Install curl.'],
  ['go', 'the goal go-test', ['go', 'version'], 'Install it from https://go.dev/dl.'],
  [
    'make',
    'the goal make-test',
    ['make', '--version'],
    'Install it with the package manager of the system.',
  ],
]
const WITHIN_MS = 20_000

/** Whether commands can be isolated and limited here, and the programs that they see. */
async function examineCommands(settings: Settings): Promise<Finding[]> {
  const runner = new Runner({ info: () => {}, error: () => {} })
  const base = await realpath(await mkdtemp(join(tmpdir(), 'retrai-doctor-')))
  const [dataDir, project] = [join(base, 'data'), join(base, 'project')]
  await mkdir(dataDir)
  await mkdir(project)
  const isolation = await chooseIsolation(settings.RETRAI_ISOLATION, {
    ...{ runner, dataDir, env: process.env, toolPaths: settings.RETRAI_TOOL_PATHS ?? [] },
  })
  const { limits, detail } = await chooseLimits(settings, runner)
  try {
    const run = commandRunner(limits, runner, isolation)
    const { signal } = new AbortController()
    const programs = PROGRAMS.map(async ([name, use, [file, ...args], fix]): Promise<Finding> => {
      const result = await run({ file, args, cwd: project, timeoutMs: WITHIN_MS, signal })
      const [version = ''] = result.output.split('\n')
      if (result.exitCode === 0) return ok(name, `${version}, for ${use}.`)
      return warn(name, `Commands do not find it. It is needed for ${use}.`, fix)
    })
    const memory =
      limits.group === null
        ? warn('limits', detail, 'See docs/operations.md, "Limits of commands".')
        : ok('limits', detail)
    const found = [...(await aboutIsolation(isolation, settings.RETRAI_ISOLATION)), memory]
    return isolation.level === null ? found : [...found, ...(await Promise.all(programs))]
  } finally {
    if (limits.group !== null) removeControlGroup(limits.group)
    runner.close()
    if (isolation.scratchDir !== null) await rm(dirname(isolation.scratchDir), { recursive: true })
    await rm(base, { recursive: true, force: true })
  }
}

const NAME = 'isolation'

async function aboutIsolation(isolation: Isolation, wanted: Level | 'auto'): Promise<Finding[]> {
  const { level, detail } = isolation
  const install = 'Install bubblewrap, for instance with "apt-get install bubblewrap".'
  if (level === null) return [fail(NAME, detail, install)]
  const found = `${level}: ${detail}`
  if (level === 'namespaces') {
    const { ownUserProblem } = isolation
    const advice = 'Give projects to another user than root, or use util-linux 2.39 or newer.'
    return [ownUserProblem === null ? ok(NAME, found) : warn(NAME, found, advice)]
  }
  const better = await isolation.atLeast('namespaces')
  if (better.isOk()) {
    const advice = `Set RETRAI_ISOLATION=auto instead of ${wanted}: the level namespaces works here.`
    return [warn(NAME, found, advice)]
  }
  return [warn(NAME, `${found} ${better.error}`, install)]
}

const MIB = 1024 * 1024
const OTHERS = 0o077

/** Whether the log can be read, and the data folder belongs to this user alone and has space. */
async function examineStorage(settings: Settings): Promise<Finding[]> {
  const { RETRAI_DATA_DIR: dataDir, RETRAI_MIN_FREE_DISK_MIB: floorMib } = settings
  return [
    await aboutStore(settings),
    await aboutFolder(dataDir),
    ...(dataDir === formerDataDir() ? [aboutPlace(dataDir)] : []),
    await aboutDisk('disk of the data folder', dataDir, floorMib),
    await aboutDisk('disk of this folder', process.cwd(), floorMib),
  ]
}

async function aboutStore({
  EVENTSTORE_URL: connectionString,
  RETRAI_DATA_DIR: dataDir,
}: Settings): Promise<Finding> {
  const name = 'store'
  if (connectionString !== undefined) return aboutEventStoreDb(name, connectionString)
  const file = join(dataDir, 'log.sqlite')
  const isThere = await stat(file).catch(() => null)
  if (isThere === null) return ok(name, 'embedded: there is no log yet; the first start makes one.')
  const log = await openReadableLog(file)
  if (log.isErr()) {
    return fail(
      name,
      log.error.message,
      `Restore ${file} from a backup, or name another data folder.`,
    )
  }
  await log.value.close()
  return ok(name, `embedded: ${file} can be read, and has the format of this version.`)
}

async function aboutEventStoreDb(name: string, connectionString: string): Promise<Finding> {
  const fix = 'Check EVENTSTORE_URL, the server that it names, and the rights of its user.'
  let node = 'The EventStoreDB answers'
  const store = await openWritable({
    connectionString,
    onAnswer: ({ version, leader }) => {
      node = `EventStoreDB ${version} answers, and its leader is ${leader}`
    },
  })
  if (store.isErr()) return fail(name, store.error, fix)
  const answer = await store.value.ping()
  await store.value.close()
  if (answer.isErr()) return fail(name, answer.error.message, fix)
  return ok(name, `${node}. This user may read and write the log.`)
}

async function aboutFolder(dataDir: string): Promise<Finding> {
  const name = 'data folder'
  const found = await stat(dataDir).catch(() => null)
  if (found === null) return ok(name, `${dataDir} does not exist yet; the first start makes it.`)
  if (!found.isDirectory())
    return fail(name, `${dataDir} is not a folder.`, 'Remove it, or name another one.')
  const writable = await access(dataDir, constants.R_OK | constants.W_OK | constants.X_OK).then(
    () => true,
    () => false,
  )
  if (!writable) {
    return fail(
      name,
      `This user may not write to ${dataDir}.`,
      'Start retrAI as the user who owns it.',
    )
  }
  if ((found.mode & OTHERS) === 0) return ok(name, `${dataDir} is open to this user alone.`)
  return fail(
    name,
    `Other users of this machine may look into ${dataDir}, which holds keys and records.`,
    `Run: chmod 700 '${dataDir}'`,
  )
}

function aboutPlace(dataDir: string): Finding {
  const target = newDataDir(process.env)
  const message = `The data folder ${dataDir} is in a folder that may be a project: runs there are refused.`
  const move = `mkdir -p '${dirname(target)}' && mv '${dataDir}' '${target}'`
  return warn('place of the data folder', message, `Stop the server and run: ${move}`)
}

async function aboutDisk(name: string, folder: string, floorMib: number): Promise<Finding> {
  const disk = await diskOf(folder)
  if (disk === null)
    return warn(name, `The free space of ${folder} cannot be read.`, 'Check that it is mounted.')
  const freeMib = Math.floor((disk.bavail * disk.bsize) / MIB)
  const message = `${freeMib} MiB are free.`
  if (freeMib >= 2 * floorMib) return ok(name, message)
  const below = freeMib < floorMib
  const fix = `Free some space: below ${floorMib} MiB (RETRAI_MIN_FREE_DISK_MIB) no command starts.`
  return below ? fail(name, message, fix) : warn(name, message, fix)
}

/** The disk of a folder, or of the first folder above it that exists. */
async function diskOf(folder: string) {
  for (let at = folder; ; at = dirname(at)) {
    const disk = await statfs(at).catch(() => null)
    if (disk !== null || at === dirname(at)) return disk
  }
}
