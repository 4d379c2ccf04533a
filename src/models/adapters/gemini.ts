import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import type { ChatMessage, SentImage } from '../../domain/conversation.ts'
import { present } from '../../domain/present.ts'
import {
  type Adapter,
  type Complaint,
  isObject,
  type Json,
  type RawReply,
  type ReplyReader,
} from '../adapter.ts'
import type { FinishReason, ModelPart, ModelRequest, ToolSpec } from '../model.ts'
import { invalid, parseJson, toRequestedCalls } from '../replies.ts'
import { addressOf, type Route } from '../routing.ts'
import { postTo } from '../send.ts'
import { foreignId, sentConversation } from './sent-conversation.ts'
import { geminiThinking } from './thinking.ts'
import { geminiSchema, schemaOf } from './tool-schemas.ts'
import { ReportedUsage, usageOf } from './usage.ts'

/** Google's own API. */
export const geminiAdapter: Adapter = {
  framing: 'events',
  body: toGeminiBody,
  send: postTo(({ endpoint, model }) => {
    const { apiKey, headers } = endpoint
    const key: Record<string, string> = apiKey === null ? {} : { 'x-goog-api-key': apiKey }
    const path = `models/${encodeURIComponent(model)}:streamGenerateContent?alt=sse`
    return { url: `${addressOf(endpoint)}/${path}`, headers: { ...key, ...headers } }
  }),
  reader: () => new GeminiReader(),
}

const Part = z.record(z.string(), z.json())
type Part = z.infer<typeof Part>
type Content = { readonly role: 'user' | 'model'; readonly parts: readonly Part[] }

/** The body of Google's generateContent. */
function toGeminiBody(request: ModelRequest, route: Route): object {
  const { tools, maxOutputTokens, messages } = request
  const system = messages.flatMap(({ role, content }) => (role === 'system' ? [content] : []))
  const thinkingConfig = geminiThinking(route.model, request.effort)
  return {
    ...(system.length === 0
      ? {}
      : { systemInstruction: { parts: [{ text: system.join('\n\n') }] } }),
    ...(tools.length === 0 ? {} : { tools: [{ functionDeclarations: tools.map(toDeclaration) }] }),
    generationConfig: present({ maxOutputTokens, thinkingConfig }),
    contents: toContents(messages, route),
  }
}

/** Since Gemini 3, each step must have the signature of the thought that led to its first call. */
const needsSignature = (model: string): boolean => !/^gemini-[12]\b/.test(model)

/** Google documents this value for calls without a signature, such as those of other models. */
const NO_SIGNATURE = 'skip_thought_signature_validator'

function toContents(messages: readonly ChatMessage[], route: Route): Content[] {
  const contents: { role: Content['role']; parts: Part[] }[] = []
  const add = (role: Content['role'], parts: readonly Part[]) => {
    const last = contents.at(-1)
    // All results of a step are one content. Since Gemini 3.6, nothing else may be in it.
    const isSame = last?.role === role && isResult(last.parts[0]) === isResult(parts[0])
    if (isSame && role === 'user') last.parts.push(...parts)
    else contents.push({ role, parts: [...parts] })
  }
  const isNew = needsSignature(route.model)
  // Since Gemini 3, a result may hold images.
  const wanted = { idOf: foreignId, callIn, takesImages: isNew }
  for (const message of sentConversation(messages, route, wanted)) {
    switch (message.role) {
      case 'system':
        break
      case 'user':
        add('user', [{ text: message.content }, ...imageParts(message.images)])
        break
      case 'assistant': {
        const { text, calls, own } = message
        const said = text === null ? [] : [{ text }]
        const parts = calls.map(({ id, name, args }, at) => ({
          functionCall: { id, name, args: argsOf(args) },
          ...(at === 0 && isNew ? { thoughtSignature: NO_SIGNATURE } : {}),
        }))
        add('model', own?.filter(isObject) ?? [...said, ...parts])
        break
      }
      case 'tool': {
        const { id, name } = message.call
        const parts = imageParts(message.image === undefined ? [] : [message.image])
        const response = { output: message.content }
        const shown = parts.length > 0 ? { parts } : {}
        add('user', [{ functionResponse: present({ id, name, response, ...shown }) as Part }])
      }
    }
  }
  return contents
}

