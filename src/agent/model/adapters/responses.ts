import type {
  FunctionTool,
  ResponseCreateParamsStreaming,
  ResponseInputItem,
} from 'openai/resources/responses/responses'
import type { AssistantMessage, ChatMessage, SentImage } from '../../../domain/conversation.ts'
import { present } from '../../../domain/present.ts'
import { type Adapter, schemaOf } from '../adapter.ts'
import type { Effort, ModelRequest, ToolSpec } from '../model.ts'
import { orNothing, textOf } from '../reply-parts.ts'
import type { Route } from '../routing.ts'
import { dataUrl, withAllResults, withImagesApart } from './all-results.ts'
import { CallIds, foreignId, idsIn, ownItems, plainName } from './call-ids.ts'
import { openaiClients } from './openai-client.ts'
import { type OptionalParam, withOptional } from './optional-params.ts'
import { ResponsesReader } from './responses-reader.ts'
import { strictSchema } from './strict-schema.ts'

type Body = { readonly reasoning?: { readonly summary?: unknown } }

const SUMMARY: OptionalParam = {
  name: 'reasoning.summary',
  without: ({ reasoning: { summary: _, ...reasoning } = {}, ...body }: Body) => ({
    ...body,
    reasoning,
  }),
}

/** Without a stream, the response is one JSON text, which is read as well. */
const STREAM: OptionalParam = {
  name: 'stream',
  without: ({ stream_options: _, ...body }: { stream_options?: unknown }) => ({
    ...body,
    stream: false,
  }),
}

/**
 * OpenAI's Responses API, which xAI speaks too. Nothing is stored at the provider: its reasoning comes back encrypted, is
 * kept in the log, and is sent again.
 */
export function responsesAdapter(): Adapter {
  const clientOf = openaiClients()
  return {
    framing: 'events',
    body: toResponsesBody,
    send: withOptional([SUMMARY, STREAM], (body, { endpoint }, signal) =>
      clientOf(endpoint)
        .responses.create(body as ResponseCreateParamsStreaming, { signal })
        .asResponse(),
    ),
    reader: () => new ResponsesReader(),
  }
}

function toResponsesBody(request: ModelRequest, route: Route): ResponseCreateParamsStreaming {
  const { messages, tools, cacheKey, maxOutputTokens } = request
  const [first, ...others] = messages
  const isXai = route.endpoint.provider === 'xai'
  const hasInstructions = first?.role === 'system' && !isXai
  return {
    model: route.model,
    store: false,
    stream: true,
    // xAI accepts neither these options nor instructions apart from the messages.
    ...(isXai ? {} : { stream_options: { include_obfuscation: false } }),
    ...reasoningOf(request, route),
    ...(hasInstructions ? { instructions: orNothing(first.content) } : {}),
    ...present({ max_output_tokens: maxOutputTokens, prompt_cache_key: cacheKey }),
    ...(tools.length === 0 ? {} : { tools: tools.map(toTool) }),
    input: toInput(hasInstructions ? others : messages, route),
  }
}

/** The models of OpenAI that do not reason. They refuse every parameter about it. */
const UNREASONING = /^(gpt-4|gpt-3|chatgpt-|gpt-5-chat)/

function reasoningOf(
  { effort }: ModelRequest,
  { endpoint, model }: Route,
): Pick<ResponseCreateParamsStreaming, 'include' | 'reasoning'> {
  if (UNREASONING.test(model)) return {}
  const include = ['reasoning.encrypted_content' as const]
  if (endpoint.provider === 'xai') {
    const known = effort === undefined ? undefined : XAI_EFFORT[effort]
    return known === undefined ? { include } : { include, reasoning: { effort: known } }
  }
  return { include, reasoning: { summary: 'auto', ...(effort === undefined ? {} : { effort }) } }
}

const XAI_EFFORT: Readonly<Record<Effort, 'none' | 'low' | 'medium' | 'high'>> = {
  none: 'none',
  minimal: 'low',
  low: 'low',
  medium: 'medium',
  high: 'high',
  xhigh: 'high',
  max: 'high',
}

function toTool({ name, description, parameters }: ToolSpec): FunctionTool {
  const strict = strictSchema(parameters)
  return {
    type: 'function',
    name,
    description,
    strict: strict !== null,
    parameters: { ...(strict ?? schemaOf({ parameters })) },
  }
}

function toInput(messages: readonly ChatMessage[], route: Route): ResponseInputItem[] {
  const ids = new CallIds(foreignId)
  const toItems = (message: ChatMessage): ResponseInputItem[] => {
    switch (message.role) {
      case 'system':
        return [{ role: 'system', content: orNothing(message.content) }]
      case 'user':
        return [{ role: 'user', content: withImages(message.content, message.images) }]
      case 'assistant': {
        const own = ownItems(message, route)
        ids.next(message.calls, idsIn(own ?? [], 'function_call', 'call_id'))
        // They are sent as they came, so they have the types of the provider.
        return own === null ? neutral(message, ids) : ([...own] as unknown as ResponseInputItem[])
      }
      case 'tool':
        return [
          {
            type: 'function_call_output',
            call_id: ids.of(message.callId),
            output: withImages(message.content, message.image && [message.image]),
          },
        ]
    }
  }
  const complete = withAllResults(messages)
  // Whether xAI takes images in results is not documented.
  const isXai = route.endpoint.provider === 'xai'
  return (isXai ? withImagesApart(complete) : complete).flatMap(toItems)
}

function withImages(text: string, images: readonly SentImage[] = []) {
  if (images.length === 0) return orNothing(text)
  return [
    { type: 'input_text' as const, text: orNothing(text) },
    ...images.map((image) => ({
      type: 'input_image' as const,
      detail: 'auto' as const,
      image_url: dataUrl(image),
    })),
  ]
}

function neutral(message: AssistantMessage, ids: CallIds): ResponseInputItem[] {
  const content = textOf(message)
  return [
    ...(content === null ? [] : [{ role: 'assistant' as const, content }]),
    ...message.calls.map(({ id, tool, args }) => ({
      type: 'function_call' as const,
      call_id: ids.of(id),
      name: plainName(tool),
      arguments: args,
    })),
  ]
}
