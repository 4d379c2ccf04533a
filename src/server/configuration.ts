import { ok, type Result, safeTry } from 'neverthrow'
import type { OwnSecret } from '../masking/mask.ts'
import { type McpConfiguration, readServersFile, secretsOfServers } from '../mcp/servers.ts'
import { readPriceFile, readProviderFile } from '../models/operator-files.ts'
import type { ModelSettings } from '../models/routing.ts'
import type { Settings } from './settings.ts'
import { readStampAuthority, readWitnessFile, type Watchers } from './witnessing.ts'

/** What is configured in files that settings name. */
export type Configuration = Watchers & {
  readonly models: ModelSettings
  readonly mcp: McpConfiguration
  /** The secrets in these files. */
  readonly secrets: readonly OwnSecret[]
}

/** Reads the files that settings name. The error is a text for people that names the setting and the file. */
export const readConfiguration = async (
  settings: Settings,
): Promise<Result<Configuration, string>> =>
  safeTry(async function* () {
    const ownModels = yield* await readPriceFile(settings.RETRAI_PRICES)
    const own = yield* await readProviderFile(settings.RETRAI_PROVIDERS, process.env)
    const mcp = yield* await readServersFile(settings.RETRAI_MCP_SERVERS, process.env)
    const witnesses = yield* await readWitnessFile(settings.RETRAI_WITNESSES)
    const authority = yield* await readStampAuthority(settings)
    const models = { ...settings, ownModels, ownProviders: own.providers }
    return ok({
      witnesses,
      authority,
      models,
      mcp,
      secrets: [...own.secrets, ...secretsOfServers(mcp)],
    })
  })
