import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import type { Complaint, Json, RawReply, ReplyReader } from '../adapter.ts'
import type { FinishReason, ModelPart } from '../model.ts'
import { invalid, parseJson, toRequestedCalls } from '../replies.ts'
import { ReportedUsage, usageOf } from './usage.ts'

const Block = z.record(z.string(), z.json())
type Block = z.infer<typeof Block>
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
  content_block: Block.default({}),
  delta: Delta.default({}),
  usage: ReportedUsage,
})

/** Reads a message of Anthropic's Messages API. */
export class MessagesReader implements ReplyReader {
  state: ReplyReader['state'] = 'open'
  readonly #blocks: Block[] = []
  /** The JSON texts of the inputs of calls, by the index of their block. */
  readonly #inputs = new Map<number, string>()
  /** Positions among the calls, by the index of their block. */
  readonly #calls = new Map<number, number>()
  #usage: ReportedUsage = null
  #end: z.infer<typeof End> = {}

  read(message: unknown): Result<readonly ModelPart[], Complaint> {
    const event = Event.safeParse(message)
    if (!event.success) return invalid(event.error)
    const { type, index, content_block, delta, usage } = event.data
    switch (type) {
      case 'message_start':
        this.#usage = event.data.message?.usage
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
        this.#usage = merged(this.#usage, usage)
        return ok([])
      case 'message_stop':
        this.state = 'ended'
        return ok([])
      default:
        return ok([])
    }
  }

  get used() {
    return { usage: usageOf('messages', this.#usage), costUsd: null }
  }

  reply(): Result<RawReply, Complaint> {
    const blocks = this.#blocks.map((block, at) => this.#whole(block, at))
    const finishReason = FINISH[this.#end.stop_reason ?? ''] ?? 'stop'
    const texts = blocks.flatMap(({ type, text }) => (type === 'text' ? [String(text ?? '')] : []))
    const explanation = finishReason === 'refusal' ? this.#end.stop_details?.explanation : null
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
    const items = isReadable ? (blocks as Json[]) : null
    return ok({ text: text || null, toolCalls, finishReason, items, ...this.used })
  }

  #begin(at: number, block: Block): Result<readonly ModelPart[], Complaint> {
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
