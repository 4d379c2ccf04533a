import { resolve } from 'node:path'
import { err, fromThrowable, ok, type Result, ResultAsync } from 'neverthrow'
import type { ApprovalRules } from '../domain/approvals/rules.ts'
import type { IsolationPolicy } from '../domain/isolation.ts'
import { maskPayload } from '../domain/mask/mask-payload.ts'
import { withoutPresets } from '../domain/network.ts'
import { present } from '../domain/present.ts'
import type { ProjectFolder } from '../domain/project-folder.ts'
import type { RunRequest } from '../domain/requested-goal.ts'
import type { Effort, RunConfig } from '../domain/run-config.ts'
import { messageOf } from '../lib/message-of.ts'
import { processMask } from '../log/masking.ts'
import { folderAt } from '../runner/isolation/project-folder.ts'
import type { Wanted } from '../runner/isolation/run-policy.ts'
import type { OpenWorkspace } from '../workspace/workspace.ts'
import { folderProblems } from './data-folder.ts'
import { ASKS_FOR_HOSTS } from './environment.ts'
import type { Goal } from './goals/goal.ts'
import { noCheckCommand, settingsFor, withRules, withSettings } from './goals/project-settings.ts'
import { type McpRules, planServers } from './mcp/rules.ts'
import { NO_SERVERS } from './mcp/servers-file.ts'
import { type ModelRules, modelProblems, type Problem } from './model-problems.ts'
import { type NetworkRules, networkProblem } from './network-rules.ts'
import { type ChosenGoal, chooseGoal, misfit, prepareGoal } from './plan-goal.ts'

/** What a run is created from. */
export type PlannedRun = {
  readonly config: RunConfig
  readonly systemPrompt: string
  readonly isolation: IsolationPolicy
  /** Which folder its project is now. */
  readonly project: ProjectFolder
  /** The rules of the server for the calls of every run. */
  readonly serverApprovals: ApprovalRules
  /** What may be a mistake in the request, as sentences for people. */
  readonly warnings: readonly string[]
  /** For models that would not think without one. */
  readonly defaultEffort?: Effort
}

/** The limits of this server for any run; null is no limit. */
type Ceilings = Pick<RunConfig, 'max_cost_usd' | 'max_tokens' | 'max_seconds'>

