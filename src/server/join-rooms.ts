import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { Carrier } from '../agent/carry/carrier.ts'
import { Copies } from '../agent/carry/copies.ts'
import { RunServers } from '../agent/mcp/run-servers.ts'
import type { McpConfiguration } from '../agent/mcp/servers.ts'
import { readProject } from '../agent/planning/introduction.ts'
import { fittingGoals } from '../agent/planning/plan-goal.ts'
import { planRun } from '../agent/planning/plan-run.ts'
import { type Ceilings, changeProblems, type NetworkRules } from '../agent/planning/problems.ts'
import { cleanCopies } from '../agent/run/clean-copy.ts'
import type { Effects } from '../agent/run/effects.ts'
import type { SubagentRules } from '../agent/subagents/subagents.ts'
import { obstacle } from '../agent/supervisor/claim.ts'
import { FolderLocks } from '../agent/supervisor/folder-locks.ts'
import { Supervisor } from '../agent/supervisor/supervisor.ts'
import { createToolbox } from '../agent/tools/toolbox.ts'
import type { Goal as GoalView, Model } from '../api/about-server.ts'
import type { Checkpoint } from '../api/audit.ts'
import { AccessRecorder } from '../audit/access-recorder.ts'
import { createAudit } from '../audit/audit.ts'
import { findGoal, goals } from '../checks/catalogue.ts'
import type { Goal } from '../checks/goal.ts'
import { protectedBy } from '../checks/protected.ts'
import { tokensOfTools } from '../domain/mcp-tools.ts'
import { present } from '../domain/present.ts'
import { SUBAGENTS_OF_RUN } from '../domain/subagents.ts'
import { buildApp } from '../http/app.ts'
import type { Redactions } from '../http/deps.ts'
import { sha256 as sha256Of } from '../lib/sha256.ts'
import { LiveParts } from '../live/live-parts.ts'
import { namesArtifact } from '../log/lineage.ts'
import { processMask } from '../log/masking.ts'
import { createCatalogue, type ModelCatalogue, type ModelInfo } from '../models/catalogue.ts'
import { createModels } from '../models/models.ts'
import type { ModelSettings } from '../models/routing.ts'
import { tagsOf } from '../projections/read-model.ts'
import { SearchIndex } from '../projections/search/search-index.ts'
import { withoutObjects } from '../redaction/objects.ts'
import { Remover } from '../retention/remover.ts'
import { createRetention } from '../retention/retain-runs.ts'
import { commandRunner, processStarter } from '../runner/run-command.ts'
import type { Runner } from '../runner/runner.ts'
import type { Isolation } from '../sandbox/isolation.ts'
import { RunFiles, snapshotsOf } from '../snapshots/run-files.ts'
import { Webhooks } from '../webhooks/webhooks.ts'
import { type OpenWorkspace, Workspace } from '../workspace/workspace.ts'
import { around } from './around.ts'
import { commandVariables } from './command-env.ts'
import { type Commands, isolationOffer, policyOfRun } from './commands.ts'
import { type Identity, openCleanStops } from './data-folder.ts'
import { type Integrity, startCheckpointing, startIntegrity } from './integrity.ts'
import { date, type History, now, type Parts } from './open-history.ts'
import { diskProblem, Resources, readiness } from './readiness.ts'
import { createRedactions } from './redactions.ts'
import type { Settings } from './settings.ts'
import { reportDefaultModel } from './start-notices.ts'
import { startWitnesses, type Watchers, type Witnessing } from './witnessing.ts'

/** What is configured in files that settings name. */
export type Configuration = Watchers & {
  readonly models: ModelSettings
  readonly mcp: McpConfiguration
}

/** What was opened and chosen before the rooms are joined. */
type Opened = Configuration &
  Identity &
  Commands &
  Pick<History, 'ledger' | 'redactor' | 'retention' | 'auth' | 'tags' | 'sign' | 'whyClosing'> & {
    readonly runner: Runner
    /** Called when others can find the key of this server. */
    readonly published: (isPublished: boolean) => void
    /** Closes everything that is made. */
    readonly opened: AsyncDisposableStack
    /** How long after the start the stored data is verified first, milliseconds; undefined for the default. */
    readonly verifyAfterMs: number | undefined
  }

