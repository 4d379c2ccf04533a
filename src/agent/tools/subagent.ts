import * as z from 'zod'
import { SUBAGENT_TOOL } from '../../domain/subagents.ts'
import { projectPath } from './confine.ts'
import { defineTool } from './tool.ts'

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

export const subagentTool = defineTool({
  name: SUBAGENT_TOOL,
  description:
    'Let a sub-agent work on a task in this project, and wait for it. It has your tools (without those of MCP servers), a conversation of its own, and ' +
    'a budget out of yours; you get its last reply, the files that it changed and what it used. Use it for work that you ' +
    'can describe completely and of which you need only the result, such as a search through many files. It works in the ' +
    'same files as you.',
  readOnly: false,
  args: WantedSubagent,
  run: (wanted, { startSubagent }) => startSubagent(wanted),
})
