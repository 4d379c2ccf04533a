import * as z from 'zod'
import { Level, LowerLimits } from '../domain/isolation.ts'
import { MAX_MCP_SERVERS, McpRequest } from '../domain/mcp-servers.ts'
import { CallDecision, Decision, Seen as KnownRecord } from '../domain/records.ts'
import { allOf, goalFields } from '../domain/requested-goal.ts'
import { ConfigChanges, RunConfig } from '../domain/run-config.ts'
import { MAX_SEQ } from './fields.ts'

const {
  goal: _,
  shell_goal: __,
  goal_options: ___,
  all_of: ____,
  mcp_servers: _____,
  ...config
} = RunConfig.unwrap().shape

/** The most that a request may ask for: stored runs may have more. */
const MAX_ITERATIONS = 1_000_000
const MAX_TURNS = 10_000
/** Real tasks take 50 to 200 replies of the model in all. */
const DEFAULT_TURNS = 50
const MAX_TOKENS = 1_000_000_000_000
const MAX_COST_USD = 1_000_000_000
const MAX_SECONDS = 3650 * 86_400

/** What a client may choose of a run. */
export const REQUESTED_CONFIG = {
  ...config,
  max_iterations: config.max_iterations.max(MAX_ITERATIONS),
  max_turns_per_iteration: config.max_turns_per_iteration.unwrap().max(MAX_TURNS),
  max_tokens: config.max_tokens.unwrap().max(MAX_TOKENS).nullable(),
  max_cost_usd: config.max_cost_usd.unwrap().max(MAX_COST_USD).nullable(),
  max_seconds: config.max_seconds.unwrap().max(MAX_SECONDS).nullable(),
} as const

/** Servers that a run names or brings. */
export const McpServers = z.array(McpRequest).max(MAX_MCP_SERVERS)

/** The most characters that a person may say to an agent at once. */
const MAX_WORDS = 100_000

const reason = z.string().nullable().default(null).describe('Kept in the log')

/** The body of POST /api/runs. The server has defaults for `cwd`, `model_name` and `max_iterations`. */
export const CreateRun = z
  .strictObject({
    ...goalFields,
    all_of: allOf,
    cwd: REQUESTED_CONFIG.cwd
      .optional()
      .describe("The project's folder. Without it: the one in which the server was started"),
    model_name: REQUESTED_CONFIG.model_name
      .optional()
      .describe('`provider/model`, such as one of GET /api/models'),
    reasoning_effort: REQUESTED_CONFIG.reasoning_effort.describe(
      "How much the model may think. Without it, or null: the model's own default",
    ),
    max_output_tokens: REQUESTED_CONFIG.max_output_tokens.describe(
      'Of one reply, reasoning included. Without it, or null: the most that the model can',
    ),
    fallback_models: REQUESTED_CONFIG.fallback_models.describe(
      'If all attempts with a model have failed, the run continues with the next one of these',
    ),
    max_iterations: REQUESTED_CONFIG.max_iterations.optional(),
    max_turns_per_iteration: REQUESTED_CONFIG.max_turns_per_iteration
      .default(DEFAULT_TURNS)
      .describe(
        'The most replies of the model before the goal is checked. The agent may end the iteration earlier, ' +
          'with a reply without tool calls',
      ),
    hitl_enabled: REQUESTED_CONFIG.hitl_enabled
      .default(false)
      .describe('Wait for a person after every iteration that did not reach the goal'),
    max_cost_usd: REQUESTED_CONFIG.max_cost_usd.default(null).describe('US dollars'),
    max_tokens: REQUESTED_CONFIG.max_tokens.default(null),
    max_seconds: REQUESTED_CONFIG.max_seconds
      .default(null)
      .describe('Working time; waiting for a person does not count'),
    isolation: Level.nullable()
      .default(null)
      .describe(
        'The level of isolation that its commands need, if it is stricter than that of the server. A server ' +
          'that cannot keep it refuses the run, and later its commands. Never less than the level of the server',
      ),
    command_limits: LowerLimits.nullable()
      .default(null)
      .describe('Limits of its commands below those of the server, which GET /api/isolation shows'),
    network: REQUESTED_CONFIG.network.describe(
      'What the commands of the run reach. `none`: nothing. `{"allow": […]}`: these hosts, through a proxy ' +
        'for HTTPS; an entry is a name, such as `pypi.org`, `*.pythonhosted.org` (all names below it) or ' +
        '`example.org:8443` (without a port: 443 and 80), or the package registries of a tool: `preset:npm`, ' +
        '`preset:pypi`, `preset:cargo`, `preset:go`, `preset:maven`, or `preset:goal` for those of the goal. ' +
        '`full`: everything except the machine of the server. Without it: nothing, if commands are isolated. ' +
        'The setting RETRAI_NETWORK says the most that a run may have',
    ),
    mcp_servers: McpServers.default([]).describe(
      'MCP servers whose tools the agent may call: names of GET /api/mcp-servers, or servers of its own with a command or ' +
        'a URL, if RETRAI_MCP_REQUESTS allows that. A program is isolated like the commands of the run. For a server of the ' +
        'configuration, `required`, `on_change` and `tools` may be stricter than there',
    ),
    approvals: REQUESTED_CONFIG.approvals.describe(
      'Rules for the calls of tools, in order: the first that holds says whether the call is allowed, asks a person, ' +
        'or is denied. Without one that holds, it is allowed. Rules of the server (RETRAI_APPROVALS) hold too: ' +
        'the stricter of both decides',
    ),
    instructions: z
      .string()
      .trim()
      .min(1)
      .max(MAX_WORDS)
      .nullable()
      .default(null)
      .describe(
        'What the agent should do in addition to reaching the goal. With instructions, a goal that is reached at the ' +
          'beginning does not end the run',
      ),
    reason: reason.describe('Why somebody starts the run. Kept in the log'),
  })
  .meta({
    id: 'CreateRun',
    examples: [
      {
        goal: 'pytest',
        cwd: '/path/to/project',
        model_name: 'claude-sonnet-4-6',
        max_iterations: 20,
        hitl_enabled: false,
        network: { allow: ['preset:goal'] },
      },
      { all_of: ['pytest', { check: { command: 'make lint' } }], cwd: '/path/to/project' },
    ],
  })
