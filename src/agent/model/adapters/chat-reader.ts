import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import type { Complaint, Json, RawReply, ReplyReader } from '../adapter.ts'
import type { FinishReason, ModelPart } from '../model.ts'
import { invalid, parseJson, toRequestedCalls } from '../reply-parts.ts'
import { type ContentPart, ContentParts, ReasoningDetails } from './chat-reasoning.ts'
import { ReportedCost, ReportedUsage, usageOf } from './usage.ts'

const text = z.string().nullish().catch(null)

/** A call, or a piece of one: everything may be missing. */
const CallPiece = z.object({
  index: z.int().nullish().catch(null),
  id: text,
  function: z
    .object({
      name: text,
      arguments: z.union([z.string(), z.record(z.string(), z.json())]).nullish(),
    })
    .nullish(),
  extra_content: z.json().optional(),
})
type CallPiece = z.infer<typeof CallPiece>

/** The parts of a message that are read, whole or as a piece. Others are ignored: endpoints add many. */
const Piece = z.object({
  content: z.union([z.string(), z.array(z.json())]).nullish(),
  refusal: text,
  reasoning_content: text,
  reasoning: text,
  reasoning_details: z.array(z.json()).nullish().catch(null),
  tool_calls: z.array(CallPiece).nullish(),
})
type Piece = z.infer<typeof Piece>

const Chunk = z.object({
  choices: z
    .array(z.object({ delta: Piece.nullish(), message: Piece.nullish(), finish_reason: text }))
    .nullish(),
  usage: ReportedUsage,
})
const Completion = z.object({
  choices: z.array(z.object({ message: Piece, finish_reason: text })).min(1, 'it has no choices'),
  usage: ReportedUsage,
})

type Call = { id: string | null; name: string; args: string | Record<string, Json>; extra?: Json }

/** Names of the properties in which endpoints send reasoning as a text. */
const REASONING = ['reasoning_content', 'reasoning'] as const

/** Reads a chat completion, streamed or not. */
export class ChatReader implements ReplyReader {
  state: ReplyReader['state'] = 'open'
  readonly #calls: Call[] = []
  /** Positions in `#calls`, by the index that the endpoint gives. */
  readonly #byIndex = new Map<number, number>()
  readonly #content = new ContentParts()
  readonly #details = new ReasoningDetails()
  readonly #reasoning: { [name in (typeof REASONING)[number]]?: string } = {}
  #refusal = ''
  #finish: string | null = null
  #usage: ReportedUsage = null

  read(message: unknown): Result<readonly ModelPart[], Complaint> {
    if (message === '[DONE]') {
      this.state = 'ended'
      return ok([])
    }
    const chunk = Chunk.safeParse(message)
    if (!chunk.success) return invalid(chunk.error)
    const [choice] = chunk.data.choices ?? []
    this.#usage = chunk.data.usage ?? this.#usage
    if (choice === undefined) return ok([])
    const parts = this.#add(choice.delta ?? choice.message ?? {})
    return this.#end(choice.finish_reason ?? '').map(() => parts)
  }

  readWhole(message: unknown): Result<readonly ModelPart[], Complaint> {
    const completion = Completion.safeParse(message)
    if (!completion.success) return invalid(completion.error)
    const [choice] = completion.data.choices
    this.#usage = completion.data.usage ?? null
    const parts = this.#add(choice?.message ?? {})
    return this.#end(choice?.finish_reason || 'stop').map(() => parts)
  }

