import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { join } from 'node:path'
import type { Effects } from '../agent/effects.ts'
import { findGoal, goals } from '../agent/goals/catalogue.ts'
import { systemPrompt } from '../agent/goals/prompt.ts'
import { InstalledPrograms } from '../agent/installed-programs.ts'
import { McpRuns } from '../agent/mcp/run-servers.ts'
import type { McpConfiguration } from '../agent/mcp/servers-file.ts'
import { createCatalogue, type ModelCatalogue } from '../agent/model/catalogue.ts'
import { createModels } from '../agent/model/models.ts'
import type { OwnModels } from '../agent/model/price-file.ts'
import type { OwnProviders } from '../agent/model/provider-file.ts'
import { keysFrom } from '../agent/model/providers.ts'
import type { ModelSettings } from '../agent/model/routing.ts'
import type { NetworkRules } from '../agent/network-rules.ts'
import { obstacle } from '../agent/obstacle.ts'
import { planRun } from '../agent/plan-run.ts'
import { projectContext } from '../agent/project-context.ts'
import type { Resources } from '../agent/resources.ts'
import type { SubagentRules } from '../agent/subagents.ts'
import { Supervisor } from '../agent/supervisor.ts'
import { createToolbox } from '../agent/tools/toolbox.ts'
import { SUBAGENTS_OF_RUN } from '../domain/subagents.ts'
import { LiveParts } from '../live/live-parts.ts'
import { ArtifactIndex } from '../log/artifact-index.ts'
import { processMask } from '../log/masking.ts'
import type { CommandLimits } from '../runner/command.ts'
import type { Isolation } from '../runner/isolation/isolation.ts'
import { policyOfRun } from '../runner/isolation/run-policy.ts'
import { commandRunner } from '../runner/run-command.ts'
import type { Runner } from '../runner/runner.ts'
import { processStarter } from '../runner/start-process.ts'
import { keptWorkspaces } from '../workspace/kept-workspaces.ts'
import { type OpenWorkspace, Workspace } from '../workspace/workspace.ts'
import { commandVariables } from './command-env.ts'
import { withCrashingEffects } from './crash-points.ts'
import { now, type Parts } from './parts.ts'
import type { Settings } from './settings.ts'

/** Goal checks write here. What a killed server leaves, the next start removes. */
export const REPORTS_FOLDER = 'checks'

/** The settings of models, without the names of their variables. */
export const modelSettings = (
  settings: Settings,
  ownModels?: OwnModels,
  ownProviders?: OwnProviders,
): ModelSettings => ({
  ...keysFrom(settings),
  model: settings.RETRAI_MODEL,
  llmBaseUrl: settings.RETRAI_LLM_BASE_URL,
  llmApiKey: settings.RETRAI_LLM_API_KEY,
  openaiBaseUrl: settings.OPENAI_BASE_URL,
  ollamaUrl: settings.OLLAMA_HOST,
  ownModels,
  ownProviders,
})

/** What network the runs of this server may have. */
export const networkRules = (settings: Settings, isolation: Isolation): NetworkRules => ({
  ...{ most: settings.RETRAI_NETWORK, level: isolation.level },
  fullProblem: isolation.fullNetworkProblem,
})

/** Plans runs by the settings of the server. */
function planner(
  settings: Settings,
  models: ModelCatalogue,
  isolation: Isolation,
  {
    limits,
    configuration,
    openWorkspace,
    tools,
  }: {
    readonly limits: CommandLimits
    readonly configuration: McpConfiguration
    readonly openWorkspace: OpenWorkspace
    readonly tools: readonly string[]
  },
): SubagentRules['planRun'] {
  const ceilings = {
    max_cost_usd: settings.RETRAI_MAX_COST_USD ?? null,
    max_tokens: settings.RETRAI_MAX_TOKENS ?? null,
    max_seconds: settings.RETRAI_MAX_SECONDS ?? null,
  }
  return (request) =>
    planRun(request, {
      ...{ goals, models, tools, systemPrompt, ceilings, dataDir: settings.RETRAI_DATA_DIR },
      openWorkspace,
      isolate: (project, wanted) => policyOfRun(isolation, limits, project, wanted),
      network: networkRules(settings, isolation),
      mcp: { configuration, own: settings.RETRAI_MCP_REQUESTS },
      approvals: settings.RETRAI_APPROVALS ?? [],
    })
}