/** Makes the agent, the audit and the HTTP side. None of them listens or works on a run yet. */
export async function joinRooms(parts: Parts, made: Opened) {
  const { settings, log } = parts
  const { models, keyring, opened } = made
  const resources = new Resources({ retryMs: [100, 5_000], log })
  const { effects, planRun } = createEffects(parts, made, resources)
  const locks = new FolderLocks()
  const { carrier, tidyCopies } = createCarrier(parts, { ...made, effects, locks })
  const { ledger, redactor, sign } = made
  const search = new SearchIndex({
    ...{ ...parts, file: join(settings.RETRAI_DATA_DIR, 'search.sqlite') },
    asOfNow: (event) => redactor.apply(event),
  })
  opened.defer(() => search.stop())
  const redactions = createRedactions({ ...parts, ledger, redactor, search, sign, now })
  const remover = createRemover(parts, made, async (runIds) => {
    await Promise.all(runIds.map((runId) => search.removeRun(runId)))
    await redactions.forgetRuns(runIds)
  })
  const claimant = `${made.serverId}/${randomUUID()}`
  const stops = join(settings.RETRAI_DATA_DIR, 'clean-stops')
  const { stopped, note } = openCleanStops(stops)
  const isShared = settings.EVENTSTORE_URL !== undefined
  const supervisor = new Supervisor({
    ...{ store: parts.store, effects, stopped, locks, now, log, newId: randomUUID },
    process: { server: made.serverId, claimant, pid: process.pid, host: hostname() },
    pool: isShared ? made.pool : null,
    leaseMs: isShared ? settings.RETRAI_LEASE_SECONDS * 1000 : null,
    retryMs: [100, 5_000],
    maxRunsAtWork: settings.RETRAI_MAX_RUNS_AT_WORK,
  })
  redactions.onRedacted((runId) => supervisor.forget(runId))
  const accessLog =
    settings.RETRAI_ACCESS_LOG === 'off'
      ? null
      : new AccessRecorder({ store: parts.store, sign, clock: now, log })
  opened.defer(() => accessLog?.stop())
  const integrity = startIntegrity({ ...parts, store: ledger, keyring }, made.verifyAfterMs)
  opened.defer(() => integrity.stop())
  const catalogue = createCatalogue(models)
  reportDefaultModel(catalogue, log)
  const witnessing = await startWitnesses(parts, made, made)
  const { ownLog, witnesses, timeStamps } = witnessing
  opened.defer(() => Promise.all([witnesses?.stop(), timeStamps?.stop()]).then(() => {}))
  const { readModel } = parts
  const webhooks = new Webhooks({
    ...{ store: parts.store, sign, serverId: made.serverId, clock: now, log },
    dataDir: settings.RETRAI_DATA_DIR,
    hosts: new Set(settings.RETRAI_WEBHOOK_HOSTS),
    tagsOf: (runId) => tagsOf(readModel, runId),
  })
  opened.defer(() => webhooks.close())
  const app = await createApp(parts, {
    ...{ ...made, effects, planRun, carrier, resources, catalogue, redactions, accessLog },
    ...{ integrity, ...witnessing, supervisor, search, remover, webhooks },
  })
  search.start()
  const written = (checkpoint: Checkpoint): Promise<void> => {
    witnesses?.notice()
    timeStamps?.notice()
    return integrity.keep(checkpoint)
  }
  const { followed } = ownLog
  const removed = async () => {
    // What is known is enough: if it cannot be read now, no checkpoint is written either.
    ;(await made.retention.read()).unwrapOr(undefined)
    return made.retention.index.removals.values()
  }
  const sources = { keyring, followed, removed }
  const checkpoints = startCheckpointing(parts, sources, written, made.published)
  opened.defer(async () => {
    await Promise.all([supervisor.stop(), app.close(), checkpoints.stop()])
  })
  const noteStop = (): void => {
    const noted = note(claimant)
    if (noted.isErr()) log.warn({ file: stops, error: noted.error }, 'the stop cannot be recorded')
  }
  return { app, supervisor, redactions, remover, catalogue, integrity, tidyCopies, noteStop }
}

/** What removes the runs that the ledger of retention names, once it is started. */
export const createRemover = (
  { artifacts, readModel, log }: Pick<Parts, 'artifacts' | 'readModel' | 'log'>,
  { retention, ledger: store, redactor }: Pick<History, 'retention' | 'ledger' | 'redactor'>,
  forgetRuns: (runIds: readonly string[]) => Promise<void>,
): Remover =>
  new Remover({
    ...{ retention, store, artifacts, log },
    packsOf: (sha256) => redactor.index.packsOf(sha256),
    forget: (runIds) => {
      readModel.remove(runIds)
      return forgetRuns(runIds)
    },
  })

/** The limits of this server for any run. */
const ceilingsOf = (settings: Settings): Ceilings => ({
  max_cost_usd: settings.RETRAI_MAX_COST_USD ?? null,
  max_tokens: settings.RETRAI_MAX_TOKENS ?? null,
  max_seconds: settings.RETRAI_MAX_SECONDS ?? null,
})

