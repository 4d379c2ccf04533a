import { dirname, join } from 'node:path'
import { err, fromThrowable, ok, type Result, ResultAsync } from 'neverthrow'
import type { Logger } from 'pino'
import { clearReports } from '../agent/goals/report-folder.ts'
import { readServersFile, secretsOfServers } from '../agent/mcp/servers-file.ts'
import { readPriceFile } from '../agent/model/price-file.ts'
import { readProviderFile } from '../agent/model/provider-file.ts'
import type { Supervisor } from '../agent/supervisor.ts'
import { signingWith } from '../audit/proofs/keyring.ts'
import type { Level } from '../domain/isolation.ts'
import { removeControlGroup } from '../runner/cgroup.ts'
import type { Isolation } from '../runner/isolation/isolation.ts'
import { leaveFolderForUsers } from '../runner/isolation/trial.ts'
import { Runner } from '../runner/runner.ts'
import { type Commands, chooseCommands } from './commands.ts'
import { modelSettings, REPORTS_FOLDER } from './create-agent.ts'
import type { Restart } from './create-app.ts'
import { openIdentity } from './data-folder.ts'
import type { VerifyPace } from './integrity.ts'
import { type Configuration, joinRooms } from './join-rooms.ts'
import { listen } from './listen.ts'
import { openArtifacts, shareArtifacts } from './open-artifacts.ts'
import { openHistory } from './open-history.ts'
import type { Parts } from './parts.ts'
import { type Settings, secretsOf } from './settings.ts'
import {
  reportCommands,
  unfinishedImports,
  warnOfFormerDataDir,
  warnOfLocalAdmins,
  warnOfMissingVariables,
  warnOfProcess1,
  warnOfShortSecrets,
  warnOfUnknownSettings,
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

/** Starts the process that runs commands before settings and keys are read. If it cannot be started, the server reports that. */
export function startRunner(log: ConstructorParameters<typeof Runner>[0]): Runner {
  const runner = new Runner(log)
  fromThrowable(() => runner.connect())().unwrapOr(undefined)
  return runner
}

/**
 * Joins store, projections, agent and HTTP into a server. If EventStoreDB is not reachable, the server listens and
 * waits for it. The error is a text for people.
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
  warnOfUnknownSettings(settings, log)
  warnOfFormerDataDir(settings, log)
  warnOfProcess1(process.pid, log)
  // If a step fails, everything that was opened before is closed, in the opposite order.
  await using opened = new AsyncDisposableStack()
  opened.defer(() => runner.close())
  const configured = await readConfiguration(settings, log)
  if (configured.isErr()) return err(configured.error)
  const identity = await openIdentity(settings)
  if (identity.isErr()) return err(identity.error)
  // A trial takes a moment, in which the stores are opened.
  const choosing = chooseCommands(settings, runner)
  opened.defer(() => forgetCommands(choosing))
  const { promise, resolve: published } = Promise.withResolvers<void>()
  const sign = signingWith(identity.value.keyring, promise)
  const history = await openHistory(settings, { ...options, opened, sign })
  if (history.isErr()) return err(history.error)
  await removeReports(settings, log)
  const commands = await choosing
  reportCommands(commands, log)
  const { ledger, redactor, auth, store, readModel, projector } = history.value
  const places = openArtifacts(settings, ledger)
  if (places.isErr()) return err(places.error)
  const { artifacts } = places.value
  const parts: Parts = { settings, log, store, artifacts, readModel, projector }
  const { app, supervisor, redactions, catalogue } = await joinRooms(parts, {
    ...{ ...configured.value, ...identity.value, ...history.value, ...commands },
    ...{ runner, opened, options, sign, published },
  })
  // Every part that keeps texts is registered now.
  redactions.start()
  await redactor.settled(REDACTED_WITHIN_MS)
  const sharing = shareArtifacts(places.value, redactor, log)
  opened.defer(() => sharing.stop())

  const url = await listen(app, settings)
  if (url.isErr()) return err(url.error)
  const { RETRAI_LISTEN: address } = settings
  if ('socket' in address) opened.defer(() => removeSocket(address.socket))
  void warnOfLocalAdmins(settings, auth, log)
  const imports = await unfinishedImports(settings, log)
  const running = opened.move()
  const { isolation } = commands
  startWork(parts, { supervisor, isolation, imports, isOver: () => running.disposed })
  const { name: model, problem: modelProblem } = catalogue.default
  return ok({
    url: url.value,
    about: { isolation: isolation.level, model, modelProblem },
    ready: projector.caughtUpOnce(),
    close: () => running.disposeAsync(),
  })
}

/** Removes what was made to run commands, once that is known: a start that has failed may still be choosing. */
async function forgetCommands(choosing: Promise<Commands>): Promise<void> {
  const { isolation, limits } = await choosing
  if (limits.limits.group !== null) removeControlGroup(limits.limits.group)
  if (isolation.scratchDir !== null) await leaveFolderForUsers(dirname(isolation.scratchDir))
}

/** What is configured in files that settings name. The error is a text for people. */
async function readConfiguration(
  settings: Settings,
  log: Logger,
): Promise<Result<Configuration, string>> {
  const { RETRAI_PRICES: priceFile, RETRAI_PROVIDERS: providerFile } = settings
  const ownModels = priceFile === undefined ? ok(undefined) : await readPriceFile(priceFile)
  if (ownModels.isErr()) return err(ownModels.error)
  const own = await readProviderFile(providerFile, process.env)
  if (own.isErr()) return err(own.error)
  warnOfShortSecrets(own.value.secrets, log)
  const mcp = await readServersFile(settings.RETRAI_MCP_SERVERS, process.env)
  if (mcp.isErr()) return err(mcp.error)
  warnOfShortSecrets(secretsOfServers(mcp.value), log)
  return ok({
    models: modelSettings(settings, ownModels.value, own.value.providers),
    mcp: mcp.value,
  })
}

/** Removes the reports of earlier checks. The read model must be locked, so that no other server runs checks in this folder. */
async function removeReports({ RETRAI_DATA_DIR }: Settings, log: Logger): Promise<void> {
  const clearing = clearReports(join(RETRAI_DATA_DIR, REPORTS_FOLDER))
  const cleared = await ResultAsync.fromPromise(clearing, String)
  if (cleared.isErr())
    log.warn({ why: cleared.error }, 'reports of earlier checks cannot be removed')
}

/** Works on the unfinished runs as soon as they are known. Until then the server is not ready. */
function startWork(
  { readModel, projector, log }: Parts,
  {
    supervisor,
    isolation,
    imports,
    isOver,
  }: {
    readonly supervisor: Supervisor
    readonly isolation: Isolation
    /** Runs whose import was interrupted. */
    readonly imports: ReadonlySet<string>
    /** Whether the server is closed. */
    readonly isOver: () => boolean
  },
): void {
  const start = async (caughtUp: boolean): Promise<void> => {
    if (!caughtUp || isOver()) return
    const unfinished = readModel.unfinished().filter(({ runId }) => !imports.has(runId))
    await isolation.forgetAllBut(new Set(unfinished.map(({ runId }) => runId)))
    if (!isOver()) supervisor.start(unfinished, projector.checkpoint())
  }
  projector
    .caughtUpOnce()
    .then(start)
    .catch((error) => log.fatal({ err: error }, 'no run is worked on: restart the server'))
}
