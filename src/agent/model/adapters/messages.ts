import Anthropic from '@anthropic-ai/sdk'
import type {
  ContentBlockParam,
  MessageCreateParamsStreaming,
  MessageParam,
  Tool,
} from '@anthropic-ai/sdk/resources/messages'
import type { AssistantMessage, ChatMessage } from '../../../domain/conversation.ts'
import { type Adapter, type Json, schemaOf } from '../adapter.ts'
import type { ModelRequest, ToolSpec } from '../model.ts'
import { orNothing, parseJson, textOf } from '../reply-parts.ts'
import type { Endpoint, Route } from '../routing.ts'
import { withAllResults } from './all-results.ts'
import { CallIds, foreignId, idsIn, ownItems, plainName } from './call-ids.ts'
import { outputLimit, thinkingOf } from './claude-models.ts'
import { clients, headersOf, SDK_OPTIONS, throwStatus } from './clients.ts'
import { MessagesReader } from './messages-reader.ts'
import { type OptionalParam, withOptional } from './optional-params.ts'
import { closedSchema, optionalCount } from './strict-schema.ts'

class EndpointClient extends Anthropic {
  protected override makeStatusError(...given: Parameters<typeof throwStatus>): never {
    throwStatus(...given)
  }
}

function createClient(endpoint: Endpoint): Anthropic {
  const { baseUrl, apiKey } = endpoint
  const key = apiKey ?? 'none'
  const isAnthropic = URL.parse(baseUrl)?.hostname.endsWith('anthropic.com') === true
  return new EndpointClient({
    ...SDK_OPTIONS,
    // The SDK adds the version itself.
    baseURL: baseUrl.replace(/\/v1\/?$/, ''),
    apiKey: key,
    webhookKey: null,
    // Other vendors that speak this API know only the header and the version of its first years.
    defaultHeaders: {
      ...(isAnthropic ? {} : { 'anthropic-version': '2023-06-01' }),
      ...(isAnthropic || apiKey === null ? {} : { 'x-api-key': apiKey }),
      ...headersOf(endpoint),
    },
  })
}

/** Older models know no strict tools, and some schemas are too complex to be enforced. */
const STRICT: OptionalParam = {
  name: 'strict',
  refusal: /tools\.\d+\.(custom\.)?strict|strict tools?|too complex for compilation/i,
  without: ({ tools = [], ...body }: { tools?: readonly Tool[] }) => ({
    ...body,
    ...(tools.length === 0 ? {} : { tools: tools.map(({ strict: _, ...tool }) => tool) }),
  }),
}

/** Anthropic's Messages API. */
export function messagesAdapter(): Adapter {
  const clientOf = clients(createClient)
  return {
    framing: 'events',
    body: toMessagesBody,
    send: withOptional([STRICT], (body, { endpoint }, signal) =>
      clientOf(endpoint)
        .messages.create(body as MessageCreateParamsStreaming, { signal })
        .asResponse(),
    ),
    reader: () => new MessagesReader(),
  }
}

type Turn = { readonly role: 'user' | 'assistant'; readonly content: ContentBlockParam[] }

/** The body of a Messages request. */
export function toMessagesBody(request: ModelRequest, route: Route): MessageCreateParamsStreaming {
  const [first, ...others] = request.messages
  const system = first?.role === 'system' ? first.content : null
  const maxTokens = outputLimit(route.model, request.maxOutputTokens)
  const turns = toTurns(system === null ? request.messages : others, route)
  const thinking = thinkingOf(route.model, request.effort, maxTokens)
  const isUsable = thinking.thinking?.type !== 'enabled' || beginsWithThinking(turns)
  return {
    model: route.model,
    max_tokens: maxTokens,
    stream: true,
    ...(isUsable ? thinking : {}),
    ...(request.tools.length === 0 ? {} : { tools: toTools(request.tools) }),
    ...(system === null
      ? {}
      : { system: [{ type: 'text', text: orNothing(system), cache_control: MARK }] }),
    messages: withCacheMarks(turns),
  }
}

/** What Anthropic can enforce in one request. */
const MAX_STRICT_TOOLS = 20
const MAX_OPTIONAL_PROPERTIES = 24