/** What network the runs of this server may have. */
const networkRules = (settings: Settings, isolation: Isolation): NetworkRules => ({
  ...{ most: settings.RETRAI_NETWORK, level: isolation.level },
  fullProblem: isolation.fullNetworkProblem,
})

/** All effects of runs on the world, and how a run is planned. */
function createEffects(
  { settings, artifacts, store, log }: Parts,
  { models, runner, isolation, mcp: configuration, limits: { limits }, redactor }: Opened,
  resources: Resources,
): { readonly effects: Effects; readonly planRun: SubagentRules['planRun'] } {
  const { RETRAI_DATA_DIR: dataDir, RETRAI_SUBAGENT_DEPTH: maxDepth } = settings
  const catalogue = createCatalogue(models)
  const runCommand = commandRunner(limits, runner, isolation, (shortage, signal) =>
    resources.waitFor(shortage, signal),
  )
  const startProcess = processStarter(limits, runner, isolation)
  const openWorkspace: OpenWorkspace = (project) => new Workspace(project, startProcess)
  const variables = commandVariables(limits.variables, process.env)
  const toolbox = createToolbox({
    ...{ runCommand, startProcess, variables, artifacts },
    networks: networkRules(settings, isolation),
    subagents: maxDepth > 0,
  })
  const tools = toolbox.specs.map(({ name }) => name)
  const planned: SubagentRules['planRun'] = (request) =>
    planRun(request, {
      ...{ goals, models: catalogue, tools, dataDir, openWorkspace },
      ceilings: ceilingsOf(settings),
      isolate: (project, wanted) => policyOfRun(isolation, limits, project, wanted),
      network: networkRules(settings, isolation),
      mcp: { configuration, own: settings.RETRAI_MCP_REQUESTS },
      approvals: settings.RETRAI_APPROVALS ?? [],
    })
  const effects: Effects = {
    ...{ toolbox, readProject, findGoal, runCommand, variables, dataDir },
    models: createModels(models),
    obstacle: (run) => obstacle(run, { models: catalogue, host: hostname() }),
    openOutput: outputs(artifacts, store),
    keepArtifact: async (content) => {
      const name = sha256Of(content)
      return redactor.index.hasRedactedArtifact(name) ? name : artifacts.put(content)
    },
    readArtifact: (sha256) => artifacts.read(sha256),
    keepPack: async (pack) => {
      const left = withoutObjects(pack, redactor.index.removedObjects)
      return left === null ? null : { sha256: await artifacts.put(left), bytes: left.length }
    },
    filesOf: async (runId, more = []) => {
      const found = await snapshotsOf(store, runId)
      const packsOf = (sha256: string) => redactor.index.packsOf(sha256)
      return found.isErr() ? null : RunFiles.open([...found.value, ...more], artifacts, packsOf)
    },
    openServers: () => new RunServers({ configuration, startProcess }),
    openWorkspace,
    openCleanCopy: cleanCopies({ isolation, openWorkspace, runCommand }),
    subagents: { maxDepth, maxPerRun: SUBAGENTS_OF_RUN, planRun: planned },
    liveParts: new LiveParts(processMask),
    forgetRun: (runId) => isolation.forget(runId),
    untilAvailable: (signal) => resources.available(signal),
    diskProblem: (folder) => diskProblem([folder], limits),
    modelRetryMs: [1_000, 30_000],
    modelAttempts: 6,
    log,
  }
  return { effects: around.effects(effects, runner), planRun: planned }
}

/** What carries files between snapshots and folders, and what removes copies that nobody needs. */
function createCarrier(
  { settings, artifacts, store, readModel, log }: Parts,
  { effects, locks, redactor, opened }: Opened & { effects: Effects; locks: FolderLocks },
) {
  const stateOf = (runId: string) => readModel.get(runId)?.state ?? null
  const copies = new Copies({ dataDir: settings.RETRAI_DATA_DIR, stateOf, now, log })
  const carrier = new Carrier({
    ...{ store, artifacts, locks, copies, now, openWorkspace: effects.openWorkspace },
    packsOf: (sha256) => redactor.index.packsOf(sha256),
  })
  const stop = new AbortController()
  opened.defer(() => stop.abort())
  const discard = (runId: string, reason: string) =>
    carrier.discard(runId, { reason, seen: null }, { commandId: randomUUID() })
  const keepsAll = (runId: string) => carrier.keepsAll(runId)
  return { carrier, tidyCopies: () => copies.tidy({ keepsAll, discard }, stop.signal) }
}

