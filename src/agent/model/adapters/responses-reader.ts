import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import type { RequestedCall } from '../../../domain/records.ts'
import type { Complaint, Json, RawReply, ReplyReader } from '../adapter.ts'
import type { FinishReason, ModelPart } from '../model.ts'
import { eventReader, invalid, orNothing, toRequestedCalls } from '../reply-parts.ts'
import { ReportedUsage, usageOf } from './usage.ts'

const ResponseBody = z.object({
  status: z.string().nullish(),
  error: z.looseObject({}).nullish(),
  incomplete_details: z.object({ reason: z.string().nullish() }).nullish().catch(null),
  output: z.array(z.record(z.string(), z.json())),
  usage: ReportedUsage,
})
type ResponseBody = z.infer<typeof ResponseBody>

const Item = z.record(z.string(), z.json())
type Item = z.infer<typeof Item>
const index = z.int().nonnegative()

/** The events that are read. All others are ignored: there are many, and new ones come. */
const Event = z.discriminatedUnion('type', [
  z.object({
    type: z.literal(['response.output_item.added', 'response.output_item.done']),
    output_index: index,
    item: Item,
  }),
  z.object({
    type: z.literal(['response.output_text.delta', 'response.refusal.delta']),
    delta: z.string(),
  }),
  z.object({
    type: z.literal(['response.reasoning_summary_text.delta', 'response.reasoning_text.delta']),
    delta: z.string(),
  }),
  z.object({
    type: z.literal('response.function_call_arguments.delta'),
    output_index: index,
    delta: z.string(),
  }),
  z.object({
    type: z.literal(['response.completed', 'response.incomplete', 'response.failed']),
    response: ResponseBody,
  }),
  z.object({ type: z.literal('error'), message: z.string(), code: z.string().nullish() }),
])
const readEvent = eventReader(Event)

/** Reads a response of the Responses API. */
export class ResponsesReader implements ReplyReader {
  state: ReplyReader['state'] = 'open'
  readonly #items = new Map<number, Item>()
  /** Positions among the calls, by the index of the item. */
  readonly #calls = new Map<number, number>()
  #response: ResponseBody | null = null

  read(message: unknown): Result<readonly ModelPart[], Complaint> {
    return readEvent(message).andThen((event) => (event === null ? ok([]) : this.#take(event)))
  }

  readWhole(message: unknown): Result<readonly ModelPart[], Complaint> {
    const body = ResponseBody.safeParse(message)
    return body.success ? this.#end(body.data) : invalid(body.error)
  }

  get used() {
    return { usage: usageOf('responses', this.#response?.usage), costUsd: null }
  }

  reply(): Result<RawReply, Complaint> {
    const response = this.#response
    if (response === null) return err({ type: 'invalid', what: 'it has no end' })
    // Items that have their own event are whole in it; `output` may leave out their encrypted content.
    const done = [...this.#items].toSorted(([a], [b]) => a - b).map(([, item]) => item)
    const items = done.length > 0 ? done : response.output
    const { text, refusal } = textsOf(items)
    const finishReason = refusal === null ? finishOf(response) : 'refusal'
    return ok({
      text: refusal ?? text,
      toolCalls: this.#toolCalls(items),
      finishReason,
      items: items as Json[],
      remains: phasesOf(items, finishReason),
      ...this.used,
    })
  }

  #take(event: z.infer<typeof Event>): Result<readonly ModelPart[], Complaint> {
    switch (event.type) {
      case 'response.output_item.added': {
        const { type, name } = event.item
        if (type !== 'function_call' || typeof name !== 'string') return ok([])
        const position = this.#calls.size
        this.#calls.set(event.output_index, position)
        return ok([{ type: 'call', index: position, tool: name }])
      }
      case 'response.output_item.done':
        this.#items.set(event.output_index, event.item)
        return ok([])
      case 'response.output_text.delta':
      case 'response.refusal.delta':
        return ok([{ type: 'text', text: event.delta }])
      case 'response.reasoning_summary_text.delta':
      case 'response.reasoning_text.delta':
        return ok([{ type: 'reasoning', text: event.delta }])
      case 'response.function_call_arguments.delta': {
        const position = this.#calls.get(event.output_index)
        if (position === undefined) return ok([])
        return ok([{ type: 'arguments', index: position, text: event.delta }])
      }
      case 'response.completed':
      case 'response.incomplete':
      case 'response.failed':
        return this.#end(event.response)
      case 'error':
        return err({ type: 'reported', body: { message: event.message, code: event.code ?? null } })
    }
  }

  #end(response: ResponseBody): Result<readonly ModelPart[], Complaint> {
    const { status, error } = response
    if (status !== 'completed' && status !== 'incomplete') {
      const message = `the response has the status ${status}`
      return err({ type: 'reported', body: { error: error ?? { message } } })
    }
    this.#response = response
    this.state = 'ended'
    return ok([])
  }

  #toolCalls(items: readonly Item[]): RequestedCall[] {
    const calls = items.filter(({ type }) => type === 'function_call')
    const reported = calls.map(({ call_id, name, arguments: args }) => ({
      id: String(call_id ?? ''),
      name: String(name ?? ''),
      args: String(args ?? ''),
    }))
    return toRequestedCalls(reported)
  }
}

const Content = z.array(
  z.object({ type: z.string(), text: z.string().optional(), refusal: z.string().optional() }),
)

const textIn = ({ content }: Item): string =>
  (Content.safeParse(content).data ?? []).map(({ text = '' }) => text).join('')

/**
 * The messages with their phases, for a reply that is not whole: models work worse if they lose these. What was written
 * before a refusal is not sent back.
 */
function phasesOf(items: readonly Item[], finishReason: FinishReason): Json[] {
  return items.flatMap((item) => {
    const { type, phase = null } = item
    if (type !== 'message' || phase === null) return []
    const content = orNothing(finishReason === 'refusal' ? null : textIn(item))
    return [{ type, role: 'assistant', content, phase }]
  })
}

/** A reply may have several messages: remarks between its steps, and the answer. */
function textsOf(items: readonly Item[]): { text: string | null; refusal: string | null } {
  const messages = items.filter(({ type }) => type === 'message')
  const texts = messages.map(textIn)
  const parts = messages.map(({ content }) => Content.safeParse(content).data ?? [])
  const refusals = parts.flatMap((content) => content.flatMap(({ refusal }) => refusal ?? []))
  const text = texts.filter((part) => part.trim()).join('\n\n')
  return { text: text || null, refusal: refusals.length > 0 ? refusals.join('\n\n') : null }
}

function finishOf({ status, incomplete_details }: ResponseBody): FinishReason {
  if (status !== 'incomplete') return 'stop'
  switch (incomplete_details?.reason) {
    case 'content_filter':
      return 'refusal'
    case 'steered':
    case 'max_messages':
      return 'pause'
    default:
      return 'length'
  }
}
