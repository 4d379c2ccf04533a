import * as z from 'zod'
import type { LowerLimits, RecordedLevel } from './isolation.ts'
import type { McpRequest } from './mcp-servers.ts'
import {
  ApiRequest,
  GoalOptions,
  type RunConfig,
  ShellGoal,
  SuccessCondition,
} from './run-config.ts'

/** The most characters of a command, and of each text of a request. */
const MAX_TEXT = 10_000
const MAX_RUNS = 100
const MAX_REQUESTS = 50
const MAX_READY_SECONDS = 600
const MAX_MS = 86_400_000
const MAX_GOALS = 16

const line = z.string().max(MAX_TEXT)
const command = line.trim().min(1)

const HEADER = /^[\w-]+: [^\r\n]*$/
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const

const Request = z.strictObject({
  ...ApiRequest.unwrap().shape,
  method: z.enum(METHODS).exactOptional().describe('Without it: GET'),
  path: line.regex(/^\/[!-~]*$/, 'must begin with / and have no spaces'),
  headers: z
    .record(z.string(), line)
    .refine(
      (headers) => Object.entries(headers).every(([name, text]) => HEADER.test(`${name}: ${text}`)),
      'must have names of headers, and texts of one line',
    )
    .exactOptional(),
  body: line.exactOptional(),
  status: z.int().min(100).max(599).exactOptional().describe('Of the answer. Without it: 200'),
  body_contains: line.min(1).exactOptional().describe('A text in the body of the answer'),
})

/** What a client may set of the goals that need more than a name. */
export const RequestedOptions = z
  .strictObject({
    ...GoalOptions.unwrap().shape,
    max_ms: z
      .number()
      .positive()
      .max(MAX_MS)
      .exactOptional()
      .describe('perf-check: the most that the median of its runs may take, in milliseconds'),
    runs: z
      .int()
      .min(1)
      .max(MAX_RUNS)
      .exactOptional()
      .describe('perf-check: how often the command runs. Without it: 5'),
    min_percent: z
      .number()
      .min(0)
      .max(100)
      .exactOptional()
      .describe('coverage: the percentage of the code that the tests must run at least'),
    report: line
      .min(1)
      .exactOptional()
      .describe(
        'coverage: the report that the command writes, relative to the project folder. Without it: the first report that the check has written where coverage tools write theirs',
      ),
    requests: z
      .array(Request)
      .min(1)
      .max(MAX_REQUESTS)
      .exactOptional()
      .describe('api-test: what is requested, in this order, and what the answers must be'),
    url: line
      .regex(/^https?:\/\/[^\s/?#@]+$/, 'must be http:// or https:// and a host, without a path')
      .exactOptional()
      .describe('api-test: where the requests go, such as http://127.0.0.1:8000'),
    start: command
      .exactOptional()
      .describe('api-test: the command that starts the server. It is stopped after the requests'),
    ready_within_seconds: z
      .number()
      .positive()
      .max(MAX_READY_SECONDS)
      .exactOptional()
      .describe('api-test: how long the server may take to answer. Without it: 60'),
  })
  .meta({ id: 'GoalOptions' })

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
  goal_options: RequestedOptions.exactOptional().describe(
    'The settings of the goal. GET /api/goals shows which it takes',
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
export type RunRequest = Omit<RunConfig, 'shell_goal' | 'mcp_servers' | keyof GoalRequest> &
  GoalRequest & {
    readonly mcp_servers?: readonly McpRequest[]
    /** The level of isolation that it asks for; null for that of the server. */
    readonly isolation?: RecordedLevel | null
    /** The limits of its commands that it asks for; null for those of the server. */
    readonly command_limits?: LowerLimits | null
    /** Of a sub-agent: its folder, from the project of the run that a person started. */
    readonly within?: string
  }
