import { fittingGoals } from '../agent/planning/plan-goal.ts'
import { changeProblems } from '../agent/planning/problems.ts'
import type { Effects } from '../agent/run/effects.ts'
import type { SubagentRules } from '../agent/subagents/subagents.ts'
import type { Supervisor } from '../agent/supervisor/supervisor.ts'
import type { Goal as GoalView, Model } from '../api/about-server.ts'
import type { AccessRecorder } from '../audit/access-recorder.ts'
import { createAudit } from '../audit/audit.ts'
import type { Carrier } from '../carry/carrier.ts'
import { goals } from '../checks/catalogue.ts'
import type { Goal } from '../checks/goal.ts'
import { protectedBy } from '../checks/protected.ts'
import { tokensOfTools } from '../domain/mcp-tools.ts'
import { present } from '../domain/present.ts'
import { buildApp } from '../http/app.ts'
import type { Redactions } from '../http/deps.ts'
import type { ModelCatalogue, ModelInfo } from '../models/catalogue.ts'
import type { SearchIndex } from '../projections/search/search-index.ts'
import type { Remover } from '../retention/remover.ts'
import { createRetention } from '../retention/retain-runs.ts'
import type { Webhooks } from '../webhooks/webhooks.ts'
import { isolationOffer } from './commands.ts'
import { ceilingsOf, networkRules, type Opened } from './create-effects.ts'
import type { Integrity } from './integrity.ts'
import { date, now, type Parts } from './open-history.ts'
import { type Resources, readiness } from './readiness.ts'
import type { Witnessing } from './witnessing.ts'

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
export function createApp(parts: Parts, made: Made): ReturnType<typeof buildApp> {
  const { settings, log: logger, store, artifacts, readModel } = parts
  const { keyring, auth, catalogue, planRun, carrier, redactions, search, webhooks } = made
  const { pool, whyClosing, accessLog } = made
  const { models, toolbox, liveParts, openWorkspace } = made.effects
  const { RETRAI_DATA_DIR: dataDir } = settings
  const network = networkRules(settings, made.isolation)
  return buildApp({
    ...{ store, readModel, artifacts, auth, planRun, carrier, redactions, search, webhooks },
    ...{ pool, whyClosing, logger },
    ...present({ accessLog, liveParts }),
    retention: createRetention({ ...made, store, readModel, now }),
    checkpoint: () => readModel.checkpoint,
    audit: createAudit({
      ...{ store, keyring, artifacts, clock: date },
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