/** Whole outputs, each only for the runs that name it. */
const outputs =
  (artifacts: Parts['artifacts'], store: Parts['store']): Effects['openOutput'] =>
  async (runId, sha256) => {
    const named = await namesArtifact(store, runId, sha256)
    if (named.isErr()) throw new Error(`the log cannot be read (${named.error.type})`)
    return named.value ? artifacts.read(sha256) : null
  }

/** What the app needs that was made for this start. */
type Made = Omit<Opened, 'witnesses'> &
  Witnessing & {
    readonly effects: Pick<Effects, 'models' | 'toolbox' | 'liveParts' | 'openWorkspace'>
    readonly catalogue: ModelCatalogue
    readonly planRun: SubagentRules['planRun']
    readonly carrier: Carrier
    readonly resources: Pick<Resources, 'problem'>
    readonly redactions: Redactions
    readonly search: SearchIndex
    readonly remover: Remover
    readonly webhooks: Webhooks
    /** Null if the access log is off. */
    readonly accessLog: AccessRecorder | null
    readonly integrity: Pick<Integrity, 'detail'>
    readonly supervisor: Pick<Supervisor, 'queuePosition'>
  }

/** The HTTP app with everything that it needs from the other rooms. */
function createApp(parts: Parts, made: Made): ReturnType<typeof buildApp> {
  const { settings, log: logger, store, artifacts, readModel } = parts
  const { keyring, auth, catalogue, planRun, carrier, redactions, pool, whyClosing, accessLog } =
    made
  const { search, webhooks } = made
  const { models, toolbox, liveParts, openWorkspace } = made.effects
  const { RETRAI_DATA_DIR: dataDir } = settings
  const network = networkRules(settings, made.isolation)
  return buildApp({
    ...{
      store,
      readModel,
      artifacts,
      auth,
      planRun,
      carrier,
      redactions,
      search,
      webhooks,
      pool,
      whyClosing,
      logger,
    },
    ...present({ accessLog, liveParts }),
    retention: createRetention({ ...made, store, readModel, now }),
    checkpoint: () => readModel.checkpoint,
    audit: createAudit({
      ...{ store, runs: readModel, keyring, artifacts, clock: date },
      ...{ ownLog: made.ownLog, witnesses: made.witnesses, timeStamps: made.timeStamps },
    }),
    contextBudget: async (modelName) =>
      (await models.contextBudget(modelName)) - tokensOfTools(toolbox.specs),
    tools: toolbox.specs,
    goals: goals.map(goalOf),
    fittingGoals: (cwd) =>
      fittingGoals(cwd, goals, { dataDir, openWorkspace }).map((found) =>
        found.map((goal) => ({ ...goalOf(goal), because: goal.because })),
      ),
    putTags: (runId, given, principal) => made.tags.put(runId, given, { principal, now: now() }),
    webhookPending: () => webhooks.list().reduce((sum, { pending }) => sum + pending, 0),
    queuePosition: (runId) => made.supervisor.queuePosition(runId),
    changeProblems: (changes, config) =>
      changeProblems(changes, config, { models: catalogue, ceilings: ceilingsOf(settings) }),
    models: async () => (await catalogue.list()).map(modelOf),
    isolationOffer: () => isolationOffer(made.isolation, network, made.limits.limits),
    mcpOffer: {
      servers: [...made.mcp.servers.values()].map(({ recorded }) => recorded),
      own: settings.RETRAI_MCP_REQUESTS,
    },
    serverApprovals: settings.RETRAI_APPROVALS ?? [],
    clock: now,
    defaults: { cwd: process.cwd(), model_name: catalogue.default.name, max_iterations: 20 },
    ready: () => readiness(parts, made),
    commandsRunning: () => made.runner.commands,
  })
}

/** A goal as the API shows it. */
const goalOf = (goal: Goal): GoalView => {
  const { name, description, takesCheck = false } = goal
  const check = takesCheck ? 'optional' : 'none'
  return { name, description, check, options: [], protected: protectedBy(goal) }
}

/** A model as the API shows it. */
const modelOf = (info: ModelInfo): Model => ({
  name: info.name,
  provider: info.provider,
  is_default: info.isDefault,
  problem: info.problem === null ? null : `The model "${info.name}" ${info.problem}`,
  key_variable: info.keyVariable,
  key_set: info.keySet,
  context_window: info.contextWindow,
  max_output_tokens: info.maxOutputTokens,
  prices: info.prices,
  reasoning_efforts: info.efforts,
})
