import { resolve } from 'node:path'
import { err, fromThrowable, ok, type Result, ResultAsync } from 'neverthrow'
import { folderOfCopy } from '../../carry/copies.ts'
import type { Goal } from '../../checks/goal.ts'
import {
  noCheckCommand,
  readProjectSettings,
  withProtected,
  withRules,
  withSettings,
} from '../../checks/retrai-yml.ts'
import type { ApprovalRules } from '../../domain/approvals/rules.ts'
import type { PlannedRun } from '../../domain/commands.ts'
import type { IsolationPolicy } from '../../domain/isolation.ts'
import { NETWORK_TOOL, withoutPresets } from '../../domain/network.ts'
import { present } from '../../domain/present.ts'
import type {
  Effort,
  GoalRequest,
  ProjectFolder,
  RunConfig,
  RunRequest,
} from '../../domain/run-config.ts'
import { messageOf } from '../../lib/message-of.ts'
import { type McpRules, planServers } from '../../mcp/servers.ts'
import type { Wanted } from '../../runner/command.ts'
import { folderAt } from '../../sandbox/project-folder.ts'
import type { OpenWorkspace } from '../../workspace/workspace.ts'
import { systemPrompt } from './introduction.ts'
import { type ChosenGoal, chooseGoal } from './plan-goal.ts'
import {
  CEILED,
  type Ceilings,
  folderProblems,
  type ModelRules,
  modelProblems,
  type NetworkRules,
  networkProblem,
  type Problem,
  secretProblems,
  tooHigh,
} from './problems.ts'

export type PlanDeps = {
  readonly goals: readonly Goal[]
  readonly models: ModelRules
  readonly ceilings: Ceilings
  /** Rules that hold for every run. */
  readonly approvals?: ApprovalRules
  /** The server's data folder, which no project may contain; null for a server without one. */
  readonly dataDir: string | null
  /** The names of all tools, without those of MCP servers. */
  readonly tools: readonly string[]
  readonly openWorkspace: OpenWorkspace
  /** How commands in a project are isolated. */
  readonly isolate: (project: string, wanted: Wanted) => Promise<Result<IsolationPolicy, Problem>>
  readonly network: NetworkRules
  readonly mcp: Omit<McpRules, 'most'>
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
  { isolation: atLeast = null, within, run_id, ...requested }: RunRequest,
  deps: PlanDeps,
): Promise<Result<PlannedRun, readonly Problem[]>> {
  const { goal: named, check, goal_options, all_of, mcp_servers = [], ...request } = requested
  const asked: GoalRequest = present({ goal: named, check, goal_options, all_of })
  const { ceilings, network: reach, mcp } = deps
  const cwd = resolve(request.cwd)
  const project = findFolder(cwd)
  const there = project.isOk() ? { folder: project.value } : {}
  await using files = deps.openWorkspace({ cwd, ...there })
  const [folder, file] = await Promise.all([
    folderProblems(cwd, deps.dataDir),
    readProjectSettings(files),
  ])
  const read = folder.length > 0 ? ok(null) : file
  const settings = read.unwrapOr(null)
  const chosen = chooseGoal(withSettings(asked, settings), {
    goals: deps.goals,
    noCommand: () => noCheckCommand(cwd, settings),
  })
  const rules = withRules(requested, settings, within)
  const globs = withProtected(requested, settings)
  const goal = chosen.map(withRegistries).unwrapOr(undefined)
  const network = withoutPresets(request.network ?? 'none', goal?.registries ?? [])
  const isolation = folder.length > 0 ? null : await deps.isolate(cwd, { atLeast, network })
  const level = atLeast !== null && isolation?.isOk() ? isolation.value.level : reach.level
  const refused = networkProblem(request.network, goal, { ...reach, level })
  const servers = planServers(mcp_servers, { ...mcp, most: reach.most })
  const { limits, problems: tooHigh } = limitsWithin(request, ceilings)
  const problems = [
    ...(read.isErr() ? [{ field: 'goal', ...read.error }] : []),
    ...(chosen.isErr() && read.isOk() ? chosen.error : []),
    ...folder,
    ...(await modelProblems({ ...request, ...limits }, deps.models)),
    ...tooHigh,
    ...(isolation?.isErr() ? [isolation.error] : []),
    ...(folder.length === 0 && project.isErr()
      ? [{ field: 'cwd', message: `${messageOf(project.error)}.` }]
      : []),
    ...(refused === null ? [] : [{ field: 'network', message: refused }]),
    ...(servers.isErr() ? servers.error : []),
    ...(rules.isErr() ? [{ field: 'approvals', message: rules.error }] : []),
    ...(globs.isErr() ? [{ field: 'protect', message: globs.error }] : []),
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
  const place = placeOf(project.value, run_id, request, deps)
  if (place.isErr()) return err([place.error])
  const config: RunConfig = {
    ...request,
    ...limits,
    cwd: place.value ?? cwd,
    ...chosen.value.config,
    ...present({ approvals: rules.unwrapOr(undefined), protect: globs.unwrapOr(undefined) }),
    ...(request.network === undefined ? {} : { network }),
    ...(servers.value.length === 0 ? {} : { mcp_servers: servers.value }),
  }
  const secrets = secretProblems(config)
  if (secrets.length > 0) return err(secrets)
  const { approvals: server_approvals = [] } = deps
  const isExcluded = config.tools?.exclude.includes(NETWORK_TOOL) === true
  const canAsk = deps.tools.includes(NETWORK_TOOL) && !isExcluded
  const system_prompt = systemPrompt(config, isolation.value, canAsk)
  const planned = { config, system_prompt, isolation: isolation.value, server_approvals }
  const known = place.value === null ? { project: project.value } : { copy_of: project.value }
  return ok({ ...planned, ...known, default_effort: DEFAULT_EFFORT })
}

/** Where the copy will be that the run works in; null if it works in place. */
function placeOf(
  { path }: ProjectFolder,
  runId: string | undefined,
  { workspace }: Pick<RunRequest, 'workspace'>,
  { dataDir }: Pick<PlanDeps, 'dataDir'>,
): Result<string | null, Problem> {
  if (workspace === undefined) return ok(null)
  if (dataDir !== null && runId !== undefined) return ok(folderOfCopy(dataDir, runId, path))
  const message = 'This server has no data folder, so it has no place beside it for a copy.'
  return err({ field: 'workspace', message })
}

/** An agent that does not think makes more mistakes than it saves time. */
const DEFAULT_EFFORT: Effort = 'medium'

/** What a goal needs of the network, with all its parts. */
const withRegistries = ({ goals, config }: ChosenGoal) => ({
  name: config.goal,
  registries: [...new Set(goals.flatMap(({ registries = [] }) => registries))],
})

const findFolder = fromThrowable(folderAt)

function toolProblems(
  { tools: { exclude } = { exclude: [] } }: Pick<RunConfig, 'tools'>,
  names: readonly string[],
): Problem[] {
  const unknown = exclude.filter((name) => !names.includes(name))
  if (unknown.length === 0) return []
  const message = `There is no tool ${unknown.join(', ')} to leave out. The tools are: ${names.join(', ')}. Those of MCP servers are chosen in mcp_servers.`
  return [{ field: 'tools.exclude', message }]
}

/** The limits of a run, each at most that of the server: a request without one gets that. */
function limitsWithin(request: Ceilings, ceilings: Ceilings) {
  const limits = { ...ceilings }
  for (const field of CEILED) limits[field] = request[field] ?? ceilings[field]
  return { limits, problems: tooHigh(limits, ceilings) }
}
