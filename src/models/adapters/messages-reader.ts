import { err, ok } from 'neverthrow'
import * as z from 'zod'
import type { Json } from '../adapter.ts'
import type { FinishReason, ModelPart } from '../model.ts'
import { JsonObject, parseJson, toRequestedCalls } from '../replies.ts'
import { ApiReader, type Taken, type Told } from './reader.ts'
import { ReportedUsage } from './usage.ts'

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
      ...{ calls, finishReason },
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
