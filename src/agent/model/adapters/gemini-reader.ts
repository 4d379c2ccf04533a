import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { type Complaint, isObject, type Json, type RawReply, type ReplyReader } from '../adapter.ts'
import type { FinishReason, ModelPart } from '../model.ts'
import { invalid, toRequestedCalls } from '../reply-parts.ts'
import { ReportedUsage, usageOf } from './usage.ts'

const Part = z.record(z.string(), z.json())
type Part = z.infer<typeof Part>

const text = z.string().nullish().catch(null)
/** A piece of a response, or all of it. Other properties are ignored. */
const Piece = z.object({
  candidates: z
    .array(
      z.object({
        content: z.object({ parts: z.array(Part).nullish() }).nullish(),
        finishReason: text,
        finishMessage: text,
      }),
    )
    .nullish(),
  promptFeedback: z.object({ blockReason: text, blockReasonMessage: text }).nullish().catch(null),
  usageMetadata: ReportedUsage,
})

const Call = z.object({
  id: text,
  name: z.string().min(1, 'it has no name'),
  args: z.record(z.string(), z.json()).nullish(),
})

/** Reads a response of Google's generateContent, streamed or not. */
export class GeminiReader implements ReplyReader {
  state: ReplyReader['state'] = 'open'
  readonly #parts: Part[] = []
  #finish: string | null = null
  /** What Google says about the end. */
  #message = ''
  #usage: ReportedUsage = null
  #calls = 0

  read(message: unknown): Result<readonly ModelPart[], Complaint> {
    if (message === '[DONE]') return ok([])
    const piece = Piece.safeParse(message)
    if (!piece.success) return invalid(piece.error)
    const { candidates, promptFeedback, usageMetadata } = piece.data
    this.#usage = usageMetadata ?? this.#usage
    if (promptFeedback?.blockReason) {
      return this.#end('PROHIBITED_CONTENT', promptFeedback.blockReasonMessage ?? '').map(() => [])
    }
    const [candidate] = candidates ?? []
    if (candidate === undefined) return ok([])
    const parts = (candidate.content?.parts ?? []).flatMap((part) => this.#add(part))
    return this.#end(candidate.finishReason ?? '', candidate.finishMessage ?? '').map(() => parts)
  }

  readWhole(message: unknown): Result<readonly ModelPart[], Complaint> {
    const parts = this.read(message)
    if (parts.isErr() || this.state !== 'open') return parts
    return err({ type: 'invalid', what: 'it has no finishReason' })
  }

  get used() {
    return { usage: usageOf('gemini', this.#usage), costUsd: null }
  }

  reply(): Result<RawReply, Complaint> {
    const calls: z.infer<typeof Call>[] = []
    for (const { functionCall } of this.#parts) {
      if (functionCall === undefined) continue
      const call = Call.safeParse(functionCall)
      if (!call.success) return invalid(call.error)
      calls.push(call.data)
    }
    const said = this.#parts.flatMap((part) => (isThought(part) ? [] : [textIn(part)])).join('')
    const finishReason = FINISH[this.#finish ?? ''] ?? 'stop'
    const explained = finishReason === 'refusal' && said.trim() === '' ? this.#message : said
    return ok({
      text: explained.trim() ? explained : null,
      toolCalls: toRequestedCalls(
        calls.map(({ id, name, args }) => ({ id: id ?? null, name, args: args ?? {} })),
      ),
      finishReason,
      items: this.#parts as Json[],
      ...this.used,
    })
  }

  #end(reason: string, message: string): Result<void, Complaint> {
    if (reason === '') return ok()
    if (reason === 'MISSING_THOUGHT_SIGNATURE') {
      const error = { message: `invalid thought signature: ${message || reason}`, code: 400 }
      return err({ type: 'reported', body: { error } })
    }
    this.#finish = reason
    this.#message = message
    // What comes after it can only be the usage.
    this.state = 'may_end'
    return ok()
  }

  #add(part: Part): ModelPart[] {
    this.#keep(part)
    const { functionCall: call } = part
    if (isObject(call)) {
      const index = this.#calls
      this.#calls += 1
      return [
        { type: 'call', index, tool: String(call.name ?? '') },
        { type: 'arguments', index, text: JSON.stringify(call.args ?? {}) },
      ]
    }
    const text = textIn(part)
    return text === '' ? [] : [{ type: isThought(part) ? 'reasoning' : 'text', text }]
  }

  /** Pieces of a text are one part. A part with a signature, or anything else, stays as it came. */
  #keep(part: Part): void {
    const last = this.#parts.at(-1)
    if (
      last !== undefined &&
      isPlain(last) &&
      isPlain(part) &&
      isThought(last) === isThought(part)
    ) {
      last.text = textIn(last) + textIn(part)
    } else if (!isPlain(part) || textIn(part) !== '') this.#parts.push({ ...part })
  }
}

const isThought = ({ thought }: Part): boolean => thought === true
const textIn = ({ text }: Part): string => (typeof text === 'string' ? text : '')
const isPlain = (part: Part): boolean =>
  typeof part.text === 'string' &&
  Object.keys(part).every((name) => name === 'text' || name === 'thought')

/** A whole reply ends with STOP, even one with calls. */
const FINISH: Readonly<Record<string, FinishReason>> = {
  MAX_TOKENS: 'length',
  SAFETY: 'refusal',
  PROHIBITED_CONTENT: 'refusal',
  BLOCKLIST: 'refusal',
  SPII: 'refusal',
  RECITATION: 'refusal',
  LANGUAGE: 'refusal',
  MALFORMED_FUNCTION_CALL: 'malformed',
  UNEXPECTED_TOOL_CALL: 'malformed',
  TOO_MANY_TOOL_CALLS: 'malformed',
  MALFORMED_RESPONSE: 'malformed',
}
