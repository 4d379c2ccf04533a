import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { err, fromThrowable, ok, type Result, ResultAsync } from 'neverthrow'
import type { Logger } from 'pino'
import { clearReports } from '../agent/goals/report-folder.ts'
import { readServersFile, secretsOfServers } from '../agent/mcp/servers-file.ts'
import { createCatalogue } from '../agent/model/catalogue.ts'
import { readPriceFile } from '../agent/model/price-file.ts'
import { Resources } from '../agent/resources.ts'
import { AccessRecorder } from '../audit/access-log/access-recorder.ts'
import { openKeyring } from '../audit/proofs/keyring.ts'
import type { Level } from '../domain/isolation.ts'
import { startProjector } from '../projections/projector.ts'
import { openReadModel } from '../projections/sqlite-read-model.ts'
import { removeControlGroup } from '../runner/cgroup.ts'
import { chooseIsolation } from '../runner/isolation/isolation.ts'
import { Runner } from '../runner/runner.ts'
import { chooseLimits } from './command-limits.ts'
import { createEffects, createSupervisor, modelSettings, REPORTS_FOLDER } from './create-agent.ts'
import { createApp, type Restart } from './create-app.ts'
import {
  cleanStops,
  ensurePool,
  ensureServerId,
  makeDataFolder,
  noteCleanStop,
} from './data-folder.ts'
import { startCheckpointing, startIntegrity, type VerifyPace } from './integrity.ts'
import { listen } from './listen.ts'
import { openArtifacts, shareArtifacts } from './open-artifacts.ts'
import { openAuth, openLog } from './open-log.ts'
import { date, now, type Parts } from './parts.ts'
import { rebuildFromFile } from './rebuild.ts'
import { createRedactions } from './redactions.ts'
import { type Settings, secretsOf } from './settings.ts'
import {
  reportDefaultModel,
  unfinishedImports,
  warnOfFormerDataDir,
  warnOfLocalAdmins,
  warnOfMissingVariables,
  warnOfShortSecrets,
} from './start-notices.ts'
import { removeSocket } from './unix-socket.ts'

/** What a person wants to know of a server at its start. */
export type About = {
  /** How it isolates commands; null if it refuses them. */
  readonly isolation: Level | null
  /** The model of runs that name none, and why that cannot be called; null if it can. */
  readonly model: string
  readonly modelProblem: string | null
}

export type Server = {
  /** Where it listens, such as `http://127.0.0.1:8000`. */
  readonly url: string
  /** Resolves to true once the server is ready: the store answers and the read model is up to date; to false if it stops before. */
  readonly ready: Promise<boolean>
  readonly about: About
  /** Ends sockets, requests and the work on runs. The next start continues unfinished runs. */
  close(): Promise<void>
}

type StartOptions = {
  readonly log: Logger
  /** The process that runs commands, if it is started already. */
  readonly runner?: Runner
  /** When the stored data is verified, if not by default. */
  readonly verify?: Partial<VerifyPace>
  /** Called if the store holds another log than before: close this server then, and start it again. */
  readonly onLogReplaced?: (reason: string) => void
  /** Why the server before this one in the process was stopped, for people; null if there was none. */
  readonly restarted?: Restart | null
}

/** How long a start waits until all recorded redactions are done. */
const REDACTED_WITHIN_MS = 5_000

const LOG_REPLACED =
  'the event store came back with another log, for instance an empty one or an older backup: the server starts again from it'

/** The same for observers. The reason of a WebSocket's close has at most 123 bytes. */
const LOG_REPLACED_CLOSE =
  'the event store came back with another log; the server starts again from it'

/** Starts the process that runs commands before settings and keys are read. If it cannot be started, the server reports that. */
export function startRunner(log: ConstructorParameters<typeof Runner>[0]): Runner {
  const runner = new Runner(log)
  fromThrowable(() => runner.connect())().unwrapOr(undefined)
  return runner
}

/**
 * Joins the rooms: store, projections, agent, HTTP. If EventStoreDB is not reachable, the server listens and waits for
 * it. The error is a text for people.
 */
