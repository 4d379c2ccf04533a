import { createCatalogue } from '../../agent/model/catalogue.ts'
import { modelSettings } from '../create-agent.ts'
import { isLoopback, type Settings } from '../settings.ts'
import { examineCommands } from './commands.ts'
import { type Finding, ok, warn } from './finding.ts'
import { examineStorage } from './storage.ts'

export type { Finding } from './finding.ts'

/**
 * Looks at everything that a server with these settings needs, without starting one: how commands are isolated and
 * limited, the programs for goals, models and keys, the store, the disk and the data folder. Changes nothing.
 */
export async function examine(settings: Settings): Promise<Finding[]> {
  const [commands, storage] = await Promise.all([
    examineCommands(settings),
    examineStorage(settings),
  ])
  return [...commands, aboutModel(settings), ...aboutAccess(settings), ...storage]
}

function aboutModel(settings: Settings): Finding {
  const { name, reason, problem } = createCatalogue(modelSettings(settings)).default
  const chosen = `Runs that name no model use ${name}, because ${reason}.`
  if (problem === null) return ok('model', chosen)
  return warn('model', `${chosen} It ${problem}`, 'Set a key of a provider, or RETRAI_MODEL.')
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
