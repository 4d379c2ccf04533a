import * as z from 'zod'
import { ApprovalRules } from './approvals/rules.ts'
import { Sha256 } from './fields.ts'
import type { RecordedLevel } from './isolation.ts'
import { MAX_MCP_SERVERS, type McpRequest, McpServer } from './mcp-servers.ts'
import { Network } from './network.ts'
import { OnLimit } from './pause.ts'
import { OnTampering } from './verdict.ts'

/** Which folder the project of a run is. If a person named it through links, these were followed once. */
export const ProjectFolder = z
  .strictObject({
    /** Where it is, through no link. */
    path: z.string(),
    /** In decimal digits. A device may get another number when a machine restarts, and on another server of a shared disk. */
    device: z.string(),
    inode: z.string(),
  })
  .readonly()
export type ProjectFolder = z.infer<typeof ProjectFolder>

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

/** Settings of goals of earlier versions; no goal takes any now. */
export const GoalOptions = z.record(z.string(), z.unknown()).readonly()
export type GoalOptions = z.infer<typeof GoalOptions>

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

const MAX_TAGS = 20
/** Words by which people find a run, each once. */
export const Tags = z
  .array(
    z
      .string()
      .trim()
      .min(1)
      .max(64)
      .refine((tag) => !/\p{Cc}/u.test(tag), 'must not have control characters'),
  )
  .max(MAX_TAGS)
  .overwrite((tags) => [...new Set(tags)])
  .readonly()

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

/** A check that the agent of a run does not see. An artifact holds it with a salt, so its hash shows nothing of it. */
export const Accept = z
  .strictObject({
    sha256: Sha256,
    files: z.int().nonnegative(),
    /** Whether the agent learns why it failed. */
    feedback: z.literal(true).exactOptional(),
    /** The run begins from one that had it, and had ended: since then, everybody can read it. */
    shown: z.literal(true).exactOptional(),
  })
  .readonly()
export type Accept = z.infer<typeof Accept>

const MAX_PROTECT = 100
const MAX_GLOB = 200

/**
 * A glob of files of a project. Only `*`, `**`, `?`, `[…]` and `{…}` have a meaning. Comparing one with a long name takes a time
 * that grows with each star, and an agent chooses names.
 */
const ProtectGlob = z
  .string()
  .min(1)
  .max(MAX_GLOB)
  .refine((glob) => !/^[/\\~]|^[A-Za-z]:|\0/.test(glob), 'must be relative to the project')
  .refine(
    (glob) => !glob.split(/[/{},]/).includes('..'),
    'must not lead out of the project, with ..',
  )
  .refine(
    (glob) => glob.split('/').every((part) => part === '**' || part.split('*').length <= 4),
    'must have at most three stars between slashes',
  )
  .refine((glob) => glob.split('**').length <= 3, 'must have at most two **')

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
    /** What it does at a limit, or if what it needs is away for long. Left out: it ends. */
    on_limit: OnLimit.exactOptional(),
    /** Set if it works in a copy of the project. */
    workspace: z.literal('copy').exactOptional(),
    /** Paths from the project that are not copied. */
    workspace_skip: z.array(z.string().min(1)).max(MAX_TOOLS).readonly().exactOptional(),
    /** It works in the folder of the project although another run may be at work there. */
    shared: z.literal(true).exactOptional(),
    /** What it does if it would end as achieved with changed protected files. Left out: it reports them. */
    on_tampering: OnTampering.exactOptional(),
    /** A check that its agent does not see. */
    accept: Accept.exactOptional(),
    /** Which calls begin only when a person allows them, and which never. */
    approvals: ApprovalRules.exactOptional(),
    /** What people find it by. Later ones are in the ledger of tags. */
    tags: Tags.exactOptional(),
    /** Globs of files that are protected beside those of its goal. */
    protect: z.array(ProtectGlob).max(MAX_PROTECT).readonly().exactOptional(),
  })
  .readonly()
export type RunConfig = z.infer<typeof RunConfig>

/** The parts of a run's configuration that a person may change while it runs. */
export const ConfigChanges = z
  .strictObject({
    max_iterations: positiveInt.exactOptional(),
    model_name: z.string().min(1).exactOptional(),
    hitl_enabled: z.boolean().exactOptional(),
    max_cost_usd: z.number().nonnegative().nullable().exactOptional(),
    max_tokens: positiveInt.nullable().exactOptional(),
    max_seconds: z.number().positive().nullable().exactOptional(),
    ...modelSettings,
  })
  .readonly()
export type ConfigChanges = z.infer<typeof ConfigChanges>

/** The most characters of a command. */
const MAX_TEXT = 10_000
const MAX_GOALS = 16

export const command = z.string().max(MAX_TEXT).trim().min(1)

const SomeCondition = ShellGoal.unwrap().shape.success_condition

/** A command that checks a goal. */
const Check = z
  .strictObject({
    command: command.describe('Runs with bash in the project'),
    conditions: SomeCondition.default({ exit_code: 0 }).describe(
      `All that are set must hold: ${Object.keys(SuccessCondition.shape).join(', ')}. Without it: exit_code 0`,
    ),
  })
  .meta({ id: 'Check', examples: [{ command: 'make lint' }] })

/** How a request names a goal: alone, or as one of several. */
export const goalFields = {
  goal: z
    .string()
    .min(1)
    .exactOptional()
    .describe(
      'The name of one of GET /api/goals. Without it: `shell-goal` if there is a `check`, `all-of` if there is `all_of`, ' +
        'else the goal of the `.retrai.yml` of the project',
    ),
  check: Check.exactOptional().describe(
    'The command of the goal. For `shell-goal` instead of `.retrai.yml`; for other goals that are a command (GET ' +
      '/api/goals shows which) instead of their own. It is recorded, so the agent cannot change it',
  ),
  goal_options: GoalOptions.exactOptional().describe(
    'The settings of the goal. No goal of this version takes any',
  ),
} as const

/** One of several goals: its name, or an object with its settings. */
const RequestedGoal = z
  .union(
    [z.string().min(1), z.strictObject(goalFields)],
    'must be the name of a goal, or an object with goal, check and goal_options',
  )
  .meta({ id: 'RequestedGoal', examples: ['pytest', { check: { command: 'make lint' } }] })

export const allOf = z
  .array(RequestedGoal)
  .min(1)
  .max(MAX_GOALS)
  .exactOptional()
  .describe('Several goals, which must hold at the same time. The verdict lists each')

/** One goal as a client or a project names it. */
export type RequestedPart = z.output<z.ZodObject<typeof goalFields>>
/** What a client or a project chooses of the goal of a run. */
export type GoalRequest = RequestedPart & {
  readonly all_of?: readonly (string | RequestedPart)[]
}

/** What a client may choose of a run, with the defaults filled in. */
export type RunRequest = Omit<
  RunConfig,
  'shell_goal' | 'mcp_servers' | 'accept' | keyof GoalRequest
> &
  GoalRequest & {
    readonly mcp_servers?: readonly McpRequest[]
    /** The level of isolation that it asks for; null for that of the server. */
    readonly isolation?: RecordedLevel | null
    /** The id of the run. Without one, it cannot work in a copy. */
    readonly run_id?: string
    /** Of a sub-agent: its folder, from the project of the run that a person started. */
    readonly within?: string
  }