/** What a server runs commands with, and the MCP servers that it knows. */
type Means = {
  readonly runner: Runner
  readonly isolation: Isolation
  readonly limits: CommandLimits
  readonly mcp: McpConfiguration
}

/** All effects of runs on the world, and how a run is planned. */
export function createEffects(
  settings: Settings,
  models: ModelSettings,
  { artifacts, store }: Pick<Parts, 'artifacts' | 'store'>,
  resources: Resources,
  { runner, isolation, limits, mcp: configuration }: Means,
): { readonly effects: Effects; readonly planRun: SubagentRules['planRun'] } {
  const { RETRAI_DATA_DIR: dataDir, RETRAI_SUBAGENT_DEPTH: maxDepth } = settings
  const catalogue = createCatalogue(models)
  const runCommand = resources.patient(commandRunner(limits, runner, isolation))
  const startProcess = processStarter(limits, runner, isolation)
  const openWorkspace: OpenWorkspace = (project) => new Workspace(project, startProcess)
  const mcp = new McpRuns({ configuration, startProcess })
  const reportsDir = isolation.scratchDir ?? join(dataDir, REPORTS_FOLDER)
  const variables = commandVariables(limits.variables, process.env)
  const openOutput = outputs(artifacts, new ArtifactIndex(store))
  const toolbox = createToolbox({
    ...{ runCommand, startProcess, variables, artifacts, openOutput, dataDir },
    isolated: isolation.level !== 'none',
    findTool: (runId, name) => mcp.tool(runId, name),
    networks: networkRules(settings, isolation),
    subagents: maxDepth > 0,
  })
  const tools = toolbox.specs.map(({ name }) => name)
  const look = keptWorkspaces(startProcess)
  const planning = { limits, configuration, openWorkspace: look, tools }
  const planRun = planner(settings, catalogue, isolation, planning)
  const programs = new InstalledPrograms(runCommand)
  const effects: Effects = {
    ...{ toolbox, openOutput, mcp, findGoal, runCommand, variables, dataDir, reportsDir },
    models: createModels(models),
    obstacle: (run) => obstacle(run, { models: catalogue, host: hostname() }),
    openWorkspace,
    readProject: (project, files, signal) =>
      projectContext(project, { programs, workspace: files, signal }),
    subagents: { maxDepth, maxPerRun: SUBAGENTS_OF_RUN, planRun },
    liveParts: new LiveParts(processMask),
    forgetRun: (runId) => isolation.forget(runId),
    untilAvailable: (signal) => resources.available(signal),
    modelRetryMs: [1_000, 30_000],
    modelAttempts: 6,
  }
  return { effects: withCrashingEffects(effects, settings.RETRAI_CRASH_AT, runner), planRun }
}

/** Whole outputs, each only for the runs that name it. */
const outputs =
  (artifacts: Parts['artifacts'], index: ArtifactIndex): NonNullable<Effects['openOutput']> =>
  async (runId, sha256) => {
    const named = await index.names(runId, sha256)
    if (named.isErr()) throw new Error(`the log cannot be read (${named.error.type})`)
    return named.value ? artifacts.read(sha256) : null
  }

/** The supervisor that works on the runs. It does nothing before it is started. */
export function createSupervisor(
  { settings, log, store }: Pick<Parts, 'settings' | 'log' | 'store'>,
  effects: Effects,
  claims: {
    readonly server: string
    readonly claimant: string
    readonly stopped: ReadonlySet<string>
    /** Null if it may work on all runs of its log. */
    readonly pool: string | null
  },
): Supervisor {
  const { server, claimant, stopped, pool } = claims
  const isShared = settings.EVENTSTORE_URL !== undefined
  return new Supervisor({
    store,
    effects,
    process: { server, claimant, pid: process.pid, host: hostname() },
    stopped,
    pool: isShared ? pool : null,
    leaseMs: isShared ? settings.RETRAI_LEASE_SECONDS * 1000 : null,
    now,
    newId: randomUUID,
    retryMs: [100, 5_000],
    maxRunsAtWork: settings.RETRAI_MAX_RUNS_AT_WORK,
    log,
  })
}