const isResult = (part: Part | undefined): boolean => part?.functionResponse !== undefined

const imageParts = (images: readonly SentImage[]): Part[] =>
  images.map(({ media_type, data = '' }) => ({ inlineData: { mimeType: media_type, data } }))

/** The call in a part. Older models give it no id. */
function callIn({ functionCall: call }: Part) {
  if (call === undefined || !isObject(call)) return null
  return { name: String(call.name ?? ''), id: typeof call.id === 'string' ? call.id : null }
}

function argsOf(text: string): { [name: string]: Json } {
  const args = parseJson(text).unwrapOr(null)
  return isObject(args) ? args : {}
}

const toDeclaration = ({ name, description, ...tool }: ToolSpec) => ({
  name,
  description,
  parametersJsonSchema: geminiSchema(schemaOf(tool) as { [name: string]: Json }),
})

const text = z.string().nullish().catch(null)
/** A piece of a response. Other properties are ignored. */
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

/** Reads a response of Google's generateContent. */
class GeminiReader implements ReplyReader {
  state: ReplyReader['state'] = 'open'
  used: ReplyReader['used'] = { usage: null, costUsd: null }
  readonly #parts: Part[] = []
  #finish = ''
  /** What Google says about the end. */
  #message = ''
  #calls = 0

  read(message: unknown): Result<readonly ModelPart[], Complaint> {
    const piece = Piece.safeParse(message)
    if (!piece.success) return invalid(piece.error)
    const { candidates, promptFeedback: blocked, usageMetadata } = piece.data
    if (usageMetadata) this.used = { usage: usageOf('gemini', usageMetadata), costUsd: null }
    const [candidate] = candidates ?? []
    const parts = (candidate?.content?.parts ?? []).flatMap((part) => this.#add(part))
    const { finishReason, finishMessage: why } = candidate ?? {}
    if (finishReason === 'MISSING_THOUGHT_SIGNATURE') {
      const error = { message: `invalid thought signature: ${why || finishReason}`, code: 400 }
      return err({ type: 'reported', body: { error } })
    }
    const end = blocked?.blockReason ? 'PROHIBITED_CONTENT' : finishReason
    if (!end) return ok(parts)
    this.#finish = end
    this.#message = why ?? blocked?.blockReasonMessage ?? ''
    // What comes after it can only be the usage.
    this.state = 'may_end'
    return ok(parts)
  }

  reply(): Result<RawReply, Complaint> {
    const found = z.array(Call).safeParse(this.#parts.flatMap((part) => part.functionCall ?? []))
    if (!found.success) return invalid(found.error)
    const said = this.#parts.map((part) => (isThought(part) ? '' : textIn(part))).join('')
    const finishReason = FINISH[this.#finish] ?? 'stop'
    const explained = finishReason === 'refusal' && said.trim() === '' ? this.#message : said
    return ok({
      text: explained.trim() ? explained : null,
      toolCalls: toRequestedCalls(
        found.data.map(({ id, name, args }) => ({ id: id ?? null, name, args: args ?? {} })),
      ),
      finishReason,
      items: this.#parts as Json[],
      ...this.used,
    })
  }

  /** Pieces of a text are one part. A part with a signature, or anything else, stays as it came. */
  #add(part: Part): ModelPart[] {
    const last = this.#parts.at(-1)
    const text = textIn(part)
    const isSame = last !== undefined && isThought(last) === isThought(part)
    if (isSame && isPlain(last) && isPlain(part)) last.text = textIn(last) + text
    else if (!isPlain(part) || text !== '') this.#parts.push({ ...part })
    const { functionCall: call } = part
    if (!isObject(call)) {
      return text === '' ? [] : [{ type: isThought(part) ? 'reasoning' : 'text', text }]
    }
    const index = this.#calls
    this.#calls += 1
    return [
      { type: 'call', index, tool: String(call.name ?? '') },
      { type: 'arguments', index, text: JSON.stringify(call.args ?? {}) },
    ]
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
