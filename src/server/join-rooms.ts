import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { fittingGoals } from '../agent/planning/plan-goal.ts'
import { changeProblems } from '../agent/planning/problems.ts'
import type { Effects } from '../agent/run/effects.ts'
import { Supervisor } from '../agent/supervisor/supervisor.ts'
import type { Goal as GoalView, Model } from '../api/about-server.ts'
import type { Checkpoint } from '../api/audit.ts'
import { AccessRecorder } from '../audit/access-recorder.ts'
import { createAudit } from '../audit/audit.ts'
import { Carrier } from '../carry/carrier.ts'
import { Copies } from '../carry/copies.ts'
import { FolderLocks } from '../carry/folder-locks.ts'
import { goals } from '../checks/catalogue.ts'
import type { Goal } from '../checks/goal.ts'
import { protectedBy } from '../checks/protected.ts'
import { tokensOfTools } from '../domain/mcp-tools.ts'
import { present } from '../domain/present.ts'
import { buildApp } from '../http/app.ts'
import { createCatalogue, type ModelInfo } from '../models/catalogue.ts'
import { SearchIndex } from '../projections/search/search-index.ts'
import { Remover } from '../retention/remover.ts'
import { createRetention } from '../retention/retain-runs.ts'
import { Webhooks } from '../webhooks/webhooks.ts'
import { isolationOffer } from './commands.ts'
import { ceilingsOf, createEffects, networkRules, type Opened } from './create-effects.ts'
import { openCleanStops } from './data-folder.ts'
import { startCheckpointing, startIntegrity } from './integrity.ts'
import { date, type History, now, type Parts } from './open-history.ts'
import { Resources, readiness } from './readiness.ts'
import { createRedactions } from './redactions.ts'
import { reportDefaultModel } from './start-notices.ts'
import { startWitnesses } from './witnessing.ts'

/** Makes the agent, the audit and the HTTP side. None of them listens or works on a run yet. */
export async function joinRooms(parts: Parts, made: Opened) {
  const { keyring, opened } = made
  const rooms = await makeRooms(parts, made)
  const { integrity, search, supervisor, witnesses, timeStamps } = rooms
  const app = await createApp(parts, { ...made, ...rooms })
  search.start()
  const written = (checkpoint: Checkpoint): Promise<void> => {
    witnesses?.notice()
    timeStamps?.notice()
    return integrity.keep(checkpoint)
  }
  const { followed } = rooms.ownLog
  const removed = async () => {
    // What is known is enough: if it cannot be read now, no checkpoint is written either.
    ;(await made.retention.work.read()).unwrapOr(undefined)
    return made.retention.index.removals.values()
  }
  const sources = { keyring, followed, removed }
  const checkpoints = startCheckpointing(parts, sources, written, made.published)
  opened.defer(async () => {
    await Promise.all([supervisor.stop(), app.close(), checkpoints.stop()])
  })
  return { app, ...rooms }
}

type Rooms = Awaited<ReturnType<typeof makeRooms>>

