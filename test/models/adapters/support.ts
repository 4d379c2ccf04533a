import type { IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import type { Adapter } from '../../../src/models/adapter.ts'
import { chatAdapter } from '../../../src/models/adapters/chat.ts'
import { geminiAdapter } from '../../../src/models/adapters/gemini.ts'
import { messagesAdapter } from '../../../src/models/adapters/messages.ts'
import { ollamaAdapter } from '../../../src/models/adapters/ollama.ts'
import { responsesAdapter } from '../../../src/models/adapters/responses.ts'
import type { ModelPart, ModelRequest } from '../../../src/models/model.ts'
import { complete, type Deadlines } from '../../../src/models/models.ts'
import { PROVIDERS } from '../../../src/models/providers.ts'
import type { Api, Endpoint, Route } from '../../../src/models/routing.ts'
import { serve } from '../../support/serve.ts'
import { REQUEST as BARE } from '../support.ts'

export const ADAPTERS: Readonly<Record<Api, Adapter>> = {
  chat: chatAdapter,
  responses: responsesAdapter,
  messages: messagesAdapter,
  gemini: geminiAdapter,
  ollama: ollamaAdapter,
}

/** The APIs that an SDK of the vendor speaks, so that its own reader can be compared. */
export type TestedApi = 'chat' | 'responses' | 'messages'

export const APIS = ['chat', 'responses', 'messages', 'gemini', 'ollama'] as const

const HOSTS = {
  chat: { vendor: null, baseUrl: 'http://127.0.0.1:9/v1', model: 'some-model' },
  responses: { vendor: 'openai', baseUrl: 'https://api.openai.com/v1', model: 'gpt-5.2' },
  messages: {
    vendor: 'anthropic',
    baseUrl: 'https://api.anthropic.com/v1/',
    model: 'claude-opus-5-5',
  },
  gemini: {
    vendor: 'google',
    baseUrl: 'https://generativelanguage.googleapis.com/v1',
    model: 'gemini-3.8-flash',
  },
  ollama: { vendor: 'ollama', baseUrl: 'http://127.0.0.1:11434', model: 'qwen3:8b' },
} as const

const endpointOf = (
  vendor: Endpoint['vendor'],
  baseUrl: string,
  apiKey: string | null = null,
): Endpoint => ({
  vendor,
  baseUrl,
  apiKey,
  name: vendor ?? 'custom',
  keyVariable: vendor === null ? 'RETRAI_LLM_API_KEY' : PROVIDERS[vendor].key,
  headers: {},
})

export function routeTo(api: Api, changes: Partial<Route> & { baseUrl?: string } = {}): Route {
  const { vendor, model, baseUrl } = HOSTS[api]
  const endpoint = endpointOf(vendor, changes.baseUrl ?? baseUrl, 'sk-test-key')
  return { endpoint, model: changes.model ?? model, api, problem: null }
}

const SCHEMA = {
  type: 'object',
  properties: { path: { type: 'string' }, lines: { type: 'integer', minimum: 1 } },
  required: ['path'],
  additionalProperties: false,
}
export const TOOL = { name: 'file_read', description: 'Reads a file.', parameters: SCHEMA }

export const REQUEST: ModelRequest = { ...BARE, modelName: 'm', tools: [TOOL] }

/** Server-sent events with these data. Anthropic and OpenAI's Responses name each by its type. */
export function sse(events: readonly unknown[]): string {
  return events
    .map((event) => {
      if (typeof event === 'string') return `data: ${event}\n\n`
      const { type } = event as { type?: string }
      const name = type === undefined ? '' : `event: ${type}\n`
      return `${name}data: ${JSON.stringify(event)}\n\n`
    })
    .join('')
}

export function streamOf(pieces: readonly Uint8Array[]): Response {
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const piece of pieces) if (piece.length > 0) controller.enqueue(piece)
      controller.close()
    },
  })
  return new Response(body, { headers: { 'content-type': 'text/event-stream' } })
}

type Complete = (
  request: ModelRequest,
  signal: AbortSignal,
  onPart: (part: ModelPart) => void,
) => ReturnType<typeof complete>

/** Completes requests by an adapter. */
export const completeWith = (
  adapter: Adapter,
  route: Route,
  deadlines: Partial<Deadlines> = {},
): Complete => {
  const limits = { totalMs: 60_000, firstMs: 60_000, silenceMs: 60_000, ...deadlines }
  const target = { adapter, route, deadlines: limits }
  return (request, signal, onPart) => complete(request, target, signal, onPart)
}

/** Completes requests by a function in place of the network. */
export const completeBy = (
  api: Api,
  respond: (body: object) => Response | Promise<Response>,
  route: Route = routeTo(api),
): Complete => completeWith({ ...ADAPTERS[api], send: async (body) => respond(body) }, route)

/** Asks an adapter once. */
export async function askBy(adapter: Adapter, route: Route, request: ModelRequest = REQUEST) {
  const parts: ModelPart[] = []
  const { signal } = new AbortController()
  const reply = await completeWith(adapter, route)(request, signal, (part) => parts.push(part))
  return { reply, parts }
}

/** Reads a response that comes in these pieces. */
const readBy = (adapter: Adapter, route: Route, pieces: readonly Uint8Array[]) =>
  askBy({ ...adapter, send: async () => streamOf(pieces) }, route)

/** The same, by the adapter and a model of an API. */
export const read = (api: Api, pieces: readonly Uint8Array[]) =>
  readBy(ADAPTERS[api], routeTo(api), pieces)

type Answer = { readonly status: number; readonly text: string }

/** A provider that answers each request by a function of its body, and is closed after the test. */
export const fakeServer = (answer: (body: never, request: IncomingMessage) => Answer) =>
  serve(async (request, response) => {
    const body = JSON.parse(await text(request))
    const { status, text: answered } = answer(body as never, request)
    response.writeHead(status, { 'content-type': 'text/event-stream' }).end(answered)
  })

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

/** A reply without the one number in it that depends on the clock. */
export const timeless = <T extends { firstTokenMs: number | null }>(reply: T) => ({
  ...reply,
  firstTokenMs: null,
})
