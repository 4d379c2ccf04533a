import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import type { IsolationPolicy, Level, LowerLimits } from '../domain/isolation.ts'
import { maskPayload } from '../domain/mask/mask-payload.ts'
import type { McpRequest } from '../domain/mcp-servers.ts'
import { withoutPresets } from '../domain/network.ts'
import type { RunConfig } from '../domain/run-config.ts'
import { processMask } from '../log/masking.ts'
import type { Wanted } from '../runner/isolation/run-policy.ts'
import { dataFolderProblem } from './data-folder.ts'
import type { Goal } from './goals/goal.ts'
import { type McpRules, planServers } from './mcp/rules.ts'
import { NO_SERVERS } from './mcp/servers-file.ts'
import { type ModelRules, modelProblems, type Problem } from './model-problems.ts'
import { type NetworkRules, networkProblem } from './network-rules.ts'

/** What a client chooses of a run. */
export type RunRequest = Omit<RunConfig, 'shell_goal' | 'mcp_servers'> & {
  readonly mcp_servers?: readonly McpRequest[]
  /** The level of isolation that it asks for; null for that of the server. */
  readonly isolation?: Level | null
  /** The limits of its commands that it asks for; null for those of the server. */
  readonly command_limits?: LowerLimits | null
}

/** What a run is created from. */
export type PlannedRun = {
  readonly config: RunConfig
  readonly systemPrompt: string
  readonly isolation: IsolationPolicy
}

/** The limits of this server for any run; null is no limit. */
export type Ceilings = Pick<RunConfig, 'max_cost_usd' | 'max_tokens' | 'max_seconds'>

export type PlanDeps = {
  readonly goals: readonly Goal[]
  readonly models: ModelRules
  readonly ceilings: Ceilings
  /** The server's data folder, which no project may contain; null if there is none. */
  readonly dataDir: string | null
  readonly systemPrompt: (goal: Goal, config: RunConfig) => string
  /** How commands in a project are isolated. */
  readonly isolate: (project: string, wanted: Wanted) => Promise<Result<IsolationPolicy, Problem>>
  readonly network: NetworkRules
  /** Without them, runs have no MCP servers. */
  readonly mcp?: Omit<McpRules, 'network'>
}

/**
 * Turns a request into the configuration for `run_created`, or names every problem: an unknown goal, a folder that does
 * not exist, a model without its key, bad settings of the goal.
 */
export function planRun(
  {
    isolation: atLeast = null,
    command_limits: atMost = null,
    mcp_servers = [],
    ...request
  }: RunRequest,
  { goals, models, systemPrompt, ceilings, dataDir, isolate, network: rules, mcp }: PlanDeps,
): ResultAsync<PlannedRun, readonly Problem[]> {
  const plan = async (): Promise<Result<PlannedRun, Problem[]>> => {
    const cwd = resolve(request.cwd)
    const goal = goals.find(({ name }) => name === request.goal)
    const folder = await folderProblems(cwd, dataDir)
    const network = withoutPresets(request.network ?? 'none', goal?.registries ?? [])
    const isolation = folder.length > 0 ? null : await isolate(cwd, { atLeast, network, atMost })
    const level = atLeast !== null && isolation?.isOk() ? atLeast : rules.level
    const refused = networkProblem(request.network, goal, { ...rules, level })
    const servers = planServers(mcp_servers, { ...(mcp ?? NO_MCP), network: rules })
    const problems = [
      ...(goal === undefined ? [unknownGoal(request.goal, goals)] : []),
      ...folder,
      ...(await modelProblems({ ...request, ...withCeilings(request, ceilings) }, models)),
      ...ceilingProblems(request, ceilings),
      ...(isolation?.isErr() ? [isolation.error] : []),
      ...(refused === null ? [] : [{ field: 'network', message: refused }]),
      ...(servers.isErr() ? servers.error : []),
    ]
    if (goal === undefined || problems.length > 0 || !isolation?.isOk() || servers.isErr()) {
      return err(problems)
    }
    const settings = (await goal.prepare?.(cwd)) ?? ok(null)
    if (settings.isErr()) return err([{ field: 'goal', message: settings.error }])
    const limits = withCeilings(request, ceilings)
    const config: RunConfig = {
      ...{ ...request, ...limits, cwd, shell_goal: settings.value },
      ...(request.network === undefined ? {} : { network }),
      ...(servers.value.length === 0 ? {} : { mcp_servers: servers.value }),
    }
    const secrets = secretProblems(config)
    if (secrets.length > 0) return err(secrets)
    return ok({ config, systemPrompt: systemPrompt(goal, config), isolation: isolation.value })
  }
  return new ResultAsync(plan())
}

const NO_MCP = { configuration: NO_SERVERS, own: 'none' } as const

function unknownGoal(name: string, goals: readonly Goal[]): Problem {
  const known = goals.map((goal) => goal.name).join(', ')
  return { field: 'goal', message: `There is no goal "${name}". Choose one of: ${known}.` }
}

async function folderProblems(cwd: string, dataDir: string | null): Promise<Problem[]> {
  try {
    if ((await stat(cwd)).isDirectory()) {
      const clash = await dataFolderProblem(cwd, dataDir)
      return clash === null ? [] : [{ field: 'cwd', message: clash }]
    }
    return [{ field: 'cwd', message: `${cwd} is not a directory. Name the project's folder.` }]
  } catch (cause) {
    const reason =
      (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'does not exist' : 'cannot be opened'
    return [{ field: 'cwd', message: `${cwd} ${reason}. Name an existing directory.` }]
  }
}

/**
 * A run uses its first record, and that record is masked, so it must not need a secret from it. The messages quote the
 * masked form.
 */
function secretProblems(config: RunConfig): Problem[] {
  const masked = maskPayload(config, processMask.text)
  const problem = (field: string, what: string, text: string): Problem => {
    const message = `${what} contains a secret, which the log does not store: ${text}. Put it where the project can read it, such as in a file or a script.`
    return { field, message }
  }
  return [
    ...(['cwd', 'model_name'] as const)
      .filter((field) => masked[field] !== config[field])
      .map((field) => problem(field, field, masked[field])),
    ...(masked.mcp_servers === config.mcp_servers
      ? []
      : [problem('mcp_servers', 'An MCP server', JSON.stringify(masked.mcp_servers))]),
    ...(masked.shell_goal === config.shell_goal
      ? []
      : [problem('goal', 'The check of .retrai.yml', JSON.stringify(masked.shell_goal))]),
  ]
}

const LIMITS = ['max_cost_usd', 'max_tokens', 'max_seconds'] as const

function ceilingProblems(request: Ceilings, ceilings: Ceilings): Problem[] {
  return LIMITS.flatMap((field) => {
    const [requested, ceiling] = [request[field], ceilings[field]]
    if (requested === null || ceiling === null || requested <= ceiling) return []
    return [{ field, message: `${field} must be at most ${ceiling}, the limit of this server.` }]
  })
}

/** A request without a limit gets the limit of the server. */
const withCeilings = (request: Ceilings, ceilings: Ceilings): Ceilings => ({
  max_cost_usd: request.max_cost_usd ?? ceilings.max_cost_usd,
  max_tokens: request.max_tokens ?? ceilings.max_tokens,
  max_seconds: request.max_seconds ?? ceilings.max_seconds,
})
