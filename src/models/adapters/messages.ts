import type {
  ContentBlockParam,
  MessageCreateParamsStreaming,
  MessageParam,
  Tool,
} from '@anthropic-ai/sdk/resources/messages'
import type { SentImage } from '../../domain/conversation.ts'
import type { Adapter } from '../adapter.ts'
import type { ModelRequest, ToolSpec } from '../model.ts'
import { parseJson } from '../replies.ts'
import { bearerHeaders, type Route } from '../routing.ts'
import { postTo } from '../send.ts'
import { MessagesReader } from './messages-reader.ts'
import { type Forms, foreignId, orNothing, type SentReply, written } from './sent-conversation.ts'
import { claudeThinking, outputLimit } from './thinking.ts'
import { schemaOf } from './tool-schemas.ts'

/** Anthropic's Messages API. */
export const messagesAdapter: Adapter = {
  framing: 'events',
  body: toMessagesBody,
  send: postTo(({ endpoint }) => {
    const { baseUrl, apiKey } = endpoint
    const isAnthropic = URL.parse(baseUrl)?.hostname.endsWith('anthropic.com') === true
    return {
      url: `${baseUrl.replace(/(\/v1)?\/*$/, '')}/v1/messages`,
      headers: {
        'anthropic-version': isAnthropic ? VERSION : FIRST_VERSION,
        // Other vendors that speak this API may know only the header of its first years.
        ...(isAnthropic || apiKey === null ? {} : { 'x-api-key': apiKey }),
        ...bearerHeaders(endpoint),
      },
    }
  }),
  reader: () => new MessagesReader(),
}

/** What bodies and replies here are written for. */
const VERSION = '2026-10-21'
/** What other vendors know. */
const FIRST_VERSION = '2023-06-01'

type Turn = { readonly role: 'user' | 'assistant'; readonly content: ContentBlockParam[] }

/** The body of a Messages request. */
function toMessagesBody(request: ModelRequest, route: Route): MessageCreateParamsStreaming {
  const [first, ...others] = request.messages
  const system = first?.role === 'system' ? first.content : null
  const maxTokens = outputLimit(route.model, request.maxOutputTokens)
  const turns = joined(written(system === null ? request.messages : others, route, FORMS))
  const thinking = claudeThinking(route.model, request.effort, maxTokens)
  const isUsable = thinking.thinking?.type !== 'enabled' || beginsWithThinking(turns)
  return {
    model: route.model,
    max_tokens: maxTokens,
    stream: true,
    ...(isUsable ? thinking : {}),
    ...(request.tools.length === 0 ? {} : { tools: request.tools.map(toTool) }),
    ...(system === null
      ? {}
      : { system: [{ type: 'text', text: orNothing(system), cache_control: MARK }] }),
    messages: withCacheMarks(turns),
  }
}

const toTool = ({ name, description, ...tool }: ToolSpec): Tool => ({
  ...{ name, description },
  input_schema: { type: 'object' as const, ...schemaOf(tool) },
})

const said = ({ content }: { readonly content: string }): Turn => ({
  ...{ role: 'user', content: [{ type: 'text', text: content }] },
})

const FORMS: Forms<Turn> = {
  system: said,
  user: said,
  assistant: (message) => ({ role: 'assistant', content: replyBlocks(message) }),
  tool: ({ call, content, image }) => {
    const result = { type: 'tool_result', tool_use_id: call.id ?? '' } as const
    return { role: 'user', content: [{ ...result, content: withImage(content, image) }] }
  },
  idOf: foreignId,
  callIn: ({ type, id, name }) =>
    type === 'tool_use' ? { id: String(id ?? ''), name: String(name ?? '') } : null,
  takesImages: true,
}

function withImage(text: string, image: SentImage | undefined) {
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

function replyBlocks({ text, calls, own }: SentReply) {
  // They are sent as they came; only empty texts are refused when they come back.
  if (own !== null) {
    const blocks = [...own] as unknown as ContentBlockParam[]
    return blocks.filter((block) => block.type !== 'text' || block.text.trim() !== '')
  }
  return [
    ...(text === null ? [] : [{ type: 'text' as const, text: text.trimEnd() }]),
    ...calls.map(({ id, name, args }) => ({
      ...{ type: 'tool_use' as const, id: id ?? '', name, input: parseJson(args).unwrapOr({}) },
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
  const last = content.at(-1)
  const isMarkable = last?.type === 'text' || last?.type === 'tool_result'
  return isMarkable ? content.with(-1, { ...last, cache_control: MARK }) : [...content]
}
