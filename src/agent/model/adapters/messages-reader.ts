import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import type { Complaint, Json, RawReply, ReplyReader } from '../adapter.ts'
import type { FinishReason, ModelPart } from '../model.ts'
import { eventReader, invalid, parseJson, toRequestedCalls } from '../reply-parts.ts'
import { ReportedUsage, usageOf } from './usage.ts'

const Block = z.record(z.string(), z.json())
type Block = z.infer<typeof Block>

const StopDetails = z.object({ explanation: z.string().nullish() }).nullish().catch(null)
const End = { stop_reason: z.string().nullish(), stop_details: StopDetails }
const MessageBody = z.object({ content: z.array(Block), usage: ReportedUsage, ...End })

const index = z.int().nonnegative()
/** The events that are read; all others are ignored. */
const Event = z.discriminatedUnion('type', [
  z.object({ type: z.literal('message_start'), message: MessageBody }),
  z.object({ type: z.literal('content_block_start'), index, content_block: Block }),
  z.object({
    type: z.literal('content_block_delta'),
    index,
    delta: z.object({
      type: z.string(),
      text: z.string().optional(),
      thinking: z.string().optional(),
      signature: z.string().optional(),
      partial_json: z.string().optional(),
      citation: z.json().optional(),
    }),
  }),
  z.object({ type: z.literal('content_block_stop'), index }),
  z.object({ type: z.literal('message_delta'), delta: z.object(End), usage: ReportedUsage }),
  z.object({ type: z.literal('message_stop') }),
])
type Event = z.infer<typeof Event>
const readEvent = eventReader(Event)

/** Reads a message of Anthropic's Messages API. */
export class MessagesReader implements ReplyReader {
  state: ReplyReader['state'] = 'open'
  readonly #blocks: Block[] = []
  /** The JSON texts of the inputs of calls, by the index of their block. */
  readonly #inputs = new Map<number, string>()
  readonly #calls = new Map<number, number>()
  #usage: ReportedUsage = null
  #stop: z.infer<z.ZodObject<typeof End>> = { stop_reason: null, stop_details: null }

  read(message: unknown): Result<readonly ModelPart[], Complaint> {
    return readEvent(message).andThen((event) => (event === null ? ok([]) : this.#take(event)))
  }

  readWhole(message: unknown): Result<readonly ModelPart[], Complaint> {
    const body = MessageBody.safeParse(message)
    if (!body.success) return invalid(body.error)
    this.#blocks.push(...body.data.content)
    this.#usage = body.data.usage
    this.#stop = body.data
    this.state = 'ended'
    return ok([])
  }

  get used() {
    return { usage: usageOf('messages', this.#usage), costUsd: null }
  }

  reply(): Result<RawReply, Complaint> {
    const blocks = this.#blocks.map((block, at) => this.#whole(block, at))
    const finishReason = FINISH[this.#stop.stop_reason ?? ''] ?? 'stop'
    const texts = blocks.flatMap(({ type, text }) => (type === 'text' ? [String(text ?? '')] : []))
    const explanation = finishReason === 'refusal' ? this.#stop.stop_details?.explanation : null
    const text = [texts.join(''), explanation ?? ''].filter((part) => part.trim()).join('\n\n')
    const uses = blocks.flatMap((block, at) => (block.type === 'tool_use' ? [{ block, at }] : []))
    const toolCalls = toRequestedCalls(
      uses.map(({ block, at }) => ({
        id: String(block.id ?? ''),
        name: String(block.name ?? ''),
        args: this.#inputs.get(at) || (block.input as Block) || {},
      })),
    )
    // If the input of a call is not a JSON object, the call cannot be sent back in any form.
    const isReadable = toolCalls.every(({ raw_args }) => raw_args === undefined)
    return ok({
      text: text || null,
      toolCalls,
      finishReason,
      items: isReadable ? (blocks as Json[]) : null,
      ...this.used,
    })
  }

  #take(event: Event): Result<readonly ModelPart[], Complaint> {
    switch (event.type) {
      case 'message_start':
        this.#usage = event.message.usage
        return ok([])
      case 'content_block_start':
        return this.#begin(event.index, event.content_block)
      case 'content_block_delta':
        return this.#add(event.index, event.delta)
      case 'content_block_stop':
        return ok([])
      case 'message_delta':
        this.#stop = event.delta
        this.#usage = merged(this.#usage, event.usage)
        return ok([])
      case 'message_stop':
        this.state = 'ended'
        return ok([])
    }
  }

  #begin(at: number, block: Block): Result<readonly ModelPart[], Complaint> {
    if (at !== this.#blocks.length) return err({ type: 'invalid', what: `block ${at} is not next` })
    this.#blocks.push({ ...block })
    const parts: ModelPart[] = []
    if (block.type === 'tool_use') {
      const position = this.#calls.size
      this.#calls.set(at, position)
      parts.push({ type: 'call', index: position, tool: String(block.name ?? '') })
    }
    if (typeof block.text === 'string' && block.text !== '') {
      parts.push({ type: 'text', text: block.text })
    }
    return ok(parts)
  }

  #add(at: number, delta: Extract<Event, { type: 'content_block_delta' }>['delta']) {
    const block = this.#blocks[at]
    if (block === undefined) {
      return err<readonly ModelPart[], Complaint>({ type: 'invalid', what: `no block ${at}` })
    }
    return ok<readonly ModelPart[], Complaint>(this.#parts(at, block, delta))
  }

  #parts(
    at: number,
    block: Block,
    delta: Extract<Event, { type: 'content_block_delta' }>['delta'],
  ): readonly ModelPart[] {
    switch (delta.type) {
      case 'text_delta': {
        const text = delta.text ?? ''
        block.text = String(block.text ?? '') + text
        return [{ type: 'text', text }]
      }
      case 'thinking_delta': {
        const text = delta.thinking ?? ''
        block.thinking = String(block.thinking ?? '') + text
        return text === '' ? [] : [{ type: 'reasoning', text }]
      }
      case 'signature_delta':
        block.signature = delta.signature ?? ''
        return []
      case 'input_json_delta': {
        const text = delta.partial_json ?? ''
        this.#inputs.set(at, (this.#inputs.get(at) ?? '') + text)
        const position = this.#calls.get(at)
        if (position === undefined || text === '') return []
        return [{ type: 'arguments', index: position, text }]
      }
      case 'citations_delta': {
        const before = Array.isArray(block.citations) ? block.citations : []
        block.citations = [...before, delta.citation ?? null]
        return []
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

/** A later report leaves out what has not changed. */
const merged = (before: ReportedUsage, after: ReportedUsage): ReportedUsage => ({
  ...before,
  ...Object.fromEntries(Object.entries(after ?? {}).filter(([, value]) => value !== null)),
})

const FINISH: Readonly<Record<string, FinishReason>> = {
  tool_use: 'tool_calls',
  max_tokens: 'length',
  pause_turn: 'pause',
  refusal: 'refusal',
  model_context_window_exceeded: 'overflow',
}
