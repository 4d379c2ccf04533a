import { access, constants, stat, statfs } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { readServersFile } from '../../agent/mcp/servers-file.ts'
import { createCatalogue } from '../../agent/model/catalogue.ts'
import { type OwnModels, readPriceFile } from '../../agent/model/price-file.ts'
import { type OwnProviders, readProviderFile } from '../../agent/model/provider-file.ts'
import { keyOf, keysFrom, PROVIDER_NAMES, PROVIDERS } from '../../agent/model/providers.ts'
import { counted } from '../../lib/counted.ts'
import { DEFAULT_LIMITS } from '../../runner/run-command.ts'
import { openReadableLog } from '../../store/embedded/existing-log.ts'
import { modelSettings } from '../create-agent.ts'
import { formerDataDir, newDataDir } from '../data-folder.ts'
import { openWritable } from '../open-history.ts'
import { unknownSettings } from '../read-settings.ts'
import { isLocal, type Settings } from '../settings.ts'
import { examineCommands } from './commands.ts'
import { type Finding, fail, ok, warn } from './finding.ts'

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
    ...aboutSettings(settings),
    ...commands,
    ...(await aboutModels(settings)),
    ...(await aboutMcp(settings)),
    ...aboutAccess(settings),
    ...storage,
  ]
}

function aboutSettings(settings: Settings): Finding[] {
  const unknown = unknownSettings(settings, process.env)
  if (unknown.length === 0) return []
  return [
    warn(
      'settings',
      `No settings, so they have no effect: ${unknown.join(', ')}.`,
      'Correct the names: "retrai serve --help" lists the settings.',
    ),
  ]
}

async function aboutModels(settings: Settings): Promise<Finding[]> {
  const { RETRAI_PRICES: file, RETRAI_PROVIDERS: providerFile } = settings
  const found = await readProviderFile(providerFile, process.env)
  if (found.isErr()) {
    return [fail('providers', found.error, 'Correct the file, or unset RETRAI_PROVIDERS.')]
  }
  const { providers } = found.value
  const about = aboutProviders(settings, providers)
  if (file === undefined) return [...about, aboutModel(settings, undefined, providers)]
  const own = await readPriceFile(file)
  const prices = own.match(
    ({ size }) => ok('prices', `${file} has prices or windows of ${counted(size, 'model')}.`),
    (problem) => fail('prices', problem, 'Correct the file, or unset RETRAI_PRICES.'),
  )
  return [...about, prices, aboutModel(settings, own.unwrapOr(undefined), providers)]
}

/** Which providers can be called, by their keys and by RETRAI_PROVIDERS. None of them is asked. */
function aboutProviders(settings: Settings, own: OwnProviders = new Map()): Finding[] {
  const keys = keysFrom(settings)
  const vendors = PROVIDER_NAMES.flatMap((name) => {
    const { prefix } = PROVIDERS[name]
    return own.has(prefix) || keyOf(name, keys) === undefined ? [] : [`${prefix}/…`]
  })
  const gateways = [...own.values()].map(({ name, api, baseUrl, keyVariable, apiKey }) => {
    const lacks = keyVariable !== null && apiKey === null ? `, without ${keyVariable}` : ''
    return `${name}/… (${api} at ${baseUrl}${lacks})`
  })
  const all = [...gateways, ...vendors]
  return all.length === 0 ? [] : [ok('providers', `${all.join(', ')}.`)]
}

function aboutModel(
  settings: Settings,
  ownModels?: OwnModels,
  ownProviders?: OwnProviders,
): Finding {
  const models = modelSettings(settings, ownModels, ownProviders)
  const { name, reason, problem } = createCatalogue(models).default
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

function aboutAccess({ RETRAI_TOKEN, RETRAI_LISTEN: address }: Settings): Finding[] {
  if (RETRAI_TOKEN !== undefined || !isLocal(address)) return []
  return [
    warn(
      'access',
      'Without tokens, everybody who reaches loopback on this machine is an admin of the server.',
      'Make a token with "retrai token create NAME --role admin" if you share this machine.',
    ),
  ]
}

const MIB = 1024 * 1024
const OTHERS = 0o077

/** Whether the log can be read, and the data folder belongs to this user alone and has space. */
async function examineStorage(settings: Settings): Promise<Finding[]> {
  const { RETRAI_DATA_DIR: dataDir } = settings
  const floorMib = DEFAULT_LIMITS.freeDiskBytes / MIB
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
  const fix = `Free some space: below ${floorMib} MiB no command starts.`
  return below ? fail(name, message, fix) : warn(name, message, fix)
}

/** The disk of a folder, or of the first folder above it that exists. */
async function diskOf(folder: string) {
  for (let at = folder; ; at = dirname(at)) {
    const disk = await statfs(at).catch(() => null)
    if (disk !== null || at === dirname(at)) return disk
  }
}
