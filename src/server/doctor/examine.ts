import { readServersFile } from '../../agent/mcp/servers-file.ts'
import { createCatalogue } from '../../agent/model/catalogue.ts'
import { type OwnModels, readPriceFile } from '../../agent/model/price-file.ts'
import { modelSettings } from '../create-agent.ts'
import { isLoopback, type Settings } from '../settings.ts'
import { examineCommands } from './commands.ts'
import { type Finding, fail, ok, warn } from './finding.ts'
import { examineStorage } from './storage.ts'

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
