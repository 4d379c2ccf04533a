import { err, ok } from 'neverthrow'
import * as z from 'zod'
import type { Json } from '../adapter.ts'
import type { FinishReason, ModelPart } from '../model.ts'
import { JsonObject } from '../replies.ts'
import { ApiReader, looseText, type Taken, type Told } from './reader.ts'
import { ReportedUsage, reportedCost, usageOf } from './usage.ts'

/** A call, or a piece of one: everything may be missing. */
const CallPiece = z.object({
  index: z.int().nullish().catch(null),
  id: looseText,
  function: z
    .object({ name: looseText, arguments: z.union([z.string(), JsonObject]).nullish() })
    .nullish(),
})
type CallPiece = z.infer<typeof CallPiece>

/** A part of OpenRouter's `reasoning_details`, or a piece of one. */
const Detail = z.looseObject({ type: z.string(), index: z.number().nullish() })
type Detail = z.infer<typeof Detail>

/** What is read of a piece of a message. Endpoints add much more. */
const Piece = z.object({
  content: looseText,
  refusal: looseText,
  reasoning_content: looseText,
  reasoning: looseText,
  reasoning_details: z.array(Detail).nullish().catch(null),
  tool_calls: z.array(CallPiece).nullish(),
})
type Piece = z.infer<typeof Piece>

const Chunk = z.object({
  choices: z.array(z.object({ delta: Piece.nullish(), finish_reason: looseText })).nullish(),
  usage: ReportedUsage,
})
type Chunk = z.infer<typeof Chunk>

type Call = { id: string | null; name: string; args: string | JsonObject }

/** Names of the properties in which endpoints send reasoning as a text. */
const REASONING = ['reasoning_content', 'reasoning'] as const

/** Reads a chat completion. */
export class ChatReader extends ApiReader<Chunk> {
  protected readonly api = 'chat'
  protected readonly schema = Chunk
  readonly #calls: Call[] = []
  /** Positions in `#calls`, by the index that the endpoint gives. */
  readonly #byIndex = new Map<number, number>()
  #content = ''
  readonly #details: Detail[] = []
  readonly #reasoning: { [name in (typeof REASONING)[number]]?: string } = {}
  #refusal = ''
  #finish = ''

  done(): void {
    this.state = 'ended'
  }

  take({ choices, usage }: Chunk): Taken {
    if (usage) this.used = { usage: usageOf('chat', usage), costUsd: reportedCost(usage) }
    const { delta, finish_reason: reason } = choices?.[0] ?? {}
    const parts = this.#add(delta ?? {})
    if (!reason) return ok(parts)
    if (FAILED.includes(reason)) {
      const message = `the reply ended with ${reason}`
      return err({ type: 'reported', body: { error: { message, code: 'overloaded_error' } } })
    }
    this.#finish = reason
    this.state = 'may_end'
    return ok(parts)
  }

  told(): Told {
    if (this.#calls.some(({ name }) => name === '')) {
      return err({ type: 'invalid', what: 'choices.0.message.tool_calls: a call has no name' })
    }
    const content = withoutThoughts(this.#content)
    const isRefusal = content === '' && this.#refusal.trim() !== ''
    return ok({
      text: isRefusal ? this.#refusal : content,
      calls: this.#calls,
      finishReason: isRefusal ? 'refusal' : (FINISH[this.#finish.toLowerCase()] ?? 'stop'),
      items: this.#items(),
    })
  }

  #add(piece: Partial<Piece>): ModelPart[] {
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
    for (const detail of piece.reasoning_details ?? []) addDetail(this.#details, detail)
    const { content, tool_calls: calls } = piece
    this.#content += content ?? ''
    if (content) parts.push({ type: 'text', text: content })
    this.#refusal += piece.refusal ?? ''
    parts.push(...(calls ?? []).flatMap((call, position) => this.#addCall(call, position)))
    return parts
  }

  #addCall(piece: CallPiece, position: number): ModelPart[] {
    const { id, function: called } = piece
    const index = this.#positionOf(piece, position)
    const parts: ModelPart[] = []
    const call = this.#calls[index] ?? { id: null, name: '', args: '' }
    this.#calls[index] = call
    call.id ??= id ?? null
    if (call.name === '' && called?.name) {
      call.name = called.name
      parts.push({ type: 'call', index, tool: called.name })
    }
    const added = called?.arguments
    if (!added) return parts
    if (typeof added === 'object') call.args = added
    else if (typeof call.args === 'string') call.args += added
    const written = typeof added === 'string' ? added : JSON.stringify(added)
    return [...parts, { type: 'arguments', index, text: written }]
  }

  /** A piece continues the call of its index, or the last one, unless it brings another id. */
  #positionOf({ id, index }: CallPiece, position: number): number {
    const at = this.#byIndex.get(index ?? position) ?? -1
    const known = this.#calls[at]
    const isOther = known === undefined || (id && known.id && id !== known.id)
    const found = isOther ? this.#calls.length : at
    this.#byIndex.set(index ?? position, found)
    return found
  }

  /** What an assistant's message gets in addition when it goes back to the same endpoint. */
  #items(): Json[] | null {
    const details = this.#details as Json[]
    const message = details.length > 0 ? { reasoning_details: details } : this.#reasoning
    return Object.keys(message).length === 0 ? null : [message as Json]
  }
}

/** Properties of a detail of which each chunk brings a piece. */
const JOINED: ReadonlySet<string> = new Set(['text', 'summary', 'data'])

/** Adds a piece of a list that must go back unchanged. */
function addDetail(all: Detail[], piece: Detail): void {
  const { type, index } = piece
  const isSame = (detail: Detail) => detail.index === index && detail.type === type
  const known = typeof index === 'number' ? all.find(isSame) : undefined
  if (known === undefined) return void all.push({ ...piece })
  for (const [name, value] of Object.entries(piece)) {
    const before = known[name]
    const isJoined = JOINED.has(name) && typeof before === 'string' && typeof value === 'string'
    if (isJoined) known[name] = before + value
    else if (value !== null && value !== undefined) known[name] = value
  }
}

/** Some local servers leave the reasoning in the text. */
const withoutThoughts = (content: string): string => {
  const said = content.replace(/^\s*<think>[\s\S]*?<\/think>\s*/, '')
  return said.trim() ? said : ''
}

/** Reasons that report a failure of the endpoint. */
const FAILED: readonly string[] = ['error', 'network_error', 'insufficient_system_resource']

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