/** What the app offers, and what works beside it. */
async function makeRooms(parts: Parts, made: Opened) {
  const { settings, log } = parts
  const { models, keyring, opened } = made
  const resources = new Resources({ retryMs: [100, 5_000], log })
  const { effects, planRun } = createEffects(parts, made, resources)
  const locks = new FolderLocks()
  const { carrier, tidyCopies } = createCarrier(parts, { ...made, effects, locks })
  const { ledger, redactor, sign } = made
  const search = new SearchIndex({
    ...parts,
    file: join(settings.RETRAI_DATA_DIR, 'search.sqlite'),
    asOfNow: (event) => redactor.apply(event),
  })
  opened.defer(() => search.stop())
  const redactions = createRedactions({ ...parts, ledger, redactor, search, sign, now })
  const remover = createRemover(parts, made, async (runIds) => {
    await search.removeRuns(runIds)
    await redactions.forgetRuns(runIds)
  })
  const claimant = `${made.serverId}/${randomUUID()}`
  const stops = join(settings.RETRAI_DATA_DIR, 'clean-stops')
  const { stopped, note } = openCleanStops(stops)
  const isShared = settings.EVENTSTORE_URL !== undefined
  const supervisor = new Supervisor({
    store: parts.store,
    effects,
    stopped,
    locks,
    now,
    log,
    newId: randomUUID,
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
  const { witnesses, timeStamps } = witnessing
  opened.defer(() => Promise.all([witnesses?.stop(), timeStamps?.stop()]).then(() => {}))
  const webhooks = new Webhooks({
    store: parts.store,
    sign,
    serverId: made.serverId,
    clock: now,
    log,
    dataDir: settings.RETRAI_DATA_DIR,
    hosts: new Set(settings.RETRAI_WEBHOOK_HOSTS),
    isGone: made.retention.isGone,
    laterTags: (runId) => made.tags.read().map((tagged) => tagged.get(runId)?.tags),
  })
  opened.defer(() => webhooks.close())
  const noteStop = (): void => {
    const noted = note(claimant)
    if (noted.isErr()) log.warn({ file: stops, error: noted.error }, 'the stop cannot be recorded')
  }
  return {
    resources,
    effects,
    planRun,
    carrier,
    tidyCopies,
    search,
    redactions,
    remover,
    supervisor,
    accessLog,
    integrity,
    catalogue,
    ...witnessing,
    webhooks,
    noteStop,
  }
}

/** What removes the runs that the ledger of retention names, once it is started. */
export const createRemover = (
  { artifacts, readModel }: Pick<Parts, 'artifacts' | 'readModel'>,
  { retention, ledger: store, redactor }: Pick<History, 'retention' | 'ledger' | 'redactor'>,
  forgetRuns: (runIds: readonly string[]) => Promise<void>,
): Remover =>
  new Remover({
    retention,
    store,
    artifacts,
    packsOf: (sha256) => redactor.index.packsOf(sha256),
    forget: (runIds) => {
      readModel.remove(runIds)
      return forgetRuns(runIds)
    },
  })

/** What carries files between snapshots and folders, and what removes copies that nobody needs. */
function createCarrier(
  { settings, artifacts, store, readModel, log }: Parts,
  { effects, locks, redactor, opened }: Opened & { effects: Effects; locks: FolderLocks },
) {
  const stateOf = (runId: string) => readModel.get(runId)?.state ?? null
  const begunFrom = (origin: string) =>
    (readModel.list({ origin, limit: 1000 })?.runs ?? []).flatMap(
      ({ run_id }) => stateOf(run_id) ?? [],
    )
  const { RETRAI_DATA_DIR: dataDir } = settings
  const copies = new Copies({ dataDir, stateOf, begunFrom, now, log })
  const carrier = new Carrier({
    store,
    artifacts,
    locks,
    copies,
    now,
    openWorkspace: effects.openWorkspace,
    packsOf: (sha256) => redactor.index.packsOf(sha256),
  })
  const stop = new AbortController()
  opened.defer(() => stop.abort())
  const discard = (runId: string, reason: string) =>
    carrier.discard(runId, { reason, seen: null }, { commandId: randomUUID() })
  const keepsAll = (runId: string) => carrier.keepsAll(runId)
  return { carrier, tidyCopies: () => copies.tidy({ keepsAll, discard }, stop.signal) }
}

/** The HTTP app with everything that it needs from the other rooms. */
function createApp(
  parts: Parts,
  made: Omit<Opened, 'witnesses'> & Rooms,
): ReturnType<typeof buildApp> {
  const { settings, log: logger, store, artifacts, readModel } = parts
  const { keyring, auth, catalogue, planRun, carrier, redactions, search, webhooks } = made
  const { pool, whyClosing, accessLog } = made
  const { models, toolbox, liveParts, openWorkspace } = made.effects
  const { RETRAI_DATA_DIR: dataDir } = settings
  const network = networkRules(settings, made.isolation)
  return buildApp({
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
    ...present({ accessLog, liveParts }),
    retention: createRetention({ ...made, store, readModel, now }),
    checkpoint: () => readModel.checkpoint,
    audit: createAudit({
      store,
      keyring,
      artifacts,
      clock: date,
      ownLog: made.ownLog,
      witnesses: made.witnesses,
      timeStamps: made.timeStamps,
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
  return { name, description, check, protected: protectedBy(goal) }
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
