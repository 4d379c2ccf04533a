import { err, ok } from 'neverthrow'
import * as z from 'zod'
import type { SentImage } from '../../domain/conversation.ts'
import { present } from '../../domain/present.ts'
import { type Adapter, isObject } from '../adapter.ts'
import type { FinishReason, ModelPart, ModelRequest, ToolSpec } from '../model.ts'
import { invalid, JsonObject, parseJson } from '../replies.ts'
import { addressOf, type Route } from '../routing.ts'
import { postTo } from '../send.ts'
import { ApiReader, looseText, type Taken, type Told, wholeCall } from './reader.ts'
import { type Forms, foreignId, written } from './sent-conversation.ts'
import { geminiThinking } from './thinking.ts'
import { geminiSchema, schemaOf } from './tool-schemas.ts'
import { ReportedUsage } from './usage.ts'

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

type Part = JsonObject
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
    contents: joined(written(messages, route, formsFor(route.model))),
  }
}

/** Since Gemini 3, each step must have the signature of the thought that led to its first call. */
const needsSignature = (model: string): boolean => !/^gemini-[12]\b/.test(model)

/** Google documents this value for calls without a signature, such as those of other models. */
const NO_SIGNATURE = 'skip_thought_signature_validator'

function formsFor(model: string): Forms<Content> {
  const isNew = needsSignature(model)
  return {
    system: () => [],
    user: ({ role, content, images }) => ({
      role,
      parts: [{ text: content }, ...imageParts(images)],
    }),
    assistant: ({ text, calls, own }) => {
      const said = text === null ? [] : [{ text }]
      const parts = calls.map(({ id, name, args }, at) => ({
        functionCall: { id, name, args: argsOf(args) },
        ...(at === 0 && isNew ? { thoughtSignature: NO_SIGNATURE } : {}),
      }))
      return { role: 'model', parts: own?.filter(isObject) ?? [...said, ...parts] }
    },
    tool: ({ call: { id, name }, content, image }) => {
      const parts = imageParts(image === undefined ? [] : [image])
      const shown = parts.length > 0 ? { parts } : {}
      const answer = present({ id, name, response: { output: content }, ...shown })
      return { role: 'user', parts: [{ functionResponse: answer as Part }] }
    },
    idOf: foreignId,
    callIn,
    // Since Gemini 3, a result may hold images.
    takesImages: isNew,
  }
}

/** All results of a step are one content. Since Gemini 3.6, nothing else may be in it. */
function joined(contents: readonly Content[]): Content[] {
  const all: Content[] = []
  for (const { role, parts } of contents) {
    const last = all.at(-1)
    const isSame = last?.role === role && isResult(last.parts[0]) === isResult(parts[0])
    if (isSame && role === 'user') all[all.length - 1] = { role, parts: [...last.parts, ...parts] }
    else all.push({ role, parts })
  }
  return all
}

const isResult = (part: Part | undefined): boolean => part?.functionResponse !== undefined

const imageParts = (images: readonly SentImage[]): Part[] =>
  images.map(({ media_type, data = '' }) => ({ inlineData: { mimeType: media_type, data } }))

/** The call in a part. Older models give it no id. */
function callIn({ functionCall: call }: Part) {
  if (call === undefined || !isObject(call)) return null
  return { name: String(call.name ?? ''), id: typeof call.id === 'string' ? call.id : null }
}

function argsOf(text: string): JsonObject {
  const args = parseJson(text).unwrapOr(null)
  return isObject(args) ? args : {}
}

const toDeclaration = ({ name, description, ...tool }: ToolSpec) => ({
  name,
  description,
  parametersJsonSchema: geminiSchema(schemaOf(tool) as JsonObject),
})

/** A piece of a response. Other properties are ignored. */
const Piece = z.object({
  candidates: z
    .array(
      z.object({
        content: z.object({ parts: z.array(JsonObject).nullish() }).nullish(),
        finishReason: looseText,
        finishMessage: looseText,
      }),
    )
    .nullish(),
  promptFeedback: z
    .object({ blockReason: looseText, blockReasonMessage: looseText })
    .nullish()
    .catch(null),
  usageMetadata: ReportedUsage,
})
type Piece = z.infer<typeof Piece>

const Call = z.object({
  id: looseText,
  name: z.string().min(1, 'it has no name'),
  args: JsonObject.nullish(),
})

/** Reads a response of Google's generateContent. */
class GeminiReader extends ApiReader<Piece> {
  protected readonly api = 'gemini'
  protected readonly schema = Piece
  readonly #parts: Part[] = []
  #finish = ''
  /** What Google says about the end. */
  #message = ''
  #calls = 0

  take({ candidates, promptFeedback: blocked, usageMetadata }: Piece): Taken {
    if (usageMetadata) this.report(usageMetadata)
    const { content, finishReason, finishMessage: why } = candidates?.[0] ?? {}
    const parts = (content?.parts ?? []).flatMap((part) => this.#add(part))
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

  told(): Told {
    const found = z.array(Call).safeParse(this.#parts.flatMap((part) => part.functionCall ?? []))
    if (!found.success) return invalid(found.error)
    const said = this.#parts.map((part) => (isThought(part) ? '' : textIn(part))).join('')
    const finishReason = FINISH[this.#finish] ?? 'stop'
    return ok({
      text: finishReason === 'refusal' && said.trim() === '' ? this.#message : said,
      calls: found.data.map(({ id = null, name, args }) => ({ id, name, args: args ?? {} })),
      finishReason,
      items: this.#parts,
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
    this.#calls += 1
    return wholeCall(this.#calls - 1, String(call.name ?? ''), call.args ?? {})
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
