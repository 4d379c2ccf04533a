import * as z from 'zod'
import { ApprovalRules } from './approvals/rules.ts'
import { MAX_MCP_SERVERS, McpServer } from './mcp-servers.ts'
import { Network } from './network.ts'

/** The conditions of a check. All that are set must hold. */
export const SuccessCondition = z.strictObject({
  exit_code: z.int().optional(),
  /** In its standard output. */
  output_contains: z.string().min(1).optional(),
  max_seconds: z.number().positive().optional(),
})

/** A command that checks a goal: from the request of the run, or from `.retrai.yml`. At least one condition is set. */
export const ShellGoal = z
  .strictObject({
    check_command: z.string().min(1),
    success_condition: SuccessCondition.refine(
      (condition) => Object.keys(condition).length > 0,
      'name at least one condition',
    ),
  })
  .readonly()
export type ShellGoal = z.infer<typeof ShellGoal>

/** One HTTP request of an `api-test`, and the answer that is expected. */
export const ApiRequest = z
  .strictObject({
    /** Left out: GET. */
    method: z.string().exactOptional(),
    path: z.string(),
    headers: z.record(z.string(), z.string()).exactOptional(),
    body: z.string().exactOptional(),
    /** Left out: 200. */
    status: z.int().exactOptional(),
    body_contains: z.string().exactOptional(),
  })
  .readonly()
export type ApiRequest = z.infer<typeof ApiRequest>

/** Settings of goals that need more than a name. Each goal takes some of them. Texts may be redacted, so any is valid. */
export const GoalOptions = z
  .strictObject({
    max_ms: z.number().positive().exactOptional(),
    runs: z.int().positive().exactOptional(),
    min_percent: z.number().nonnegative().exactOptional(),
    report: z.string().exactOptional(),
    requests: z.array(ApiRequest).readonly().exactOptional(),
    url: z.string().exactOptional(),
    start: z.string().exactOptional(),
    ready_within_seconds: z.number().positive().exactOptional(),
  })
  .readonly()
export type GoalOptions = z.infer<typeof GoalOptions>
export type GoalOption = keyof GoalOptions

/** A goal with its settings. */
const goalParts = {
  goal: z.string().min(1),
  /** The command of the goal and its conditions; null for those that know their command. */
  shell_goal: ShellGoal.nullable(),
  goal_options: GoalOptions.exactOptional(),
}

/** One of several goals of a run. */
export const GoalPart = z.strictObject(goalParts).readonly()
export type GoalPart = z.infer<typeof GoalPart>

/** Several goals, which must hold at the same time. */
const AllOf = z.array(GoalPart).readonly()

const positiveInt = z.int().positive()

/** How much a model may think before it replies. Not every model has every effort. */
export const EFFORTS = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'] as const
export const Effort = z.enum(EFFORTS)
export type Effort = z.infer<typeof Effort>

const MAX_FALLBACKS = 8
const MAX_TOOLS = 100

/** How the model of a run is asked. Each is optional, because earlier versions did not have them. */
const modelSettings = {
  /** Null or left out: the model's own default, or that of the run if the model would not think without one. */
  reasoning_effort: Effort.nullable().exactOptional(),
  /** The most tokens of one reply, reasoning included. Null or left out: the most that the model can. */
  max_output_tokens: positiveInt.nullable().exactOptional(),
  /** If all attempts with a model have failed, the run continues with the next one. */
  fallback_models: z.array(z.string().min(1)).max(MAX_FALLBACKS).readonly().exactOptional(),
}

/**
 * The task of a run. `run_created` fixes it, so the agent cannot change the meaning of its goal while it works. Only
 * `run_config_changed` changes a part of it.
 */
export const RunConfig = z
  .strictObject({
    goal: goalParts.goal,
    /** Absolute path of the project. */
    cwd: z.string().min(1),
    model_name: z.string().min(1),
    max_iterations: positiveInt,
    /**
     * The most replies of the model in one iteration. A run of an earlier version has no such number: each of its
     * iterations is one reply, and its goal is not checked before the first.
     */
    max_turns_per_iteration: positiveInt.exactOptional(),
    hitl_enabled: z.boolean(),
    /** Limits on the whole run; null means no limit. Seconds count work, not waiting for a person. */
    max_cost_usd: z.number().nonnegative().nullable(),
    max_tokens: positiveInt.nullable(),
    max_seconds: z.number().positive().nullable(),
    shell_goal: goalParts.shell_goal,
    ...modelSettings,
    /** What its commands reach, if the run asked for it. Left out: nothing, if commands are isolated. */
    network: Network.exactOptional(),
    goal_options: goalParts.goal_options,
    /** The goals of a run whose goal is `all-of`. */
    all_of: AllOf.exactOptional(),
    /** Servers whose tools the model may call, too. */
    mcp_servers: z.array(McpServer).max(MAX_MCP_SERVERS).readonly().exactOptional(),
    /** Tools that the model is not offered. */
    tools: z
      .strictObject({ exclude: z.array(z.string()).max(MAX_TOOLS).readonly() })
      .readonly()
      .exactOptional(),
    /** Which calls begin only when a person allows them, and which never. */
    approvals: ApprovalRules.exactOptional(),
  })
  .readonly()
export type RunConfig = z.infer<typeof RunConfig>

/** The parts of a run's configuration that a person may change while it runs. */
export const ConfigChanges = z
  .strictObject({
    max_iterations: positiveInt.exactOptional(),
    model_name: z.string().min(1).exactOptional(),
    hitl_enabled: z.boolean().exactOptional(),
    ...modelSettings,
  })
  .readonly()
export type ConfigChanges = z.infer<typeof ConfigChanges>
