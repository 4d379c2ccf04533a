import type {
  ChatCompletionCreateParamsStreaming,
  ChatCompletionMessageParam,
  ChatCompletionUserMessageParam,
} from 'openai/resources/chat/completions'
import type { SentImage } from '../../domain/conversation.ts'
import { sha256 } from '../../lib/sha256.ts'
import { type Adapter, isObject } from '../adapter.ts'
import type { ModelRequest } from '../model.ts'
import { PROVIDERS } from '../providers.ts'
import { addressOf, bearerHeaders, type Route } from '../routing.ts'
import { postTo } from '../send.ts'
import { ChatReader } from './chat-reader.ts'
import { dataUrl, type Forms, plainId, type SentReply, written } from './sent-conversation.ts'
import { functionTool } from './tool-schemas.ts'

/** OpenAI's chat completions, which most endpoints speak. */
export const chatAdapter: Adapter = {
  framing: 'events',
  body: toChatBody,
  send: postTo(({ endpoint }) => ({
    url: `${addressOf(endpoint)}/chat/completions`,
    headers: bearerHeaders(endpoint),
  })),
  reader: () => new ChatReader(),
}

/** The body of a chat completions request. */
function toChatBody(request: ModelRequest, route: Route): ChatCompletionCreateParamsStreaming {
  const vendor = vendorOf(route)
  const plain = written(request.messages, route, formsFor(vendor))
  const messages = vendor.isStrict ? withRepliesToResults(plain) : plain
  const { tools, maxOutputTokens } = request
  return {
    model: route.model,
    messages: vendor.cacheMarks ? withCacheMarks(messages) : messages,
    ...(tools.length === 0 ? {} : { tools: tools.map(functionTool) }),
    stream: true,
    ...(vendor.isStrict ? {} : { stream_options: { include_usage: true } }),
    ...(maxOutputTokens === undefined ? {} : { [vendor.limitName]: maxOutputTokens }),
    ...effortOf(request, vendor),
  }
}

function effortOf({ effort }: ModelRequest, vendor: Vendor): object {
  if (effort === undefined || vendor.effort === 'none') return {}
  return vendor.effort === 'reasoning' ? { reasoning: { effort } } : { reasoning_effort: effort }
}

const formsFor = (vendor: Vendor): Forms<ChatCompletionMessageParam> => ({
  system: (message) => message,
  user: ({ role, content, images }) => ({ role, content: userContent(content, images) }),
  assistant: (message) => toAssistant(message, vendor),
  tool: ({ role, call, content }) => ({ role, tool_call_id: call.id ?? '', content }),
  idOf: vendor.shortIds ? shortId : plainId,
})

/**
 * A reply, with what the endpoint sent in addition to text and calls: reasoning goes back under its own name. With reasoning
 * on, some vendors refuse messages without it, so those of other models get a text in its place.
 */
function toAssistant(
  { text, calls, own }: SentReply,
  { filler }: Vendor,
): ChatCompletionMessageParam {
  const [item = {}] = (own ?? []).filter(isObject)
  // Earlier versions kept additions to calls in it.
  const { tool_calls: _, ...fields } = item
  const tool_calls = calls.map(({ id, name, args }) => ({
    id: id ?? '',
    type: 'function' as const,
    function: { name, arguments: args },
  }))
  const isFilled = filler !== undefined && (filler.where === 'each' || calls.length > 0)
  return {
    role: 'assistant',
    content: text,
    ...(calls.length === 0 ? {} : { tool_calls }),
    ...(isFilled ? { reasoning_content: filler.text } : {}),
    ...fields,
  }
}

/** Between the results of calls and a message of the user, Mistral requires one of the assistant. */
const withRepliesToResults = (messages: readonly ChatCompletionMessageParam[]) =>
  messages.flatMap((message, at): ChatCompletionMessageParam[] =>
    message.role === 'user' && messages[at - 1]?.role === 'tool'
      ? [{ role: 'assistant', content: 'I have read the results.' }, message]
      : [message],
  )

function userContent(
  text: string,
  images: readonly SentImage[],
): ChatCompletionUserMessageParam['content'] {
  if (images.length === 0) return text
  return [
    { type: 'text', text },
    ...images.map((image) => ({
      type: 'image_url' as const,
      image_url: { url: dataUrl(image) },
    })),
  ]
}

/** What an endpoint for chat completions wants that the others do not, or refuse. */
type Vendor = {
  /** What `each` message, or each with `calls`, needs if its own reasoning is not known, and the text to put there. */
  readonly filler?: { readonly where: 'each' | 'calls'; readonly text: string }
  /** How the endpoint is asked for its effort of reasoning. */
  readonly effort: 'reasoning_effort' | 'reasoning' | 'none'
  /** Refuses properties that it does not know, such as `stream_options`, and some orders of messages. */
  readonly isStrict?: true
  /** Wants ids of calls with exactly nine letters and digits. */
  readonly shortIds?: true
  /** Caches only what a mark ends. */
  readonly cacheMarks?: true
  readonly limitName: 'max_tokens' | 'max_completion_tokens'
}

const ANY: Vendor = { effort: 'reasoning_effort', limitName: 'max_tokens' }

const VENDORS: readonly (readonly [host: RegExp, vendor: Vendor])[] = [
  [/(^|\.)deepseek\.com$/, { ...ANY, filler: { where: 'each', text: '' } }],
  [/(^|\.)moonshot\.(ai|cn)$/, { ...ANY, filler: { where: 'calls', text: '.' } }],
  [/(^|\.)mistral\.ai$/, { ...ANY, effort: 'none', isStrict: true, shortIds: true }],
  [/(^|\.)openai\.com$/, { ...ANY, limitName: 'max_completion_tokens' }],
  [/(^|\.)openrouter\.ai$/, { ...ANY, effort: 'reasoning' }],
  [/(^|\.)aliyuncs\.com$/, { ...ANY, effort: 'none', cacheMarks: true }],
]

/** OpenRouter passes marks to the vendors that need them. */
const MARKED_AT_OPENROUTER = /^(anthropic|qwen|alibaba)\//

function vendorOf({ endpoint, model }: Route): Vendor {
  const { vendor: known, baseUrl } = endpoint
  // A gateway to a vendor passes on what that wants.
  const host = URL.parse(known === null ? baseUrl : PROVIDERS[known].baseUrl)?.hostname ?? ''
  const vendor = VENDORS.find(([pattern]) => pattern.test(host))?.[1] ?? ANY
  const isMarked = vendor.effort === 'reasoning' && MARKED_AT_OPENROUTER.test(model)
  return isMarked ? { ...vendor, cacheMarks: true } : vendor
}

/** An id in the form that Mistral wants: nine letters and digits, the same for the same id. */
function shortId(id: string): string {
  return /^[a-zA-Z0-9]{9}$/.test(id) ? id : sha256(id).slice(0, 9)
}

const MARK = { cache_control: { type: 'ephemeral' } }

/** Marks the ends of what is to be cached: the system message, and the newest message with a text. */
function withCacheMarks(
  messages: readonly ChatCompletionMessageParam[],
): ChatCompletionMessageParam[] {
  const newest = messages.findLastIndex(
    ({ role, content }) => role !== 'assistant' && typeof content === 'string',
  )
  return messages.map((message, index) => {
    const isEnd = message.role === 'system' || index === newest
    if (!isEnd || typeof message.content !== 'string') return message
    const part = { type: 'text', text: message.content, ...MARK }
    return { ...message, content: [part] } as ChatCompletionMessageParam
  })
}
