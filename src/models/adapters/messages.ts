import type {
  ContentBlockParam,
  MessageCreateParamsStreaming,
  MessageParam,
  Tool,
} from '@anthropic-ai/sdk/resources/messages'
import { err, ok } from 'neverthrow'
import * as z from 'zod'
import type { SentImage } from '../../domain/conversation.ts'
import type { Adapter, Json } from '../adapter.ts'
import type { FinishReason, ModelPart, ModelRequest, ToolSpec } from '../model.ts'
import { JsonObject, parseJson, toRequestedCalls } from '../replies.ts'
import { bearerHeaders, type Route } from '../routing.ts'
import { postTo } from '../send.ts'
import { ApiReader, type Taken, type Told } from './reader.ts'
import { type Forms, foreignId, orNothing, type SentReply, written } from './sent-conversation.ts'
import { claudeThinking, outputLimit } from './thinking.ts'
import { schemaOf } from './tool-schemas.ts'
import { ReportedUsage } from './usage.ts'

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
  name,
  description,
  input_schema: { type: 'object' as const, ...schemaOf(tool) },
})

const said = ({ content }: { readonly content: string }): Turn => ({
  role: 'user',
  content: [{ type: 'text', text: content }],
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
      type: 'tool_use' as const,
      id: id ?? '',
      name,
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
  const last = content.at(-1)
  const isMarkable = last?.type === 'text' || last?.type === 'tool_result'
  return isMarkable ? content.with(-1, { ...last, cache_control: MARK }) : [...content]
}

type Block = JsonObject
const text = z.string().optional()

/** How a message ends. */
const End = z.object({
  stop_reason: z.string().nullish(),
  stop_details: z.object({ explanation: z.string().nullish() }).nullish().catch(null),
})
const Delta = End.extend({ type: text, text, thinking: text, signature: text, partial_json: text })

/** An event of a stream, which has some of these properties. All others are ignored. */
const Event = z.object({
  type: z.string(),
  message: z.object({ usage: ReportedUsage }).optional(),
  index: z.int().nonnegative().default(0),
  content_block: JsonObject.default({}),
  delta: Delta.default({}),
  usage: ReportedUsage,
})
type Event = z.infer<typeof Event>

/** Reads a message of Anthropic's Messages API. */
export class MessagesReader extends ApiReader<Event> {
  protected readonly api = 'messages'
  protected readonly schema = Event
  readonly #blocks: Block[] = []
  /** The JSON texts of the inputs of calls, by the index of their block. */
  readonly #inputs = new Map<number, string>()
  /** Positions among the calls, by the index of their block. */
  readonly #calls = new Map<number, number>()
  #usage: ReportedUsage = null
  #end: z.infer<typeof End> = {}

  take({ type, index, content_block, delta, usage, message }: Event): Taken {
    switch (type) {
      case 'message_start':
        this.#report(message?.usage)
        return ok([])
      case 'content_block_start':
        return this.#begin(index, content_block)
      case 'content_block_delta': {
        const block = this.#blocks[index]
        if (block === undefined) return err({ type: 'invalid', what: `no block ${index}` })
        return ok(this.#add(index, block, delta))
      }
      case 'message_delta':
        this.#end = delta
        this.#report(usage)
        return ok([])
      case 'message_stop':
        this.state = 'ended'
        return ok([])
      default:
        return ok([])
    }
  }

  told(): Told {
    const blocks = this.#blocks.map((block, at) => this.#whole(block, at))
    const finishReason = FINISH[this.#end.stop_reason ?? ''] ?? 'stop'
    const texts = blocks.flatMap(({ type, text }) => (type === 'text' ? [String(text ?? '')] : []))
    const explanation = finishReason === 'refusal' ? this.#end.stop_details?.explanation : null
    const calls = blocks.flatMap(({ type, id, name, input }, at) => {
      const args = this.#inputs.get(at) || (input as Block) || {}
      return type === 'tool_use' ? [{ id: String(id ?? ''), name: String(name ?? ''), args }] : []
    })
    const isReadable = toRequestedCalls(calls).every(({ raw_args }) => raw_args === undefined)
    return ok({
      text: [texts.join(''), explanation ?? ''].filter((part) => part.trim()).join('\n\n'),
      calls,
      finishReason,
      // If the input of a call is not a JSON object, the call cannot be sent back in any form.
      items: isReadable ? blocks : null,
    })
  }

  /** A later report leaves out what has not changed. */
  #report(usage: ReportedUsage): void {
    const changed = Object.entries(usage ?? {}).filter(([, value]) => value !== null)
    this.#usage = { ...this.#usage, ...Object.fromEntries(changed) }
    this.report(this.#usage)
  }

  #begin(at: number, block: Block): Taken {
    if (at !== this.#blocks.length) return err({ type: 'invalid', what: `block ${at} is not next` })
    this.#blocks.push({ ...block })
    if (block.type === 'tool_use') {
      const index = this.#calls.size
      this.#calls.set(at, index)
      return ok([{ type: 'call', index, tool: String(block.name ?? '') }])
    }
    return ok(block.text ? [{ type: 'text', text: String(block.text) }] : [])
  }

  #add(at: number, block: Block, delta: z.infer<typeof Delta>): readonly ModelPart[] {
    const { type, text = '', thinking = '', signature = '', partial_json: json = '' } = delta
    switch (type) {
      case 'text_delta':
        block.text = String(block.text ?? '') + text
        return text === '' ? [] : [{ type: 'text', text }]
      case 'thinking_delta':
        block.thinking = String(block.thinking ?? '') + thinking
        return thinking === '' ? [] : [{ type: 'reasoning', text: thinking }]
      case 'signature_delta':
        block.signature = signature
        return []
      case 'input_json_delta': {
        this.#inputs.set(at, (this.#inputs.get(at) ?? '') + json)
        const index = this.#calls.get(at)
        return index === undefined || json === '' ? [] : [{ type: 'arguments', index, text: json }]
      }
      default:
        return []
    }
  }

  /** A block with the input that came in pieces. */
  #whole(block: Block, at: number): Block {
    const written = this.#inputs.get(at)
    if (!written) return block
    const input = parseJson(written).unwrapOr(null) as Json
    return input === null ? block : { ...block, input }
  }
}

const FINISH: Readonly<Record<string, FinishReason>> = {
  tool_use: 'tool_calls',
  max_tokens: 'length',
  pause_turn: 'pause',
  refusal: 'refusal',
  model_context_window_exceeded: 'overflow',
}
