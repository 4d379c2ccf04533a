import type {
  ChatCompletionCreateParamsNonStreaming,
  ChatCompletionMessageFunctionToolCall,
  ChatCompletionMessageParam,
  ChatCompletionTool,
} from 'openai/resources/chat/completions'
import type { ChatMessage } from '../../domain/conversation.ts'
import type { ModelRequest, ToolSpec } from './model.ts'
import { distinct } from './reply.ts'
import type { Route } from './routing.ts'

type AssistantMessage = Extract<ChatMessage, { role: 'assistant' }>

/** Some providers refuse a message without text. */
const NOTHING = '(nothing)'

/** The body of a chat completions request. */
export function toRequestBody(
  request: ModelRequest,
  { endpoint, model }: Route,
): ChatCompletionCreateParamsNonStreaming {
  const needsSignature = endpoint.provider === 'google' && !/^gemini-[12]\b/.test(model)
  const messages = toMessages(request.messages, needsSignature ? signFirst : (calls) => calls)
  if (request.tools.length === 0) return { model, messages }
  return { model, messages, tools: request.tools.map(toTool) }
}

type ToolCalls = ChatCompletionMessageFunctionToolCall[]

/**
 * The model of a run may change, so a request can contain calls of another provider. Their ids and names are converted
 * to a form that every provider accepts, each id once per request.
 */
function toMessages(
  messages: readonly ChatMessage[],
  adapt: (calls: ToolCalls) => ToolCalls,
): ChatCompletionMessageParam[] {
  const taken = new Set<string>()
  /** Ids of the latest turn: as recorded → as sent. */
  let sent = new Map<string, string>()
  const toAssistant = ({ content, calls }: AssistantMessage): ChatCompletionMessageParam => {
    sent = new Map(calls.map(({ id }) => [id, distinct(plain(id), taken)]))
    if (calls.length === 0) return { role: 'assistant', content: orNothing(content) }
    const tool_calls = calls.map(({ id, tool, args }) => ({
      id: sent.get(id) ?? id,
      type: 'function' as const,
      function: { name: plain(tool).slice(0, 64), arguments: args },
    }))
    return {
      role: 'assistant',
      content: content?.trim() ? content : null,
      tool_calls: adapt(tool_calls),
    }
  }
  const toMessage = (message: ChatMessage): ChatCompletionMessageParam => {
    switch (message.role) {
      case 'system':
      case 'user':
        return { role: message.role, content: orNothing(message.content) }
      case 'assistant':
        return toAssistant(message)
      case 'tool': {
        const tool_call_id = sent.get(message.callId) ?? message.callId
        return { role: 'tool', tool_call_id, content: orNothing(message.content) }
      }
    }
  }
  return messages.map(toMessage)
}

/**
 * Gemini 3 and later require the signature of the thought that led to a call. The log does not store it. Google
 * documents this value for calls without a signature.
 */
function signFirst([first, ...others]: ToolCalls): ToolCalls {
  if (first === undefined) return []
  const signature = { thought_signature: 'skip_thought_signature_validator' }
  return [Object.assign({}, first, { extra_content: { google: signature } }), ...others]
}

function toTool({ name, description, parameters }: ToolSpec): ChatCompletionTool {
  const { $schema: _, ...schema } = parameters
  return { type: 'function', function: { name, description, parameters: schema } }
}

function plain(name: string): string {
  return name.replaceAll(/[^a-zA-Z0-9_-]/g, '_')
}

function orNothing(content: string | null): string {
  return content?.trim() ? content : NOTHING
}
