import { err, ok } from 'neverthrow'
import type {
  FunctionTool,
  ResponseCreateParamsStreaming,
  ResponseInputItem,
} from 'openai/resources/responses/responses'
import * as z from 'zod'
import type { SentImage } from '../../domain/conversation.ts'
import { present } from '../../domain/present.ts'
import { type Adapter, isObject, type RefusedRequest } from '../adapter.ts'
import type { FinishReason, ModelRequest, ToolSpec } from '../model.ts'
import { invalid, JsonObject } from '../replies.ts'
import { addressOf, bearerHeaders, type Route } from '../routing.ts'
import { postTo } from '../send.ts'
import { ApiReader, type Taken, type Told } from './reader.ts'
import { dataUrl, type Forms, foreignId, orNothing, written } from './sent-conversation.ts'
import { reasoning } from './thinking.ts'
import { schemaOf } from './tool-schemas.ts'
import { ReportedUsage } from './usage.ts'

/**
 * OpenAI's Responses API, which xAI speaks too. Nothing is stored at the provider: its reasoning comes back encrypted, is
 * kept in the log, and is sent again.
 */
export const responsesAdapter: Adapter = {
  framing: 'events',
  body: toResponsesBody,
  send: withOrWithoutSummary,
  reader: () => new ResponsesReader(),
}

const post = postTo(({ endpoint }) => ({
  url: `${addressOf(endpoint)}/responses`,
  headers: bearerHeaders(endpoint),
}))

/** The endpoints, with their models, that refuse summaries: OpenAI does that to organizations that are not verified. */
const noSummaries = new Set<string>()
const SummaryRefused = z.object({ error: z.object({ param: z.literal('reasoning.summary') }) })

/** If summaries of reasoning are refused, this request and all later ones are sent without. */
async function withOrWithoutSummary(
  body: object,
  route: Route,
  signal: AbortSignal,
): Promise<Response | RefusedRequest> {
  const place = `${route.endpoint.baseUrl} ${route.model}`
  if (!noSummaries.has(place)) {
    const answer = await post(body, route, signal)
    if (answer instanceof Response || !SummaryRefused.safeParse(answer.body).success) return answer
    noSummaries.add(place)
  }
  const { summary: _, ...reasoning } = Object(Reflect.get(body, 'reasoning'))
  return post({ ...body, reasoning }, route, signal)
}

function toResponsesBody(request: ModelRequest, route: Route): ResponseCreateParamsStreaming {
  const { messages, tools, cacheKey, maxOutputTokens } = request
  const [first, ...others] = messages
  const isXai = route.endpoint.vendor === 'xai'
  const hasInstructions = first?.role === 'system' && !isXai
  return {
    model: route.model,
    store: false,
    stream: true,
    // xAI accepts neither these options nor instructions apart from the messages.
    ...(isXai ? {} : { stream_options: { include_obfuscation: false } }),
    ...reasoning(request.effort, route.model, isXai),
    ...(hasInstructions ? { instructions: orNothing(first.content) } : {}),
    ...present({ max_output_tokens: maxOutputTokens, prompt_cache_key: cacheKey }),
    ...(tools.length === 0 ? {} : { tools: tools.map(toTool) }),
    input: written(hasInstructions ? others : messages, route, { ...FORMS, takesImages: !isXai }),
  }
}

const toTool = ({ name, description, ...tool }: ToolSpec): FunctionTool => ({
  type: 'function',
  name,
  description,
  strict: false,
  parameters: schemaOf(tool),
})

/** Whether xAI takes images in results is not documented. */
const FORMS: Forms<ResponseInputItem> = {
  system: (message) => message,
  user: ({ role, content, images }) => ({ role, content: withImages(content, images) }),
  assistant: ({ text: content, calls, own }) => {
    // They are sent as they came, so they have the types of the provider.
    if (own !== null) return [...own] as unknown as ResponseInputItem[]
    return [
      ...(content === null ? [] : [{ role: 'assistant' as const, content }]),
      ...calls.map(({ id, name, args }) => ({
        type: 'function_call' as const,
        call_id: id ?? '',
        name,
        arguments: args,
      })),
    ]
  },
  tool: ({ call, content, image }) => {
    const output = withImages(content, image === undefined ? [] : [image])
    return { type: 'function_call_output', call_id: call.id ?? '', output }
  },
  idOf: foreignId,
  callIn: ({ type, call_id, name }) =>
    type === 'function_call' ? { id: String(call_id ?? ''), name: String(name ?? '') } : null,
}