/** The first tools that Anthropic can enforce are strict: their calls have what their schemas require. */
function toTools(tools: readonly ToolSpec[]): Tool[] {
  let [strict, optional] = [0, 0]
  return tools.map((tool) => {
    const { name, description } = tool
    const schema = schemaOf(tool)
    const closed = closedSchema(schema)
    const added = optionalCount(closed)
    const isStrict =
      closed !== null && strict < MAX_STRICT_TOOLS && optional + added <= MAX_OPTIONAL_PROPERTIES
    const sent = { name, description, input_schema: { type: 'object' as const, ...schema } }
    if (!isStrict) return sent
    strict += 1
    optional += added
    return { ...sent, input_schema: { ...closed, type: 'object' as const }, strict: true }
  })
}

function toTurns(messages: readonly ChatMessage[], route: Route): Turn[] {
  const ids = new CallIds(foreignId)
  const toTurn = (message: ChatMessage): Turn => {
    switch (message.role) {
      case 'system':
      case 'user':
        return { role: 'user', content: [{ type: 'text', text: orNothing(message.content) }] }
      case 'assistant': {
        const own = ownItems(message, route)
        ids.next(message.calls, idsIn(own ?? [], 'tool_use', 'id'))
        return { role: 'assistant', content: own === null ? neutral(message, ids) : sent(own) }
      }
      case 'tool': {
        const tool_use_id = ids.of(message.callId)
        const content = resultContent(message)
        return { role: 'user', content: [{ type: 'tool_result', tool_use_id, content }] }
      }
    }
  }
  return joined(withAllResults(messages).map(toTurn))
}

function resultContent({ content, image }: Extract<ChatMessage, { role: 'tool' }>) {
  const text = orNothing(content)
  if (image?.data === undefined) return text
  const { media_type, data } = image
  return [
    { type: 'text' as const, text },
    { type: 'image' as const, source: { type: 'base64' as const, media_type, data } },
  ]
}

/** One message each time the side changes: all results of a reply must be in the message after it. */
function joined(turns: readonly Turn[]): Turn[] {
  const all: Turn[] = []
  for (const turn of turns) {
    const last = all.at(-1)
    if (last?.role === turn.role) last.content.push(...turn.content)
    else all.push({ role: turn.role, content: [...turn.content] })
  }
  return all
}

/** The blocks as they came; only empty texts are refused when they come back. */
function sent(items: readonly Json[]): ContentBlockParam[] {
  const blocks = items as unknown as ContentBlockParam[]
  return blocks.filter((block) => block.type !== 'text' || block.text.trim() !== '')
}

function neutral(message: AssistantMessage, ids: CallIds): ContentBlockParam[] {
  const text = textOf(message)
  return [
    ...(text === null ? [] : [{ type: 'text' as const, text: text.trimEnd() }]),
    ...message.calls.map(({ id, tool, args }) => ({
      type: 'tool_use' as const,
      id: ids.of(id),
      name: plainName(tool),
      input: parseJson(args).unwrapOr({}),
    })),
  ]
}

/** Models that think by a budget want each reply of an unfinished turn to begin with its thoughts. */
function beginsWithThinking(turns: readonly Turn[]): boolean {
  const lastReply = turns.findLast(({ role }) => role === 'assistant')
  const [first] = lastReply?.content ?? []
  const isOpen = turns.at(-1)?.content.some(({ type }) => type === 'tool_result') === true
  return !isOpen || first?.type === 'thinking' || first?.type === 'redacted_thinking'
}

const MARK = { type: 'ephemeral' } as const
/** How many blocks before a mark Anthropic looks for an earlier one. */
const LOOK_BACK_BLOCKS = 20

/**
 * Marks the end of what is to be cached: the newest message of the user and, if the last turn was so long that the mark
 * of the previous request would not be found, the one before that. With the system's, these are at most three of four.
 */
function withCacheMarks(turns: readonly Turn[]): MessageParam[] {
  const users = turns.flatMap(({ role }, index) => (role === 'user' ? [index] : []))
  const [previous = -1, newest = -1] = users.length < 2 ? [-1, ...users] : users.slice(-2)
  const since = turns.slice(previous + 1).reduce((sum, { content }) => sum + content.length, 0)
  const isFar = previous >= 0 && since > LOOK_BACK_BLOCKS
  return turns.map(({ role, content }, index) => {
    const isMarked = index === newest || (isFar && index === previous)
    return { role, content: isMarked ? withMark(content) : content }
  })
}

function withMark(content: readonly ContentBlockParam[]): ContentBlockParam[] {
  return content.map((block, index) => {
    if (index < content.length - 1) return block
    if (block.type !== 'text' && block.type !== 'tool_result') return block
    return { ...block, cache_control: MARK }
  })
}
