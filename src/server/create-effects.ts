import { hostname } from 'node:os'
import { readProject } from '../agent/planning/introduction.ts'
import { planRun } from '../agent/planning/plan-run.ts'
import type { Ceilings, NetworkRules } from '../agent/planning/problems.ts'
import type { Effects } from '../agent/run/effects.ts'
import type { SubagentRules } from '../agent/subagents/subagents.ts'
import { obstacle } from '../agent/supervisor/claim.ts'
import { createToolbox } from '../agent/tools/toolbox.ts'
import { cleanCopies } from '../carry/clean-copy.ts'
import { findGoal, goals } from '../checks/catalogue.ts'
import { SUBAGENTS_OF_RUN } from '../domain/related-runs.ts'
import { sha256 as sha256Of } from '../lib/sha256.ts'
import { LiveParts } from '../live/live-parts.ts'
import { namesArtifact } from '../log/lineage.ts'
import { processMask } from '../masking/process-mask.ts'
import { RunServers } from '../mcp/run-servers.ts'
import { createCatalogue } from '../models/catalogue.ts'
import { createModels } from '../models/models.ts'
import { withoutObjects } from '../redaction/objects.ts'
import { commandRunner, processStarter } from '../runner/run-command.ts'
import type { Runner } from '../runner/runner.ts'
import type { Isolation } from '../sandbox/isolation.ts'
import { RunFiles, snapshotsOf } from '../snapshots/run-files.ts'
import { type OpenWorkspace, Workspace } from '../workspace/workspace.ts'
import { around } from './around.ts'
import { commandVariables } from './command-env.ts'
import { type Commands, policyOfRun } from './commands.ts'
import type { Configuration } from './configuration.ts'
import type { Identity } from './data-folder.ts'
import type { History, Parts } from './open-history.ts'
import { diskProblem, type Resources } from './readiness.ts'
import type { Settings } from './settings.ts'

/** What was opened and chosen before the rooms are joined. */
export type Opened = Configuration &
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

/** The limits of this server for any run. */
export const ceilingsOf = (settings: Settings): Ceilings => ({
  max_cost_usd: settings.RETRAI_MAX_COST_USD ?? null,
  max_tokens: settings.RETRAI_MAX_TOKENS ?? null,
  max_seconds: settings.RETRAI_MAX_SECONDS ?? null,
})

/** What network the runs of this server may have. */
export const networkRules = (settings: Settings, isolation: Isolation): NetworkRules => ({
  most: settings.RETRAI_NETWORK,
  level: isolation.level,
  fullProblem: isolation.fullNetworkProblem,
})

/** All effects of runs on the world, and how a run is planned. */
export function createEffects(
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
    runCommand,
    startProcess,
    variables,
    artifacts,
    networks: networkRules(settings, isolation),
    subagents: maxDepth > 0,
  })
  const tools = toolbox.specs.map(({ name }) => name)
  const planned: SubagentRules['planRun'] = (request) =>
    planRun(request, {
      goals,
      models: catalogue,
      tools,
      dataDir,
      openWorkspace,
      ceilings: ceilingsOf(settings),
      isolate: (project, wanted) => policyOfRun(isolation, limits, project, wanted),
      network: networkRules(settings, isolation),
      mcp: { configuration, own: settings.RETRAI_MCP_REQUESTS },
      approvals: settings.RETRAI_APPROVALS ?? [],
    })
  const effects: Effects = {
    toolbox,
    readProject,
    findGoal,
    runCommand,
    variables,
    dataDir,
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
    openServers: (onNotice) => new RunServers({ configuration, startProcess, onNotice }),
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

/** Whole outputs, each only for the runs that name it. */
const outputs =
  (artifacts: Parts['artifacts'], store: Parts['store']): Effects['openOutput'] =>
  async (runId, sha256) => {
    const named = await namesArtifact(store, runId, sha256)
    if (named.isErr()) throw new Error(`the log cannot be read (${named.error.type})`)
    return named.value ? artifacts.read(sha256) : null
  }
