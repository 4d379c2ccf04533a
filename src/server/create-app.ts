import * as z from 'zod'
import type { Effects } from '../agent/effects.ts'
import { goals } from '../agent/goals/catalogue.ts'
import type { Goal } from '../agent/goals/goal.ts'
import type { McpConfiguration } from '../agent/mcp/servers-file.ts'
import type { ModelCatalogue, ModelInfo } from '../agent/model/catalogue.ts'
import { changeProblems } from '../agent/model-problems.ts'
import { fittingGoals } from '../agent/plan-goal.ts'
import type { Resources } from '../agent/resources.ts'
import type { SubagentRules } from '../agent/subagents.ts'
import type { Model } from '../api/models.ts'
import type { Goal as GoalView } from '../api/runs.ts'
import type { AccessRecorder } from '../audit/access-log/access-recorder.ts'
import { createAudit } from '../audit/audit.ts'
import type { Keyring } from '../audit/proofs/keyring.ts'
import type { Auth } from '../auth/auth.ts'
import { tokensOfTools } from '../domain/mcp-tools.ts'
import { present } from '../domain/present.ts'
import { RequestedOptions } from '../domain/requested-goal.ts'
import { buildApp } from '../http/app.ts'
import type { Redactions } from '../http/deps.ts'
import { within } from '../lib/within.ts'
import type { EventStore } from '../store/event-store.ts'
import { type Commands, diskProblem, isolationOffer } from './commands.ts'
import { networkRules } from './create-agent.ts'
import type { Integrity } from './integrity.ts'
import { date, now, type Parts } from './parts.ts'

/** A restart of the server within its process because the store holds another log: when, and what showed it. */
export type Restart = { readonly at: Date; readonly reason: string }

/** What the app needs that was made for this start. */
type Made = Commands & {
  readonly keyring: Keyring
  readonly auth: Auth
  readonly effects: Pick<Effects, 'models' | 'toolbox' | 'liveParts' | 'openWorkspace'>
  readonly catalogue: ModelCatalogue
  readonly planRun: SubagentRules['planRun']
  readonly resources: Pick<Resources, 'problem'>
  readonly mcp: McpConfiguration
  readonly redactions: Redactions
  /** Null if the access log is off. */
  readonly accessLog: AccessRecorder | null
  readonly integrity: Pick<Integrity, 'detail'>
  readonly pool: string | null
  readonly restarted: Restart | null
  readonly whyClosing: () => string | null
}

/** The HTTP app with everything that it needs from the other rooms. */
export function createApp(parts: Parts, made: Made): ReturnType<typeof buildApp> {
  const { settings, log: logger, store, artifacts, readModel } = parts
  const { keyring, auth, catalogue, planRun, redactions, pool, whyClosing, accessLog } = made
  const { models, toolbox, liveParts, openWorkspace } = made.effects
  const { RETRAI_DATA_DIR: dataDir } = settings
  const network = networkRules(settings, made.isolation)
  return buildApp({
    ...{ store, readModel, artifacts, auth, planRun, redactions, pool, whyClosing, logger },
    ...present({ accessLog, liveParts }),
    checkpoint: () => readModel.checkpoint,
    audit: createAudit({ store, runs: readModel, keyring, artifacts, clock: date }),
    contextBudget: async (modelName) =>
      (await models.contextBudget(modelName)) - tokensOfTools(toolbox.specs),
    tools: toolbox.specs,
    goals: goals.map(goalOf),
    fittingGoals: (cwd) =>
      fittingGoals(cwd, goals, { dataDir, openWorkspace }).map((found) =>
        found.map((goal) => ({ ...goalOf(goal), because: goal.because })),
      ),
    changeProblems: (changes, config) => changeProblems(changes, config, catalogue),
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
  })
}

// A schema with a name would be a reference to itself.
const UNNAMED = z.strictObject(RequestedOptions.shape)
const { properties: OPTION_SCHEMAS = {} } = z.toJSONSchema(UNNAMED, { io: 'input' })

/** A goal as the API shows it. */
const goalOf = ({ name, description, takes = {} }: Goal): GoalView => ({
  ...{ name, description, check: takes.check ?? 'none' },
  options: Object.entries(takes.options ?? {}).map(([option, need]) => {
    return { name: option, required: need === 'required', ...schemaOf(option, name) }
  }),
})

/** The JSON Schema of an option. Its description begins with the goal, which is known here. */
function schemaOf(option: string, goal: string): { readonly schema?: Record<string, unknown> } {
  const schema = OPTION_SCHEMAS[option]
  if (typeof schema !== 'object') return {}
  const { description = '' } = schema
  const own = description.replace(`${goal}: `, '')
  const text = `${own.charAt(0).toUpperCase()}${own.slice(1)}`
  return { schema: { ...schema, description: text } }
}

/** A model as the API shows it. */
const modelOf = (info: ModelInfo): Model => ({
  name: info.name,
  provider: info.provider,
  is_default: info.isDefault,
  problem: info.problem,
  key_variable: info.keyVariable,
  key_set: info.keySet,
  context_window: info.contextWindow,
  max_output_tokens: info.maxOutputTokens,
  prices: info.prices,
  reasoning_efforts: info.efforts,
})

/** How long a request for readiness waits for the store. */
const PING_WITHIN_MS = 2_000

/**
 * Whether the store answers and the projections are up to date, and what is wrong if not. Integrity problems are
 * reported too, but the server still serves.
 */
async function readiness(
  { settings, store, readModel, projector }: Parts,
  { integrity, resources, isolation, limits, restarted }: Made,
) {
  const folders = [settings.RETRAI_DATA_DIR, process.cwd()]
  const storeProblem = await pingProblem(store)
  const catchingUp = 'The read model is still catching up with the log.'
  const projectionProblem = projector.problem() ?? (readModel.caughtUp ? null : catchingUp)
  const shortage = await resources.problem()
  return {
    ready: storeProblem === null && projectionProblem === null && shortage === null,
    checks: {
      store: check(storeProblem),
      projections: check(projectionProblem),
      integrity: check(integrity.detail()),
      resources: check(shortage),
      // Nothing is wrong, but a person who misses a run learns here where it went.
      ...(restarted === null ? {} : { log: { ok: true, detail: replacedLog(restarted) } }),
      // A server that refuses commands still serves what is stored.
      isolation: {
        ok: isolation.level !== null,
        detail: `${isolation.level ?? 'refused'}: ${isolation.detail}`,
      },
      limits: { ok: true, detail: limits.detail },
      disk: check(await diskProblem(folders, limits.limits)),
    },
  }
}

const replacedLog = ({ at, reason }: Restart): string =>
  `At ${at.toISOString()} the event store came back with another log, such as an older backup or an empty one: ${reason}. The server has started over from it. What is not in that log is gone.`

const check = (problem: string | null) =>
  problem === null ? { ok: true } : { ok: false, detail: problem }

/** Null if the store answers now. */
async function pingProblem(store: EventStore): Promise<string | null> {
  const text = `The store does not answer within ${PING_WITHIN_MS / 1000} seconds.`
  const answer = store.ping().match(
    () => null,
    ({ message }) => message,
  )
  return within(PING_WITHIN_MS, answer, () => text)
}