function withImages(text: string, images: readonly SentImage[]) {
  if (images.length === 0) return text
  return [
    { type: 'input_text' as const, text },
    ...images.map((image) => ({
      type: 'input_image' as const,
      detail: 'auto' as const,
      image_url: dataUrl(image),
    })),
  ]
}

type Item = JsonObject

const Whole = z.object({
  status: z.string().nullish(),
  error: z.looseObject({}).nullish(),
  incomplete_details: z.object({ reason: z.string().nullish() }).nullish().catch(null),
  output: z.array(JsonObject),
  usage: ReportedUsage,
})
type Whole = z.infer<typeof Whole>

/** An event of a stream. Each has some of these properties; there are many others, and new ones come. */
const Event = z.object({
  type: z.string(),
  output_index: z.int().nonnegative().default(0),
  item: JsonObject.default({}),
  delta: z.string().default('').catch(''),
  response: z.unknown().optional(),
})
type Event = z.infer<typeof Event>

/** Reads a response of the Responses API. */
class ResponsesReader extends ApiReader<Event> {
  protected readonly api = 'responses'
  protected readonly schema = Event
  readonly #items = new Map<number, Item>()
  /** Positions among the calls, by the index of the item. */
  readonly #calls = new Map<number, number>()
  #response: Whole = { output: [] }

  take({ type, output_index: at, item, delta, response }: Event, raw: unknown): Taken {
    switch (type) {
      case 'response.output_item.added': {
        if (item.type !== 'function_call' || typeof item.name !== 'string') return ok([])
        const index = this.#calls.size
        this.#calls.set(at, index)
        return ok([{ type: 'call', index, tool: item.name }])
      }
      case 'response.output_item.done':
        this.#items.set(at, item)
        return ok([])
      case 'response.output_text.delta':
      case 'response.refusal.delta':
        return ok([{ type: 'text', text: delta }])
      case 'response.reasoning_summary_text.delta':
      case 'response.reasoning_text.delta':
        return ok([{ type: 'reasoning', text: delta }])
      case 'response.function_call_arguments.delta': {
        const index = this.#calls.get(at)
        return ok(index === undefined ? [] : [{ type: 'arguments', index, text: delta }])
      }
      case 'response.completed':
      case 'response.incomplete':
      case 'response.failed':
        return this.#end(response)
      case 'error':
        return err({ type: 'reported', body: raw })
      default:
        return ok([])
    }
  }

  told(): Told {
    // Items that have their own event are whole in it; `output` may leave out their encrypted content.
    const done = [...this.#items].toSorted(([a], [b]) => a - b).map(([, item]) => item)
    const items = done.length > 0 ? done : this.#response.output
    const messages = items.filter(({ type }) => type === 'message')
    // A reply may have several messages: remarks between its steps, and the answer.
    const said = joined(messages.map((item) => saidIn(item, 'text').join('')))
    const refusal = joined(messages.flatMap((item) => saidIn(item, 'refusal')))
    const calls = items.filter(({ type }) => type === 'function_call')
    const finishReason = refusal === null ? finishOf(this.#response) : 'refusal'
    return ok({
      text: refusal ?? said ?? '',
      calls: calls.map(({ call_id, name, arguments: args }) => ({
        id: String(call_id ?? ''),
        name: String(name ?? ''),
        args: String(args ?? ''),
      })),
      finishReason,
      items,
    })
  }

  #end(response: unknown): Taken {
    const whole = Whole.safeParse(response)
    if (!whole.success) return invalid(whole.error)
    const { status, error, usage } = whole.data
    if (status !== 'completed' && status !== 'incomplete') {
      const message = `the response has the status ${status}`
      return err({ type: 'reported', body: { error: error ?? { message } } })
    }
    this.#response = whole.data
    this.report(usage)
    this.state = 'ended'
    return ok([])
  }
}

/** The texts or refusals in a message. */
const saidIn = ({ content }: Item, name: 'text' | 'refusal'): string[] =>
  (Array.isArray(content) ? content : []).flatMap((part) => {
    const said = isObject(part) ? part[name] : undefined
    return typeof said === 'string' ? [said] : []
  })

const joined = (texts: readonly string[]): string | null =>
  texts.filter((text) => text.trim()).join('\n\n') || null

function finishOf({ status, incomplete_details }: Whole): FinishReason {
  const { reason } = incomplete_details ?? {}
  if (status !== 'incomplete') return 'stop'
  if (reason === 'content_filter') return 'refusal'
  return reason === 'steered' || reason === 'max_messages' ? 'pause' : 'length'
}
