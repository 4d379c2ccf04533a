import type { ChatMessage } from '../domain/conversation.ts'
import { tokensOfTools } from '../domain/mcp-tools.ts'
import { modelInUse } from '../domain/state.ts'
import type { Effects } from './effects.ts'
import type { ModelRequest } from './model/model.ts'
import type { RunSession } from './run-session.ts'

type Session = Pick<RunSession, 'state' | 'conversation'>

/** A request to the model that the run asks now. The settings of a run that are not set are the model's own. */
export function requestOf(
  { state, conversation }: Session,
  messages: readonly ChatMessage[],
  { toolbox }: Pick<Effects, 'toolbox'>,
): ModelRequest {
  const { reasoning_effort = null, max_output_tokens = null } = state.config
  return {
    modelName: modelInUse(state),
    messages,
    tools: [...toolbox.specs, ...conversation.tools],
    cacheKey: state.runId,
    ...(reasoning_effort === null ? {} : { effort: reasoning_effort }),
    ...(max_output_tokens === null ? {} : { maxOutputTokens: max_output_tokens }),
  }
}

/** The most tokens of its conversation that the model in use may get, beside the tools of MCP servers. */
export async function budgetOf(
  { state, conversation }: Session,
  models: Effects['models'],
): Promise<number> {
  const budget = await models.contextBudget(modelInUse(state))
  return Math.max(0, budget - tokensOfTools(conversation.tools))
}
