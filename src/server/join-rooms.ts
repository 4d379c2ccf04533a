import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import type { McpConfiguration } from '../agent/mcp/servers-file.ts'
import { createCatalogue } from '../agent/model/catalogue.ts'
import type { ModelSettings } from '../agent/model/routing.ts'
import { Resources } from '../agent/resources.ts'
import { AccessRecorder } from '../audit/access-log/access-recorder.ts'
import type { Signing } from '../log/entry-seal.ts'
import type { Runner } from '../runner/runner.ts'
import type { Commands } from './commands.ts'
import { createEffects, createSupervisor } from './create-agent.ts'
import { createApp, type Restart } from './create-app.ts'
import { type Identity, openCleanStops } from './data-folder.ts'
import { startCheckpointing, startIntegrity, type VerifyPace } from './integrity.ts'
import type { History } from './open-history.ts'
import { now, type Parts } from './parts.ts'
import { createRedactions } from './redactions.ts'
import { reportDefaultModel } from './start-notices.ts'

/** What is configured in files that settings name. */
export type Configuration = { readonly models: ModelSettings; readonly mcp: McpConfiguration }

/** What was opened and chosen before the rooms are joined. */
type Opened = Configuration &
  Identity &
  Commands &
  Pick<History, 'ledger' | 'redactor' | 'auth' | 'whyClosing'> & {
    readonly runner: Runner
    readonly sign: Signing
    /** Called when others can find the key of this server. */
    readonly published: () => void
    /** Closes everything that is made. */
    readonly opened: AsyncDisposableStack
    readonly options: {
      /** When the stored data is verified, if not by default. */
      readonly verify?: Partial<VerifyPace>
      /** Why the server before this one in the process was stopped; null if there was none. */
      readonly restarted?: Restart | null
    }
  }

/** Makes the agent, the audit and the HTTP side. None of them listens or works on a run yet. */
export async function joinRooms(parts: Parts, made: Opened) {
  const { settings, log } = parts
  const { models, mcp, keyring, isolation, limits, runner, opened, options } = made
  const resources = new Resources({ retryMs: [100, 5_000], log })
  const { effects, planRun } = createEffects(settings, models, parts, resources, {
    ...{ runner, isolation, limits: limits.limits, mcp },
  })
  const { ledger, redactor, sign } = made
  const redactions = createRedactions({ ...parts, ledger, redactor, sign, now })
  const claimant = `${made.serverId}/${randomUUID()}`
  const stops = join(settings.RETRAI_DATA_DIR, 'clean-stops')
  const { stopped, note } = openCleanStops(stops)
  const claims = { server: made.serverId, claimant, stopped }
  const supervisor = createSupervisor(parts, effects, { ...claims, pool: made.pool })
  redactions.onRedacted((runId) => supervisor.forget(runId))
  const accessLog = createAccessLog(parts, sign)
  opened.defer(() => accessLog?.stop())
  const integrity = startIntegrity({ ...parts, store: ledger, keyring }, options.verify)
  opened.defer(() => integrity.stop())
  const catalogue = createCatalogue(models)
  reportDefaultModel(catalogue, log)
  const app = await createApp(parts, {
    ...{ ...made, effects, planRun, resources, catalogue, redactions, accessLog, integrity },
    restarted: options.restarted ?? null,
  })
  const checkpoints = startCheckpointing(parts, keyring, integrity.keep, made.published)
  opened.defer(async () => {
    // This comes first: if the stop is cut short, it must not count as a crash.
    const noted = note(claimant)
    if (noted.isErr()) log.warn({ file: stops, error: noted.error }, 'the stop cannot be recorded')
    await Promise.all([supervisor.stop(), app.close(), checkpoints.stop()])
  })
  return { app, supervisor, redactions, catalogue }
}

/** Null if it is switched off. */
function createAccessLog({ settings, log, store }: Parts, sign: Signing): AccessRecorder | null {
  const mode = settings.RETRAI_ACCESS_LOG
  return mode === 'off'
    ? null
    : new AccessRecorder({ store, sign, clock: now, log, strict: mode === 'strict' })
}
