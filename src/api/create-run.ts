import * as z from 'zod'
import { Acceptance } from '../domain/acceptance.ts'
import { Level } from '../domain/isolation.ts'
import { MAX_MCP_SERVERS, McpRequest } from '../domain/mcp-servers.ts'
import { present } from '../domain/present.ts'
import type { PayloadOf } from '../domain/records.ts'
import { requestAgain } from '../domain/request-again.ts'
import { allOf, goalFields, RunConfig } from '../domain/run-config.ts'
import { RunId, SeqInBody } from './fields.ts'

const config = RunConfig.unwrap().shape

/** The most that a request may ask for: stored runs may have more. */
export const MAX_ITERATIONS = 1_000_000
const MAX_TURNS = 10_000
/** Real tasks take 50 to 200 replies of the model in all. */
const DEFAULT_TURNS = 50
const MAX_TOKENS = 1_000_000_000_000
const MAX_COST_USD = 1_000_000_000
const MAX_SECONDS = 3650 * 86_400

/** Servers that a run names or brings. */
const McpServers = z.array(McpRequest).max(MAX_MCP_SERVERS)

/** The most characters that a person may say to an agent at once. */
export const MAX_WORDS = 100_000

export const reason = z.string().nullable().default(null).describe('Kept in the log')

export const tags = config.tags.describe(
  'Words by which people find the run, at most 20 of 1 to 64 characters. PATCH …/config changes them at any time',
)

/** Limits that a person sets, and may raise later. */
export const limits = {
  max_cost_usd: config.max_cost_usd
    .unwrap()
    .max(MAX_COST_USD)
    .nullable()
    .describe(
      'US dollars. No request to the model is sent whose highest price would pass it: that of a request of which nothing is cached, with the longest reply',
    ),
  max_tokens: config.max_tokens.unwrap().max(MAX_TOKENS).nullable(),
  max_seconds: config.max_seconds
    .unwrap()
    .max(MAX_SECONDS)
    .nullable()
    .describe('Working time; waiting for a person or for a server does not count'),
}
const GOES_ON =
  'The conversation of the new run begins with that of the other. Everything that the request does not name is as in that run, and its limits count only what it uses itself'

