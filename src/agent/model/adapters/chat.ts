import type {
  ChatCompletionCreateParamsStreaming,
  ChatCompletionMessageFunctionToolCall,
  ChatCompletionMessageParam,
  ChatCompletionUserMessageParam,
} from 'openai/resources/chat/completions'
import type { AssistantMessage, ChatMessage, SentImage } from '../../../domain/conversation.ts'
import { sha256 } from '../../../lib/sha256.ts'
import { type Adapter, functionTool, isObject } from '../adapter.ts'
import type { ModelRequest } from '../model.ts'
import { PROVIDERS } from '../providers.ts'
import { orNothing, textOf } from '../reply-parts.ts'
import type { Route } from '../routing.ts'
import { dataUrl, withAllResults, withImagesApart } from './all-results.ts'
import { CallIds, ownItems, plainId, plainName } from './call-ids.ts'
import { ChatReader } from './chat-reader.ts'
import { openaiClients } from './openai-client.ts'
import { type OptionalParam, withOptional } from './optional-params.ts'

const STREAM_OPTIONS: OptionalParam = {
  name: 'stream_options',
  without: ({ stream_options: _, ...body }: { stream_options?: unknown }) => body,
}

/**
 * OpenAI's chat completions, which most endpoints speak. The response is read by us and not by the SDK: not every
 * endpoint sends its content type or streams at all, and the SDK ends a stream that was cut off as if it were whole.
 */
export function chatAdapter(): Adapter {
  const clientOf = openaiClients()
  return {
    framing: 'events',
    body: toChatBody,
    send: withOptional([STREAM_OPTIONS], (body, { endpoint }, signal) =>
      clientOf(endpoint)
        .chat.completions.create(body as ChatCompletionCreateParamsStreaming, { signal })
        .asResponse(),
    ),
    reader: () => new ChatReader(),
  }
}

/** The body of a chat completions request. */
export function toChatBody(
  request: ModelRequest,
  route: Route,
): ChatCompletionCreateParamsStreaming {
  const vendor = vendorOf(route)
  const messages = toMessages(request.messages, route, vendor)
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

type ToolCalls = ChatCompletionMessageFunctionToolCall[]

/**
 * The model of a run may change, so a request can contain calls of another provider. Their ids and names are converted
 * to a form that every provider accepts, each id once per request.
 */
function toMessages(
  messages: readonly ChatMessage[],
  route: Route,
  vendor: Vendor,
): ChatCompletionMessageParam[] {
  const ids = new CallIds(vendor.shortIds ? shortId : plainId)
  const needsSignature = isGoogle(route) && !/^gemini-[12]\b/.test(route.model)
  const toAssistant = (message: AssistantMessage): ChatCompletionMessageParam => {
    const { calls } = message
    const own = ownFields(message, route)
    ids.next(calls)
    const tool_calls = calls.map(({ id, tool, args }, index) => ({
      id: ids.of(id),
      type: 'function' as const,
      function: { name: plainName(tool), arguments: args },
      ...own.calls.get(index),
    }))
    return {
      role: 'assistant',
      content: textOf(message),
      ...(calls.length === 0
        ? {}
        : { tool_calls: needsSignature ? signed(tool_calls) : tool_calls }),
      ...fillerOf(vendor, calls.length),
      ...own.message,
    }
  }
  const toMessage = (message: ChatMessage): ChatCompletionMessageParam => {
    switch (message.role) {
      case 'system':
        return { role: 'system', content: orNothing(message.content) }
      case 'user':
        return { role: 'user', content: userContent(message) }
      case 'assistant':
        return toAssistant(message)
      case 'tool':
        return {
          role: 'tool',
          tool_call_id: ids.of(message.callId),
          content: orNothing(message.content),
        }
    }
  }
  const whole = withImagesApart(withAllResults(messages))
  return (vendor.isStrict ? withRepliesToResults(whole) : whole).map(toMessage)
}

/** Between the results of calls and a message of the user, Mistral requires one of the assistant. */
const withRepliesToResults = (messages: readonly ChatMessage[]): readonly ChatMessage[] =>
  messages.flatMap((message, at) =>
    message.role === 'user' && messages[at - 1]?.role === 'tool'
      ? [{ role: 'assistant', content: 'I have read the results.', calls: [] }, message]
      : [message],
  )

function userContent({
  content,
  images = [],
}: {
  readonly content: string
  readonly images?: readonly SentImage[]
}): ChatCompletionUserMessageParam['content'] {
  const text = orNothing(content)
  if (images.length === 0) return text
  return [
    { type: 'text', text },
    ...images.map((image) => ({
      type: 'image_url' as const,
      image_url: { url: dataUrl(image) },
    })),
  ]
}

type OwnFields = {
  readonly message: object
  /** Additions to calls, by their position. */
  readonly calls: ReadonlyMap<number, object>
}

/** What the endpoint sent with this message in addition to text and calls: reasoning goes back under its own name. */
function ownFields(message: AssistantMessage, route: Route): OwnFields {
  const [item] = ownItems(message, route) ?? []
  if (!isObject(item)) return { message: {}, calls: new Map() }
  const { tool_calls = [], ...fields } = item
  const additions = (Array.isArray(tool_calls) ? tool_calls : []).flatMap((call) => {
    if (!isObject(call)) return []
    const { index, ...addition } = call
    return [[Number(index), addition] as const]
  })
  return { message: fields, calls: new Map(additions) }
}

/** With reasoning on, some vendors refuse messages without it, so those of other models get a text in its place. */
function fillerOf({ filler }: Vendor, calls: number): object {
  if (filler === undefined || (filler.where === 'calls' && calls === 0)) return {}
  return { reasoning_content: filler.text }
}

/**
 * Gemini 3 and later require the signature of the thought that led to a call. Google documents this value for calls
 * without one, such as those of other models.
 */
function signed([first, ...others]: ToolCalls): ToolCalls {
  if (first === undefined) return []
  const signature = { thought_signature: 'skip_thought_signature_validator' }
  return [{ extra_content: { google: signature }, ...first } as typeof first, ...others]
}

/** Google's OpenAI-compatible endpoint, if OPENAI_BASE_URL names it. */
const isGoogle = ({ endpoint }: Route): boolean =>
  URL.parse(endpoint.baseUrl)?.hostname.endsWith('googleapis.com') === true

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
  const { provider, own } = endpoint
  // A gateway to a vendor passes on what that wants.
  const isGateway = own !== undefined && provider !== 'custom'
  const host = URL.parse(isGateway ? PROVIDERS[provider].baseUrl : endpoint.baseUrl)?.hostname ?? ''
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
