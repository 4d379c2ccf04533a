import { SUBAGENT_TOOL, SUBAGENTS_AT_ONCE } from '../../domain/subagents.ts'
import { defineTool } from './tool.ts'
import { WantedSubagent } from './wanted-subagent.ts'

export const subagentTool = defineTool({
  name: SUBAGENT_TOOL,
  description:
    'Let a sub-agent work on a task in this project, and wait for it. It has your tools (of MCP servers, those that you name), a conversation of its own, and ' +
    'a budget out of yours; you get its last reply, the files that it changed and what it used. Use it for work that you ' +
    'can describe completely and of which you need only the result, such as a search through many files. It works in the ' +
    `same files as you. Up to ${SUBAGENTS_AT_ONCE} that you ask for in one reply, in sequence, work side by side and share your budget: give them ` +
    'different files.',
  readOnly: false,
  args: WantedSubagent,
  // The calls of the sub-agent are reviewed by the same rules.
  touches: () => ({}),
  run: (wanted, { startSubagent }) => startSubagent(wanted),
})
