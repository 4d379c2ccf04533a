import { relative } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import { budgetLeft, shareOf } from '../domain/budget.ts'
import type { McpRequest, McpServer } from '../domain/mcp-servers.ts'
import { present } from '../domain/present.ts'
import type { RunRequest } from '../domain/requested-goal.ts'
import type { RunConfig } from '../domain/run-config.ts'
import { type RunState, startedBy } from '../domain/state.ts'
import { subagentCalls } from '../domain/subagent-state.ts'
import { INSTRUCTIONS_GOAL } from '../domain/subagents.ts'
import { realPathOf } from '../runner/isolation/sandbox.ts'
import { placeOf } from './tools/path-problem.ts'
import type { ToolContext } from './tools/tool.ts'
import type { WantedSubagent } from './tools/wanted-subagent.ts'

type Limits = { readonly maxDepth: number; readonly maxPerRun: number }

/** 0 for a run that a person started. */
export const depthOf = ({ parent }: RunState): number => parent?.depth ?? 0

/** Why a run may start no other one; null if it may. For the model. */
export function refusal(state: RunState, { maxDepth, maxPerRun }: Limits): string | null {
  const depth = depthOf(state)
  if (depth >= maxDepth) {
    const who = depth === 0 ? 'Agents' : `Sub-agents at depth ${depth}`
    return `${who} start no sub-agents on this server. Do the work yourself.`
  }
  const started = state.subagents?.length ?? 0
  if (started < maxPerRun) return null
  return `This run has started ${started} sub-agents, the most on this server. Do the rest yourself.`
}

/** The settings of the parent that hold for its sub-agents too. */
const inherited = ({ config, isolation }: RunState) => ({
  hitl_enabled: config.hitl_enabled,
  ...present({ network: config.network, approvals: config.approvals, tools: config.tools }),
  isolation: isolation?.at_least ?? null,
  command_limits: isolation?.at_most ?? null,
})

/** The most replies of one iteration in runs of versions without that setting. */
const DEFAULT_TURNS = 50

/** The run that an agent asks for, within what is left of the budget of its own. */
export async function requestOf(
  state: RunState,
  { folder, goal, check, model, mcp_servers = [], ...wanted }: WantedSubagent,
  { workspace, root }: Pick<ToolContext, 'workspace'> & { readonly root: string },
  now: number,
): Promise<Result<RunRequest, string>> {
  const { config } = state
  const found = await placeOf(workspace, folder ?? '.')
  if (found.isErr()) return err(found.error)
  const servers = serversOf(state, mcp_servers)
  if (servers.isErr()) return err(servers.error)
  const left = budgetLeft(state, now)
  const share = shareOf(left, toStart(state))
  const { reasoning_effort, max_output_tokens, fallback_models } = config
  const isSame = model === undefined || model === config.model_name
  return ok({
    ...(check === undefined
      ? { goal: goal ?? INSTRUCTIONS_GOAL }
      : { ...present({ goal }), check: checkOf(check) }),
    ...(servers.value.length === 0 ? {} : { mcp_servers: servers.value }),
    cwd: folder === undefined ? config.cwd : found.value.real,
    model_name: model ?? config.model_name,
    max_iterations: wanted.max_iterations ?? config.max_iterations,
    max_turns_per_iteration: config.max_turns_per_iteration ?? DEFAULT_TURNS,
    max_cost_usd: least(wanted.max_cost_usd, left.max_cost_usd, share.max_cost_usd),
    max_tokens: least(wanted.max_tokens, left.max_tokens, share.max_tokens),
    max_seconds: least(wanted.max_seconds, left.max_seconds, share.max_seconds),
    ...(isSame && reasoning_effort !== undefined ? { reasoning_effort } : {}),
    ...(isSame && max_output_tokens !== undefined ? { max_output_tokens } : {}),
    ...(isSame && fallback_models !== undefined ? { fallback_models } : {}),
    within: relative(realPathOf(root), found.value.real),
    ...inherited(state),
  })
}

/** The request for a run that was recorded and not created. */
export function again(
  { shell_goal, mcp_servers = [], all_of: _, goal_options: __, ...config }: RunConfig,
  state: RunState,
): RunRequest {
  return {
    ...config,
    ...inherited(state),
    ...(shell_goal === null
      ? {}
      : { check: { command: shell_goal.check_command, conditions: shell_goal.success_condition } }),
    ...(mcp_servers.length === 0 ? {} : { mcp_servers: mcp_servers.map(requestedServer) }),
  }
}

/** How many sub-agents of the reply are still to be started: they share what is left. */
export function toStart(state: RunState): number {
  const calls = subagentCalls(state).filter(({ call_id }) => startedBy(state, call_id) === null)
  return Math.max(1, calls.length)
}

/** What the agent asks for, if that much is left; otherwise its share, so that the other sub-agents get theirs. */
function least(
  wanted: number | undefined,
  left: number | null,
  share: number | null,
): number | null {
  if (wanted === undefined) return share
  return left === null ? wanted : Math.min(wanted, left)
}

const checkOf = ({ command, exit_code = 0 }: NonNullable<WantedSubagent['check']>) => ({
  command,
  conditions: { exit_code },
})

/** The servers of the parent that a sub-agent gets, each started for it alone. */
function serversOf(
  { config: { mcp_servers = [] } }: RunState,
  names: readonly string[],
): Result<readonly McpRequest[], string> {
  const unknown = names.filter((name) => !mcp_servers.some((server) => server.name === name))
  if (unknown.length > 0) {
    const own = mcp_servers.map(({ name }) => name).join(', ') || 'none'
    return err(`You have no MCP server ${unknown.join(', ')} to give. Yours: ${own}.`)
  }
  return ok(mcp_servers.filter(({ name }) => names.includes(name)).map(requestedServer))
}

/** A recorded server in the form of a request, as strict as it was recorded. */
function requestedServer({
  source,
  network: _,
  private_address: __,
  trust_hints: ___,
  ...server
}: McpServer): McpRequest {
  if (source === 'request') return server
  const { name, required, on_change, tools } = server
  return { name, required, on_change, ...present({ tools }) }
}
