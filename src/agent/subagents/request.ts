import { relative } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { budgetLeft, shareOf } from '../../domain/budget.ts'
import { NulFree, optional } from '../../domain/fields.ts'
import { MAX_MCP_SERVERS, type McpRequest, McpServerName } from '../../domain/mcp-servers.ts'
import { present } from '../../domain/present.ts'
import { INSTRUCTIONS_GOAL } from '../../domain/related-runs.ts'
import { requestAgain, requestedServer } from '../../domain/request-again.ts'
import type { RunConfig, RunRequest } from '../../domain/run-config.ts'
import { type RunState, startedBy } from '../../domain/state.ts'
import { subagentCalls } from '../../domain/subagent-state.ts'
import { realPathOf } from '../../lib/paths.ts'

const most = z.int().positive()

/** What an agent asks of a sub-agent. */
export const WantedSubagent = z.strictObject({
  instructions: z
    .string()
    .trim()
    .min(1)
    .max(100_000)
    .describe(
      'What the sub-agent shall do, and what its last reply shall tell you. It knows nothing of your conversation.',
    ),
  goal: optional(
    z.string().min(1),
    'The goal that is checked, such as pytest. Without it, the sub-agent ends when it says that it is done.',
  ),
  check: optional(
    z.strictObject({
      command: z.string().trim().min(1).max(10_000),
      exit_code: optional(z.int().min(0).max(255), '0 if left out'),
    }),
    'A command whose exit code decides whether the goal is reached. Without a goal beside it, that is the goal.',
  ),
  mcp_servers: optional(
    z.array(McpServerName).max(MAX_MCP_SERVERS),
    'Your MCP servers that it gets, by their names. Without them, it has none.',
  ),
  folder: optional(
    NulFree.min(1),
    'Its project: a folder in your project. Without it: your project.',
  ),
  model: optional(z.string().min(1), 'Without it: your model.'),
  max_iterations: most.optional(),
  max_tokens: optional(most, 'At most what is left of yours, like the other limits.'),
  max_cost_usd: z.number().positive().optional(),
  max_seconds: z.number().positive().optional(),
})
export type WantedSubagent = z.infer<typeof WantedSubagent>

type Limits = { readonly maxDepth: number; readonly maxPerRun: number }

/** 0 for a run that a person started. */
export const depthOf = ({ parent }: RunState): number => parent?.depth ?? 0

/** Why a run may start no other one; null if it may. For the model. */
export function refusal(state: RunState, { maxDepth, maxPerRun }: Limits): string | null {
  const started = state.subagents?.length ?? 0
  if (depthOf(state) < maxDepth && started < maxPerRun) return null
  return `You can start no sub-agents on this server (${started} so far). Do the work yourself.`
}

/** The settings of the parent that hold for its sub-agents too. */
const inherited = ({ config, isolation }: RunState) => ({
  hitl_enabled: config.hitl_enabled,
  ...present({ network: config.network, approvals: config.approvals, tools: config.tools }),
  isolation: isolation?.at_least ?? null,
})

/** The most replies of one iteration in runs of versions without that setting. */
const DEFAULT_TURNS = 50

/**
 * The run that an agent asks for, within what is left of the budget of its own.
 * @param place where its folder is, and the project of the run that a person started
 */
export function requestOf(
  state: RunState,
  { folder, goal, check, model, mcp_servers = [], ...wanted }: WantedSubagent,
  { real, root }: { readonly real: string; readonly root: string },
  now: number,
): Result<RunRequest, string> {
  const { config } = state
  const servers = serversOf(state, mcp_servers)
  if (servers.isErr()) return err(servers.error)
  const left = budgetLeft(state, now)
  const share = shareOf(left, toStart(state))
  /** What the agent asks for, if that much is left; otherwise its share, so that the other sub-agents get theirs. */
  const least = (limit: keyof typeof left): number | null => {
    const { [limit]: asked } = wanted
    return asked === undefined ? share[limit] : Math.min(asked, left[limit] ?? asked)
  }
  const { reasoning_effort, max_output_tokens, fallback_models } = config
  const isSame = model === undefined || model === config.model_name
  return ok({
    ...present({ goal: goal ?? (check === undefined ? INSTRUCTIONS_GOAL : null) }),
    ...(check && {
      check: { command: check.command, conditions: { exit_code: check.exit_code ?? 0 } },
    }),
    ...(servers.value.length === 0 ? {} : { mcp_servers: servers.value }),
    cwd: folder === undefined ? config.cwd : real,
    model_name: model ?? config.model_name,
    max_iterations: wanted.max_iterations ?? config.max_iterations,
    max_turns_per_iteration: config.max_turns_per_iteration ?? DEFAULT_TURNS,
    max_cost_usd: least('max_cost_usd'),
    max_tokens: least('max_tokens'),
    max_seconds: least('max_seconds'),
    ...(isSame ? present({ reasoning_effort, max_output_tokens, fallback_models }) : {}),
    within: relative(realPathOf(root), real),
    ...inherited(state),
  })
}

/** The request for a run that was recorded and not created. */
export const again = (config: RunConfig, state: RunState): RunRequest => ({
  ...requestAgain(config),
  ...inherited(state),
})

/** How many sub-agents of the reply are still to be started: they share what is left. */
export function toStart(state: RunState): number {
  const calls = subagentCalls(state).filter(({ call_id }) => startedBy(state, call_id) === null)
  return Math.max(1, calls.length)
}

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
