import type { ChatMessage } from '../../../domain/conversation.ts'
import type { Json } from '../adapter.ts'
import { ollamaWindow } from '../known-models.ts'
import type { Effort, ModelRequest, ToolSpec } from '../model.ts'
import { parseJson } from '../reply-parts.ts'
import type { Route } from '../routing.ts'
import { inCallOrder, withAllResults, withImagesApart } from './all-results.ts'
import { plainName } from './call-ids.ts'
import { ownItems } from './own-items.ts'

/** How long Ollama keeps the model in memory after a request: commands run between two requests. */
const KEEP_ALIVE = '30m'

/** The body of Ollama's own chat API. Its OpenAI-compatible one has no way to set the context window. */
export function toOllamaBody(request: ModelRequest, route: Route): object {
  const { tools, effort, maxOutputTokens } = request
  return {
    model: route.model,
    stream: true,
    keep_alive: KEEP_ALIVE,
    ...(effort === undefined || !canThink(route) ? {} : { think: thinkOf(effort, route.model) }),
    options: {
      num_ctx: ollamaWindow(route),
      ...(maxOutputTokens === undefined ? {} : { num_predict: maxOutputTokens }),
    },
    ...(tools.length === 0 ? {} : { tools: tools.map(toTool) }),
    messages: toMessages(request.messages, route),
  }
}

/** Ollama refuses the setting for a model that cannot. */
const canThink = ({ served }: Route): boolean => served?.capabilities?.includes('thinking') ?? true

/** Most models know only whether to think. */
function thinkOf(effort: Effort, model: string): boolean | string {
  if (!/gpt-oss/i.test(model)) return effort !== 'none'
  if (effort === 'none' || effort === 'minimal') return 'low'
  return effort === 'xhigh' || effort === 'max' ? 'high' : effort
}

/** Ollama has no ids: results follow their calls in the same order, and name the tool. */
function toMessages(messages: readonly ChatMessage[], route: Route): object[] {
  let names = new Map<string, string>()
  const toMessage = (message: ChatMessage): object => {
    switch (message.role) {
      case 'system':
        return { role: 'system', content: message.content }
      case 'user': {
        const { content, images = [] } = message
        const shown = images.map(({ data = '' }) => data)
        return { role: 'user', content, ...(shown.length === 0 ? {} : { images: shown }) }
      }
      case 'assistant': {
        const { content, calls } = message
        names = new Map(calls.map(({ id, tool }) => [id, plainName(tool)]))
        const tool_calls = calls.map(({ tool, args }) => ({
          function: { name: plainName(tool), arguments: parseJson(args).unwrapOr({}) },
        }))
        return {
          role: 'assistant',
          content: content ?? '',
          ...thinkingOf(ownItems(message, route)),
          ...(calls.length === 0 ? {} : { tool_calls }),
        }
      }
      case 'tool':
        return {
          role: 'tool',
          tool_name: names.get(message.callId) ?? 'unknown',
          content: message.content,
        }
    }
  }
  return withImagesApart(inCallOrder(withAllResults(messages))).map(toMessage)
}

function thinkingOf(items: readonly Json[] | null): object {
  const [item] = items ?? []
  if (typeof item !== 'object' || item === null || Array.isArray(item)) return {}
  return typeof item.thinking === 'string' ? { thinking: item.thinking } : {}
}

const toTool = ({ name, description, parameters }: ToolSpec) => {
  const { $schema: _, ...schema } = parameters
  return { type: 'function', function: { name, description, parameters: schema } }
}
