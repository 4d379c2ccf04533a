import type { ChatMessage } from '../domain/conversation.ts'
import { modelInUse, type RunState } from '../domain/state.ts'
import type { ModelRequest, ToolSpec } from './model/model.ts'

/** A request to the model that the run asks now. The settings of a run that are not set are the model's own. */
export function requestOf(
  state: RunState,
  messages: readonly ChatMessage[],
  tools: readonly ToolSpec[],
): ModelRequest {
  const { reasoning_effort = null, max_output_tokens = null } = state.config
  return {
    modelName: modelInUse(state),
    messages,
    tools,
    cacheKey: state.runId,
    ...(reasoning_effort === null ? {} : { effort: reasoning_effort }),
    ...(max_output_tokens === null ? {} : { maxOutputTokens: max_output_tokens }),
  }
}