  get used() {
    return { usage: usageOf('chat', this.#usage), costUsd: ReportedCost.parse(this.#usage?.cost) }
  }

  reply(): Result<RawReply, Complaint> {
    if (this.#calls.some(({ name }) => name === '')) {
      return err({ type: 'invalid', what: 'choices.0.message.tool_calls: a call has no name' })
    }
    const content = withoutThoughts(this.#content.text())
    const refusal = this.#refusal.trim() ? this.#refusal : null
    const finishReason = finishOf(this.#finish ?? '')
    return ok({
      text: content ?? refusal,
      toolCalls: toRequestedCalls(this.#calls),
      finishReason: content === null && refusal !== null ? 'refusal' : finishReason,
      items: this.#items(),
      ...this.used,
    })
  }

  #end(reason: string): Result<void, Complaint> {
    if (reason === '') return ok()
    if (FAILED.has(reason)) {
      const message = `the reply ended with ${reason}`
      return err({ type: 'reported', body: { error: { message, code: 'overloaded_error' } } })
    }
    this.#finish = reason
    this.state = 'may_end'
    return ok()
  }

  #add(piece: Piece | Record<string, never>): ModelPart[] {
    const parts: ModelPart[] = []
    for (const name of REASONING) {
      const added = piece[name]
      if (!added) continue
      this.#reasoning[name] = (this.#reasoning[name] ?? '') + added
      // An endpoint may send the same text under both names.
      if (name === 'reasoning_content' || !piece.reasoning_content) {
        parts.push({ type: 'reasoning', text: added })
      }
    }
    this.#details.add(piece.reasoning_details ?? [])
    parts.push(...this.#content.add(piece.content ?? []))
    this.#refusal += piece.refusal ?? ''
    const calls = piece.tool_calls ?? []
    return [...parts, ...calls.flatMap((call, position) => this.#addCall(call, position))]
  }

  #addCall(piece: CallPiece, position: number): ModelPart[] {
    const { id, function: called, extra_content: extra } = piece
    const index = this.#positionOf(piece, position)
    const parts: ModelPart[] = []
    const call = this.#calls[index] ?? { id: null, name: '', args: '' }
    this.#calls[index] = call
    call.id ??= id ?? null
    if (call.name === '' && called?.name) {
      call.name = called.name
      parts.push({ type: 'call', index, tool: called.name })
    }
    if (extra !== undefined) call.extra = extra
    const added = called?.arguments
    if (typeof added === 'string' && typeof call.args === 'string') call.args += added
    else if (typeof added === 'object' && added !== null) call.args = added
    if (added) {
      const written = typeof added === 'string' ? added : JSON.stringify(added)
      parts.push({ type: 'arguments', index, text: written })
    }
    return parts
  }

  /** A piece continues the call of its index, or else the last one, unless another call begins with it. */
  #positionOf(piece: CallPiece, position: number): number {
    const { index } = piece
    const last = this.state === 'open' && position === 0 ? this.#calls.length - 1 : -1
    const at = (typeof index === 'number' ? this.#byIndex.get(index) : last) ?? -1
    const call = this.#calls[at]
    const found = call === undefined || beginsAnother(piece, call) ? this.#calls.length : at
    if (typeof index === 'number') this.#byIndex.set(index, found)
    return found
  }

  /** What an assistant's message gets in addition when it goes back to the same endpoint. */
  #items(): Json[] | null {
    const details = this.#details.all()
    const calls = this.#calls.flatMap(({ extra }, index) =>
      extra === undefined ? [] : [{ index, extra_content: extra }],
    )
    const content = this.#content.reasoningParts()
    const message = {
      ...(details.length > 0 ? { reasoning_details: details } : this.#reasoning),
      ...(content === null ? {} : { content: content as ContentPart[] as Json[] }),
      ...(calls.length > 0 ? { tool_calls: calls } : {}),
    }
    return Object.keys(message).length === 0 ? null : [message as Json]
  }
}

/** Some endpoints give all calls of a reply the same index, some repeat the name in each piece, some give no ids. */
function beginsAnother({ id, index, function: called }: CallPiece, before: Call): boolean {
  if (id && before.id !== null && before.id !== '') {
    return id !== before.id && (typeof index !== 'number' || Boolean(called?.name))
  }
  if (typeof index !== 'number' && id) return true
  return Boolean(called?.name && called.arguments) && before.name !== '' && isWhole(before.args)
}

const isWhole = (args: Call['args']): boolean => typeof args !== 'string' || parseJson(args).isOk()

/** Some local servers leave the reasoning in the text. */
function withoutThoughts(content: string | null): string | null {
  const said = content?.replace(/^\s*<think>[\s\S]*?<\/think>\s*/, '')
  return said?.trim() ? said : null
}

/** Reasons that report a failure of the endpoint. */
const FAILED: ReadonlySet<string> = new Set([
  'error',
  'network_error',
  'insufficient_system_resource',
])

const FINISH: Readonly<Record<string, FinishReason>> = {
  length: 'length',
  max_tokens: 'length',
  content_filter: 'refusal',
  refusal: 'refusal',
  sensitive: 'refusal',
  safety: 'refusal',
  model_context_window_exceeded: 'overflow',
  malformed_function_call: 'malformed',
}

function finishOf(reason: string): FinishReason {
  return FINISH[reason.toLowerCase()] ?? 'stop'
}