/** The body of POST /api/runs. The server has defaults for `cwd`, `model_name` and `max_iterations`. */
export const CreateRun = z
  .strictObject({
    ...goalFields,
    all_of: allOf,
    cwd: config.cwd
      .optional()
      .describe("The project's folder. Without it: the one in which the server was started"),
    model_name: config.model_name
      .optional()
      .describe('`provider/model`, such as one of GET /api/models'),
    reasoning_effort: config.reasoning_effort.describe(
      "How much the model may think. Without it, or null: the model's own default",
    ),
    max_output_tokens: config.max_output_tokens.describe(
      'Of one reply, reasoning included. Without it, or null: the most that the model can',
    ),
    fallback_models: config.fallback_models.describe(
      'If all attempts with a model have failed, the run continues with the next one of these',
    ),
    max_iterations: config.max_iterations.max(MAX_ITERATIONS).optional().describe('Without it: 20'),
    max_turns_per_iteration: config.max_turns_per_iteration
      .unwrap()
      .max(MAX_TURNS)
      .default(DEFAULT_TURNS)
      .describe(
        'The most replies of the model before the goal is checked. The agent may end the iteration earlier, ' +
          'with a reply without tool calls',
      ),
    hitl_enabled: config.hitl_enabled
      .default(false)
      .describe('Wait for a person after every iteration that did not reach the goal'),
    max_cost_usd: limits.max_cost_usd.default(null),
    max_tokens: limits.max_tokens.default(null),
    max_seconds: limits.max_seconds.default(null),
    on_limit: config.on_limit.describe(
      'What the run does at one of these limits or at that of iterations, or if its provider is away for long: `end` (also ' +
        'without it) ends it, `pause` lets it wait until a person raises the limit or lets it continue',
    ),
    isolation: Level.nullable()
      .default(null)
      .describe(
        'The level of isolation that its commands need, if it is stricter than that of the server. A server ' +
          'that cannot keep it refuses the run, and later its commands. Never less than the level of the server',
      ),
    network: config.network.describe(
      'What the commands of the run reach. `none`: nothing. `{"allow": […]}`: these hosts, through a proxy ' +
        'for HTTPS; an entry is a name, such as `pypi.org`, `*.pythonhosted.org` (all names below it) or ' +
        '`example.org:8443` (without a port: 443), or the package registries of a tool: `preset:npm`, ' +
        '`preset:pypi`, `preset:cargo`, `preset:go`, `preset:maven`, or `preset:goal` for those of the goal. ' +
        '`full`: everything except the machine of the server. Without it: nothing, if commands are isolated. ' +
        'The setting RETRAI_NETWORK says the most that a run may have',
    ),
    mcp_servers: McpServers.default([]).describe(
      'MCP servers whose tools the agent may call: names of GET /api/mcp-servers, or servers of its own with a command or ' +
        'a URL, if RETRAI_MCP_REQUESTS allows that. A program is isolated like the commands of the run. For a server of the ' +
        'configuration, `required`, `on_change` and `tools` may be stricter than there',
    ),
    tools: config.tools.describe(
      'Tools that the model is not offered, such as `{"exclude": ["git_log"]}`: each takes room in a small window. Its ' +
        'sub-agents are not offered them either',
    ),
    protect: config.protect.describe(
      'Globs of files that decide what the check finds, beside those that GET /api/goals shows: a run that changes one, or adds ' +
        'one, is named. From the project, with `*`, `**`, `?`, `[…]` and `{…}`',
    ),
    approvals: config.approvals.describe(
      'Rules for the calls of tools, in order: the first that applies says whether the call is allowed, asks a person, ' +
        'or is denied. If none applies, it is allowed. Rules of the server (RETRAI_APPROVALS) apply too: ' +
        'the stricter of both decides',
    ),
    on_tampering: config.on_tampering.describe(
      'If the run would reach its goal with other protected files than those of its start: `report` (also without it) ends it as ' +
        'achieved, and its verdict says which; `fail` does not, and shows the agent once what to restore; `off` looks at nothing',
    ),
    accept: Acceptance.exactOptional().describe(
      'A check that the agent does not see. It runs when the run would end as achieved, in a copy of the project into which ' +
        'its files are put. Until the run has ended, only admins can read it',
    ),
    accept_feedback: z
      .boolean()
      .default(false)
      .describe(
        'Tell the agent what `accept` printed if it fails. Without it, the agent learns only that it failed',
      ),
    workspace: config.workspace.describe(
      '`copy`: it works in a copy of the project, uncommitted work and ignored files included, until what it did is applied or discarded',
    ),
    workspace_skip: config.workspace_skip.describe(
      'With `workspace`: paths from the project that are not copied, such as `node_modules`',
    ),
    shared: config.shared.describe(
      'Do not wait while another run works in the same folder, in one inside it or around it, and let others not wait for this one',
    ),
    tags,
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
    fork: z
      .strictObject({ run_id: RunId, at: SeqInBody.describe('seq of a record') })
      .exactOptional()
      .describe(
        `Continue from this record of a run, in a copy of its project with the files as they were there. ${GOES_ON}`,
      ),
    continues: z
      .strictObject({ run_id: RunId })
      .exactOptional()
      .describe(`Continue from the end of a run that has ended, in the same folder. ${GOES_ON}`),
  })
  .refine(({ fork, continues }) => fork === undefined || continues === undefined, {
    path: ['continues'],
    message: 'cannot be named beside fork: a run begins from one other run',
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
      {
        continues: { run_id: '550e8400-e29b-41d4-a716-446655440000' },
        instructions: 'Now the same for the other module.',
      },
    ],
  })
export type CreateRun = z.input<typeof CreateRun>

/**
 * The request for the same run again, by its first record.
 * @param kept the artifact of the check that its agent does not see; null if it has none
 */
export function requestOfRun(
  { config, isolation, copy_of: copyOf, instructions }: PayloadOf<'run_created'>,
  kept: string | null,
): CreateRun {
  const accept = kept === null ? null : z.object(Acceptance.shape).parse(JSON.parse(kept))
  const feedback = config.accept?.feedback === true || null
  return {
    ...requestAgain(config, { isolation, copyOf }),
    ...present({ instructions, accept, accept_feedback: feedback }),
  }
}
