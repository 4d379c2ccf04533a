import type { AssistantMessage, ChatMessage, SentImage } from '../../../domain/conversation.ts'
import { present } from '../../../domain/present.ts'
import { type Adapter, isObject, type Json, schemaOf } from '../adapter.ts'
import type { Effort, ModelRequest, ToolSpec } from '../model.ts'
import { orNothing, parseJson, textOf } from '../reply-parts.ts'
import type { Route } from '../routing.ts'
import { inCallOrder, withAllResults, withImagesApart } from './all-results.ts'
import { CallIds, foreignId, ownItems, plainName } from './call-ids.ts'
import { postJson } from './clients.ts'
import { GeminiReader } from './gemini-reader.ts'
import { geminiSchema } from './gemini-schema.ts'

/**
 * Google's own API. Its SDK rebuilds what it sends and drops fields that it does not know; the signatures of thoughts
 * must go back as they came.
 */
export function geminiAdapter(): Adapter {
  return {
    framing: 'events',
    body: toGeminiBody,
    send: (body, { endpoint, model }, signal) => {
      const { baseUrl, apiKey, own } = endpoint
      const address = `${baseUrl.replace(/\/+$/, '')}/models/${encodeURIComponent(model)}`
      const key: Record<string, string> = apiKey === null ? {} : { 'x-goog-api-key': apiKey }
      const headers = { ...key, ...own?.headers }
      return postJson(`${address}:streamGenerateContent?alt=sse`, body, headers, signal)
    },
    reader: () => new GeminiReader(),
  }
}

type Part = { readonly [name: string]: Json }
type Content = { readonly role: 'user' | 'model'; readonly parts: readonly Part[] }

/** The body of Google's generateContent. */
export function toGeminiBody(request: ModelRequest, route: Route): object {
  const { tools, maxOutputTokens, messages } = request
  const system = messages.flatMap(({ role, content }) => (role === 'system' ? [content] : []))
  const thinkingConfig = thinkingOf(request.effort, route.model)
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
  const ids = new CallIds(foreignId)
  /** The calls of the latest turn: the name of each, and its id if it was sent with one. */
  let calls = new Map<string, { readonly name: string; readonly id: string | null }>()
  const inOrder = inCallOrder(withAllResults(messages))
  for (const message of takesImagesInResults(route.model) ? inOrder : withImagesApart(inOrder)) {
    switch (message.role) {
      case 'system':
        break
      case 'user':
        add('user', [{ text: orNothing(message.content) }, ...imageParts(message.images)])
        break
      case 'assistant': {
        const parts = ownParts(message, route)
        const sent = parts === null ? [] : parts.flatMap(callIn)
        ids.next(
          message.calls,
          sent.flatMap(({ id }) => id ?? []),
        )
        calls = new Map(
          message.calls.map(({ id, tool }, at) => [
            id,
            sent[at] ?? { name: plainName(tool), id: ids.of(id) },
          ]),
        )
        add('model', parts ?? rebuilt(message, ids, route.model))
        break
      }
      case 'tool': {
        const { name = 'unknown', id = null } = calls.get(message.callId) ?? {}
        const parts = imageParts(message.image === undefined ? [] : [message.image])
        const response = {
          ...{ name, response: { output: message.content } },
          ...(parts.length === 0 ? {} : { parts }),
        }
        add('user', [{ functionResponse: id === null ? response : { id, ...response } }])
        break
      }
    }
  }
  return contents
}

const isResult = (part: Part | undefined): boolean => part?.functionResponse !== undefined

/** Since Gemini 3, a result may hold images. Before, they come after the results. */
const takesImagesInResults = needsSignature

const imageParts = (images: readonly SentImage[] = []): Part[] =>
  images.map(({ media_type, data = '' }) => ({ inlineData: { mimeType: media_type, data } }))

/** The parts that this very model sent, unchanged; null if it was another one. */
function ownParts(message: AssistantMessage, route: Route): readonly Part[] | null {
  const items = ownItems(message, route)
  if (items === null || items.length === 0) return null
  const parts = items.filter(isObject)
  return parts.flatMap(callIn).length === message.calls.length ? parts : null
}

/** The call in a part, with the id that Google gave it, if it gave one. */
function callIn({ functionCall: call }: Part): { name: string; id: string | null }[] {
  if (call === undefined || !isObject(call)) return []
  return [{ name: String(call.name ?? ''), id: typeof call.id === 'string' ? call.id : null }]
}

function rebuilt(message: AssistantMessage, ids: CallIds, model: string): Part[] {
  const text = textOf(message)
  return [
    ...(text === null ? [] : [{ text }]),
    ...message.calls.map(({ id, tool, args }, at): Part => {
      const functionCall = { id: ids.of(id), name: plainName(tool), args: argsOf(args) }
      if (at > 0 || !needsSignature(model)) return { functionCall }
      return { functionCall, thoughtSignature: NO_SIGNATURE }
    }),
  ]
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

const LEVELS: Readonly<Record<Effort, string>> = {
  none: 'MINIMAL',
  minimal: 'MINIMAL',
  low: 'LOW',
  medium: 'MEDIUM',
  high: 'HIGH',
  xhigh: 'XHIGH',
  max: 'XHIGH',
}

/** The tokens of thinking that an effort means for Gemini 2.5, which takes a number. */
const BUDGETS: Readonly<Record<Effort, number>> = {
  none: 0,
  minimal: 512,
  low: 1_024,
  medium: 8_192,
  high: 24_576,
  xhigh: 24_576,
  max: 24_576,
}
/** The Pro model of 2.5 cannot be kept from thinking. */
const LEAST_OF_PRO = 128

function thinkingOf(effort: Effort | undefined, model: string): object | null {
  if (/^gemini-(1|2\.0)/.test(model)) return null
  if (effort === undefined) return { includeThoughts: true }
  if (!/^gemini-2\.5/.test(model)) return { thinkingLevel: LEVELS[effort], includeThoughts: true }
  const least = model.includes('pro') ? LEAST_OF_PRO : 0
  const thinkingBudget = Math.max(least, BUDGETS[effort])
  return thinkingBudget === 0 ? { thinkingBudget } : { thinkingBudget, includeThoughts: true }
}
