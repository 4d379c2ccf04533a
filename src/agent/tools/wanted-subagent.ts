import * as z from 'zod'
import { MAX_MCP_SERVERS, McpServerName } from '../../domain/mcp-servers.ts'
import { INSTRUCTIONS_GOAL } from '../../domain/subagents.ts'
import { projectPath } from './project-path.ts'

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
  goal: z
    .string()
    .min(1)
    .optional()
    .describe(
      'The goal that is checked, such as pytest. Without it, the sub-agent ends when it says that it is done.',
    ),
  check: z
    .strictObject({
      command: z.string().trim().min(1).max(10_000),
      exit_code: z.int().min(0).max(255).optional().describe('0 if left out'),
    })
    .optional()
    .describe(
      'A command whose exit code decides whether the goal is reached. Without a goal beside it, that is the goal.',
    ),
  mcp_servers: z
    .array(McpServerName)
    .max(MAX_MCP_SERVERS)
    .optional()
    .describe('Your MCP servers that it gets, by their names. Without them, it has none.'),
  folder: projectPath
    .optional()
    .describe('Its project: a folder in your project. Without it: your project.'),
  model: z.string().min(1).optional().describe('Without it: your model.'),
  max_iterations: most.optional(),
  max_tokens: most.optional().describe('At most what is left of yours, like the other limits.'),
  max_cost_usd: z.number().positive().optional(),
  max_seconds: z.number().positive().optional(),
})
export type WantedSubagent = z.infer<typeof WantedSubagent>

/** The commands of goals that have always the same one. */
const COMMANDS: Readonly<Record<string, string>> = {
  pytest: 'pytest',
  pyright: 'pyright',
  'npm-test': 'npm test',
  'bun-test': 'bun test',
  'cargo-test': 'cargo test',
  'go-test': 'go test',
  'make-test': 'make test',
}

/** What starting a sub-agent touches beside its own calls: what its check runs, and its project. */
export function touchesOfSubagent({ goal, check, folder }: WantedSubagent) {
  const ofGoal = goal === undefined || goal === INSTRUCTIONS_GOAL ? [] : [COMMANDS[goal] ?? null]
  return {
    commands: check === undefined ? ofGoal : [check.command],
    startsIn: folder,
    obeysSettings: ofGoal.length > 0,
    trees: folder === undefined ? [] : [folder],
  }
}