export type CreateRun = z.input<typeof CreateRun>

/** A seq in a body. */
const SeqInBody = z.int().nonnegative().max(MAX_SEQ)

const SEEN_EXAMPLE = {
  seq: 14,
  hash: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
} as const

const Seen = z
  .strictObject({ ...KnownRecord.unwrap().shape, seq: SeqInBody })
  .meta({ id: 'Seen', description: 'A record of a run', examples: [SEEN_EXAMPLE] })

const seen = Seen.nullable()
  .default(null)
  .describe(
    'The last record of the run that the person was shown: its seq and hash. The hash commits to all ' +
      'records before it. If the log has another record there, the request is refused. Kept in the log',
  )

/** The body of POST /api/runs/{run_id}/abort. */
export const AbortRun = z
  .strictObject({ reason, seen })
  .prefault({})
  .meta({
    id: 'AbortRun',
    description: 'Optional',
    examples: [{ reason: 'No longer needed' }, { reason: 'Too expensive', seen: SEEN_EXAMPLE }],
  })
export type AbortRun = z.input<typeof AbortRun>

/** The body of POST /api/runs/{run_id}/messages. */
export const SendMessage = z
  .strictObject({
    text: z
      .string()
      .trim()
      .min(1)
      .max(MAX_WORDS)
      .describe('Kept in the log, and sent to the model'),
    seen,
  })
  .meta({ id: 'SendMessage', examples: [{ text: 'Leave the public API as it is.' }] })
export type SendMessage = z.input<typeof SendMessage>

/** The body of POST /api/runs/{run_id}/resume. */
export const ResumeRun = z
  .strictObject({
    decision: Decision,
    reason: reason.describe('Kept in the log beside the decision'),
    seq: SeqInBody.nullable()
      .default(null)
      .describe(
        'seq of the human_check_required that this answers: if another check is open by then, the ' +
          'decision is refused. Without it, the decision answers the check that is open',
      ),
    seen,
  })
  .meta({
    id: 'ResumeRun',
    examples: [
      { decision: 'approve' },
      { decision: 'abort', reason: 'Too expensive', seq: 14 },
      { decision: 'approve', seq: 14, seen: SEEN_EXAMPLE },
    ],
  })
export type ResumeRun = z.input<typeof ResumeRun>

/** The body of POST /api/runs/{run_id}/approvals/{seq}. */
export const AnswerApproval = z
  .strictObject({
    decision: CallDecision,
    call_sha256: KnownRecord.unwrap().shape.hash.describe(
      'Of the call that the person was shown: if another one waits, the answer is refused',
    ),
    reason: reason.describe('Kept in the log. If the call is denied, the model reads it'),
    lifts_rule: z
      .boolean()
      .default(false)
      .describe('With `allow`: the rule no longer asks in this run. Only for rules of the run'),
    seen,
  })
  .meta({
    id: 'AnswerApproval',
    examples: [
      { decision: 'allow', call_sha256: SEEN_EXAMPLE.hash },
      { decision: 'deny', call_sha256: SEEN_EXAMPLE.hash, reason: 'Not on this branch' },
    ],
  })
export type AnswerApproval = z.input<typeof AnswerApproval>

const changes = ConfigChanges.unwrap().shape

/** The body of PATCH /api/runs/{run_id}/config. */
export const ConfigureRun = z
  .strictObject({
    ...changes,
    max_iterations: changes.max_iterations.unwrap().max(MAX_ITERATIONS).exactOptional(),
    reason,
    seen,
  })
  .refine(
    ({ reason: _, seen: __, ...changes }) => Object.keys(changes).length > 0,
    `must name at least one of ${Object.keys(changes).join(', ')}`,
  )
  .meta({
    id: 'ConfigureRun',
    minProperties: 1,
    examples: [
      { max_iterations: 30 },
      { reasoning_effort: 'high', fallback_models: ['openai/gpt-5.2'] },
      { model_name: 'gpt-5-mini', hitl_enabled: true, reason: 'The first one is too slow' },
    ],
  })
export type ConfigureRun = z.input<typeof ConfigureRun>

/** The body of POST /api/runs/{run_id}/redact. */
export const RedactRun = z
  .strictObject({
    seq: SeqInBody.describe('The record'),
    pointer: z
      .string()
      .regex(/^(\/|$)/, 'must be a JSON pointer, such as /output')
      .describe(
        'RFC 6901, from the payload of the record (or from its frame: /payload/…). It names a text, or ' +
          'an object or array: then all texts in it are redacted',
      ),
    reason: z
      .string()
      .trim()
      .min(1)
      .max(2000)
      .describe('Kept in the log for ever. It must not hold the text itself'),
    secret: z
      .string()
      .min(4)
      .nullable()
      .default(null)
      .describe(
        'The secret, if it is only a part of the text: the server looks for it elsewhere in the run. Not kept',
      ),
  })
  .meta({
    id: 'RedactRun',
    examples: [{ seq: 7, pointer: '/args/command', reason: 'A password of a person' }],
  })
export type RedactRun = z.input<typeof RedactRun>