export type PlanDeps = {
  readonly goals: readonly Goal[]
  readonly models: ModelRules
  readonly ceilings: Ceilings
  /** Rules that hold for every run. */
  readonly approvals?: ApprovalRules
  /** The server's data folder, which no project may contain; null if there is none. */
  readonly dataDir: string | null
  /** The names of all tools, without those of MCP servers. */
  readonly tools: readonly string[]
  readonly systemPrompt: (config: RunConfig, isolation: IsolationPolicy, canAsk: boolean) => string
  readonly openWorkspace: OpenWorkspace
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
export const planRun = (
  request: RunRequest,
  deps: PlanDeps,
): ResultAsync<PlannedRun, readonly Problem[]> => new ResultAsync(plan(request, deps))

async function plan(
  { isolation: atLeast = null, command_limits: atMost = null, within, ...requested }: RunRequest,
  deps: PlanDeps,
): Promise<Result<PlannedRun, readonly Problem[]>> {
  const { goal: _, check: __, goal_options: ___, all_of: ____, ...rest } = requested
  const { mcp_servers = [], ...request } = rest
  const { ceilings, network: reach, mcp = NO_MCP } = deps
  const cwd = resolve(request.cwd)
  const project = findFolder(cwd)
  const known = project.isOk() ? { folder: project.value } : {}
  await using files = deps.openWorkspace({ cwd, ...known })
  const [folder, file] = await Promise.all([
    folderProblems(cwd, deps.dataDir),
    settingsFor(files, requested),
  ])
  const read = folder.length > 0 ? ok(null) : file
  const settings = read.unwrapOr(null)
  const chosen = chooseGoal(withSettings(requested, settings), deps.goals)
  const rules = withRules(requested, settings, within)
  const goal = chosen.map(withRegistries).unwrapOr(undefined)
  const network = withoutPresets(request.network ?? 'none', goal?.registries ?? [])
  const isolation = folder.length > 0 ? null : await deps.isolate(cwd, { atLeast, network, atMost })
  const level = atLeast !== null && isolation?.isOk() ? isolation.value.level : reach.level
  const refused = networkProblem(request.network, goal, { ...reach, level })
  const servers = planServers(mcp_servers, { ...mcp, network: reach })
  const limits = withCeilings(request, ceilings)
  const problems = [
    ...(read.isErr() ? [{ field: 'goal', message: read.error }] : []),
    ...(chosen.isErr() && read.isOk() ? chosen.error : []),
    ...folder,
    ...(await modelProblems({ ...request, ...limits }, deps.models)),
    ...ceilingProblems(request, ceilings),
    ...(isolation?.isErr() ? [isolation.error] : []),
    ...(folder.length === 0 && project.isErr()
      ? [{ field: 'cwd', message: `${messageOf(project.error)}.` }]
      : []),
    ...(refused === null ? [] : [{ field: 'network', message: refused }]),
    ...(servers.isErr() ? servers.error : []),
    ...(rules.isErr() ? [{ field: 'approvals', message: rules.error }] : []),
    ...toolProblems(request, deps.tools),
  ]
  if (
    chosen.isErr() ||
    problems.length > 0 ||
    !isolation?.isOk() ||
    servers.isErr() ||
    project.isErr()
  ) {
    return err(problems)
  }
  const prepared = prepareGoal(chosen.value, () => noCheckCommand(cwd, settings))
  if (prepared.isErr()) return err(prepared.error)
  const approved = rules.unwrapOr(undefined)
  const config: RunConfig = {
    ...{ ...request, ...limits, cwd, ...prepared.value },
    ...present({ approvals: approved }),
    ...(request.network === undefined ? {} : { network }),
    ...(servers.value.length === 0 ? {} : { mcp_servers: servers.value }),
  }
  const secrets = secretProblems(config)
  if (secrets.length > 0) return err(secrets)
  const { approvals: serverApprovals = [], systemPrompt } = deps
  const hasTool = (name: string): boolean =>
    deps.tools.includes(name) && !config.tools?.exclude.includes(name)
  const prompt = systemPrompt(config, isolation.value, hasTool(ASKS_FOR_HOSTS))
  const warnings = [await misfit(config, deps.goals, files)].filter((text) => text !== null)
  const planned = { config, systemPrompt: prompt, isolation: isolation.value, warnings }
  return ok({ ...planned, project: project.value, serverApprovals, defaultEffort: DEFAULT_EFFORT })
}

/** An agent that does not think makes more mistakes than it saves time. */
const DEFAULT_EFFORT: Effort = 'medium'

/** What a goal needs of the network, with all its parts. */
const withRegistries = ({ goal, parts }: ChosenGoal) => ({
  name: goal.name,
  registries: [...new Set(parts.flatMap((part) => part.goal.registries ?? []))],
})

const findFolder = fromThrowable(folderAt)

const NO_MCP = { configuration: NO_SERVERS, own: 'none' } as const

/** A run works from its masked first record, so it must not need a secret in it. The messages quote the masked form. */
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
    ...(['shell_goal', 'goal_options', 'all_of'] as const)
      .filter((field) => masked[field] !== config[field])
      .map((field) => problem(FIELDS[field], WHAT[field], JSON.stringify(masked[field]))),
    ...(masked.approvals === config.approvals
      ? []
      : [problem('approvals', 'A rule', JSON.stringify(masked.approvals))]),
  ]
}

const FIELDS = { shell_goal: 'goal', goal_options: 'goal_options', all_of: 'all_of' } as const
const WHAT = {
  shell_goal: 'The check, of the request or of .retrai.yml,',
  goal_options: 'One of goal_options',
  all_of: 'A goal of all_of',
} as const

function toolProblems(
  { tools: { exclude } = { exclude: [] } }: Pick<RunConfig, 'tools'>,
  names: readonly string[],
): Problem[] {
  const unknown = exclude.filter((name) => !names.includes(name))
  if (unknown.length === 0) return []
  const message = `There is no tool ${unknown.join(', ')} to leave out. The tools are: ${names.join(', ')}. Those of MCP servers are chosen in mcp_servers.`
  return [{ field: 'tools.exclude', message }]
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