export function startServer(
  settings: Settings,
  options: StartOptions,
): ResultAsync<Server, string> {
  return new ResultAsync(start(settings, options))
}

async function start(settings: Settings, options: StartOptions): Promise<Result<Server, string>> {
  const { log } = options
  const runner = options.runner ?? new Runner(log)
  const connected = fromThrowable(() => runner.connect(), String)()
  if (connected.isErr()) {
    return err(`The process that runs commands cannot be started: ${connected.error}`)
  }
  warnOfShortSecrets(secretsOf(settings), log)
  warnOfMissingVariables(settings, log)
  warnOfFormerDataDir(settings, log)
  // If a step fails, everything that was opened before is closed, in the opposite order.
  await using opened = new AsyncDisposableStack()
  opened.defer(() => runner.close())
  const { RETRAI_DATA_DIR: dataDir, RETRAI_PRICES: priceFile } = settings
  const ownModels = priceFile === undefined ? ok(undefined) : await readPriceFile(priceFile)
  if (ownModels.isErr()) return err(ownModels.error)
  const mcp = await readServersFile(settings.RETRAI_MCP_SERVERS, process.env)
  if (mcp.isErr()) return err(mcp.error)
  warnOfShortSecrets(secretsOfServers(mcp.value), log)
  const models = modelSettings(settings, ownModels.value)
  const made = await makeDataFolder(dataDir)
  if (made.isErr()) return err(made.error)
  const keyring = await openKeyring(join(dataDir, 'keys'), date)
  if (keyring.isErr()) return err(keyring.error.message)
  const serverId = await ensureServerId(join(dataDir, 'server-id'))
  if (serverId.isErr()) return err(serverId.error)
  const pool = await poolOf(settings)
  if (pool.isErr()) return err(pool.error)

  // A trial takes a moment, in which the stores are opened.
  const choosing = chooseIsolation(settings.RETRAI_ISOLATION, {
    ...{ runner, dataDir, env: process.env, toolPaths: settings.RETRAI_TOOL_PATHS ?? [] },
  })
  const choosingLimits = chooseLimits(settings, runner)
  const stored = await openLog(settings, log)
  if (stored.isErr()) return err(stored.error)
  const { ledger, store, redactor, ledgers, file } = stored.value
  opened.defer(() => store.close())
  opened.defer(() => redactor.stop())
  const auth = await openAuth(settings, log, store)
  if (auth.isErr()) return err(auth.error)
  opened.defer(() => auth.value.close())
  const readModel = openReadModel({ file: join(dataDir, 'read-model.sqlite'), log })
  if (readModel.isErr()) return err(readModel.error.message)
  opened.defer(() => readModel.value.close())
  let isReplaced = false
  const asOfNow = redactor.apply.bind(redactor)
  const projector = startProjector({
    ...{ store, readModel: readModel.value, log, ledgers, asOfNow },
    ...(file === null ? {} : { rebuild: rebuildFromFile(file, redactor) }),
    onLogReplaced: (reason) => {
      log.error({ reason }, LOG_REPLACED)
      isReplaced = true
      options.onLogReplaced?.(reason)
    },
  })
  opened.defer(() => projector.stop())

  // The read model is locked now, so no other server runs checks in this folder.
  const cleared = await ResultAsync.fromPromise(clearReports(join(dataDir, REPORTS_FOLDER)), String)
  if (cleared.isErr()) {
    log.warn({ why: cleared.error }, 'reports of earlier checks cannot be removed')
  }

  const chosen = await choosingLimits
  const { group } = chosen.limits
  if (group !== null) opened.defer(() => removeControlGroup(group))
  if (group === null) log.warn(chosen.detail)
  else log.info(chosen.detail)
  const isolation = await choosing
  const { level, detail } = isolation
  if (level === 'namespaces') log.info({ isolation: level }, detail)
  else log.warn({ isolation: level ?? 'refused' }, detail)
  const places = openArtifacts(settings, ledger)
  if (places.isErr()) return err(places.error)
  const { artifacts } = places.value
  const parts: Parts = { settings, log, store, artifacts, readModel: readModel.value, projector }
  const resources = new Resources({ retryMs: [100, 5_000], log })
  const { effects, planRun } = createEffects(settings, models, parts, resources, {
    ...{ runner, isolation, limits: chosen.limits, mcp: mcp.value },
  })
  const redactions = createRedactions({ ...parts, ledger, redactor, now })
  const claimant = `${serverId.value}/${randomUUID()}`
  const stops = join(dataDir, 'clean-stops')
  const supervisor = createSupervisor(parts, effects, {
    server: serverId.value,
    claimant,
    stopped: await cleanStops(stops),
    pool: pool.value,
  })
  redactions.onRedacted((runId) => supervisor.forget(runId))
  const accessLog = createAccessLog(parts)
  opened.defer(() => accessLog?.stop())
  const integrity = startIntegrity(
    { ...parts, store: ledger, keyring: keyring.value },
    options.verify,
  )
  opened.defer(() => integrity.stop())
  const catalogue = createCatalogue(models)
  reportDefaultModel(catalogue, log)
  const app = await createApp(parts, {
    keyring: keyring.value,
    auth: auth.value,
    effects,
    catalogue,
    planRun,
    resources,
    isolation,
    limits: chosen,
    mcp: mcp.value,
    redactions,
    accessLog,
    integrity,
    pool: pool.value,
    restarted: options.restarted ?? null,
    whyClosing: () => (isReplaced ? LOG_REPLACED_CLOSE : null),
  })
  const checkpoints = startCheckpointing(parts, keyring.value, integrity.keep)
  opened.defer(async () => {
    // This comes first: if the stop is cut short, it must not count as a crash.
    const noted = await noteCleanStop(stops, claimant)
    if (noted.isErr()) log.warn({ file: stops, error: noted.error }, 'the stop cannot be recorded')
    await Promise.all([supervisor.stop(), app.close(), checkpoints.stop()])
  })
  // Every part that keeps texts is registered now.
  redactions.start()
  await redactor.settled(REDACTED_WITHIN_MS)
  const sharing = shareArtifacts(places.value, redactor, log)
  opened.defer(() => sharing.stop())

  const url = await listen(app, settings)
  if (url.isErr()) return err(url.error)
  const { RETRAI_LISTEN: socket } = settings
  if (socket !== undefined) opened.defer(() => removeSocket(socket))
  void warnOfLocalAdmins(settings, auth.value, log)
  const imports = await unfinishedImports(settings, log)
  const running = opened.move()
  // Work begins when the unfinished runs are known. Until then the server is not ready.
  const startWork = async (caughtUp: boolean): Promise<void> => {
    if (!caughtUp || running.disposed) return
    const unfinished = readModel.value.unfinished().filter(({ runId }) => !imports.has(runId))
    await isolation.forgetAllBut(new Set(unfinished.map(({ runId }) => runId)))
    if (running.disposed) return
    supervisor.start(unfinished, projector.checkpoint())
  }
  projector
    .caughtUpOnce()
    .then(startWork)
    .catch((error) => log.fatal({ err: error }, 'no run is worked on: restart the server'))
  const { name: model, problem: modelProblem } = catalogue.default
  return ok({
    url: url.value,
    about: { isolation: level, model, modelProblem },
    ready: projector.caughtUpOnce(),
    close: () => running.disposeAsync(),
  })
}

/** Only servers that share a log need pools. Null if the runs of this server may be worked on anywhere. */
async function poolOf({
  RETRAI_POOL: chosen,
  RETRAI_DATA_DIR: dataDir,
  EVENTSTORE_URL,
}: Settings): Promise<Result<string | null, string>> {
  if (chosen !== undefined) return ok(chosen)
  return EVENTSTORE_URL === undefined ? ok(null) : ensurePool(join(dataDir, 'pool'), hostname())
}

/** Null if it is switched off. */
function createAccessLog({ settings, log, store }: Parts): AccessRecorder | null {
  const mode = settings.RETRAI_ACCESS_LOG
  return mode === 'off'
    ? null
    : new AccessRecorder({ store, clock: now, log, strict: mode === 'strict' })
}
