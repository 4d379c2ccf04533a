import { createAnthropic } from '@ai-sdk/anthropic'
import { createGoogle } from '@ai-sdk/google'
import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { describe, expect, test } from 'vitest'
import type { ModelReply, ModelRequest } from '../../../../src/agent/model/model.ts'
import type { ChatMessage } from '../../../../src/domain/conversation.ts'
import { STREAMS } from './streams.ts'
import { bytes, completeBy, REQUEST, routeTo, streamOf, TOOL } from './support.ts'

type Model = ReturnType<ReturnType<typeof createOpenAI>['responses']>
type CallOptions = Parameters<Model['doStream']>[0]
type Prompt = CallOptions['prompt']
type AssistantPart = Extract<Prompt[number], { role: 'assistant' }>['content'][number]
type Api = keyof typeof STREAMS

/** A fetch that records each body and replies with the stream of this API. */
function recording(api: Api) {
  const bodies: object[] = []
  const fetch: typeof globalThis.fetch = async (_, init) => {
    bodies.push(JSON.parse(String(init?.body)))
    return streamOf([bytes(STREAMS[api])])
  }
  return { bodies, fetch }
}

/** The model of the AI SDK, with the options that ask for what this server asks for. */
function theirModel(api: Api, fetch: typeof globalThis.fetch) {
  const settings = { apiKey: 'k', fetch }
  const { model } = routeTo(api)
  switch (api) {
    case 'responses':
      return createOpenAI(settings).responses(model)
    case 'messages':
      return createAnthropic(settings)(model)
    case 'gemini':
      return createGoogle(settings)(model)
    case 'chat': {
      const own = { name: 'own', baseURL: 'http://127.0.0.1:9/v1', includeUsage: true }
      return createOpenAICompatible({ ...settings, ...own })(model)
    }
  }
}

const OPTIONS: Readonly<Record<Api, CallOptions['providerOptions']>> = {
  responses: {
    openai: {
      ...{ store: false, reasoningSummary: 'auto', promptCacheKey: 'r' },
      instructions: 'You fix programs.',
    },
  },
  messages: { anthropic: { thinking: { type: 'adaptive', display: 'summarized' } } },
  gemini: { google: { thinkingConfig: { includeThoughts: true } } },
  chat: {},
}

const MARK = { anthropic: { cacheControl: { type: 'ephemeral' } } }

/** The same conversation in the types of the AI SDK. The results of a reply are one message there. */
function promptOf(messages: readonly ChatMessage[], own: readonly AssistantPart[]): Prompt {
  const prompt: Prompt = []
  for (const message of messages) {
    switch (message.role) {
      case 'system':
        prompt.push({ role: 'system', content: message.content, providerOptions: MARK })
        break
      case 'user':
        prompt.push({ role: 'user', content: [{ type: 'text', text: message.content }] })
        break
      case 'assistant': {
        const text = { type: 'text' as const, text: message.content ?? '' }
        const calls = message.calls.map(({ id, tool, args }) => {
          const call = { toolCallId: id, toolName: tool, input: JSON.parse(args) }
          return { type: 'tool-call' as const, ...call }
        })
        const isOwn = message.items !== undefined
        prompt.push({ role: 'assistant', content: isOwn ? [...own] : [text, ...calls] })
        break
      }
      case 'tool': {
        const output = { type: 'text' as const, value: message.content }
        const part = { toolCallId: message.callId, toolName: 'file_read', output }
        const last = prompt.at(-1)
        const results = last?.role === 'tool' ? last.content : []
        if (last?.role !== 'tool') prompt.push({ role: 'tool', content: results })
        results.push({ type: 'tool-result', ...part })
      }
    }
  }
  return prompt
}

type StreamPart =
  Awaited<ReturnType<Model['doStream']>>['stream'] extends ReadableStream<infer P> ? P : never

/** What the AI SDK makes of a stream: its usage, and the content of the assistant's message that goes back. */
async function theirReply(model: Model, options: CallOptions) {
  const { stream } = await model.doStream(options)
  const parts: AssistantPart[] = []
  /** The texts under way. */
  const open = new Map<string, Extract<AssistantPart, { text: string }>>()
  let usage: Extract<StreamPart, { type: 'finish' }>['usage'] | undefined
  for await (const part of stream) {
    switch (part.type) {
      case 'error':
        throw part.error
      case 'finish':
        usage = part.usage
        break
      case 'tool-call': {
        const { providerMetadata: providerOptions, input, ...call } = part
        const options = providerOptions === undefined ? {} : { providerOptions }
        parts.push({ ...call, input: JSON.parse(input), ...options })
        break
      }
      case 'text-start':
      case 'reasoning-start': {
        const type = part.type === 'text-start' ? 'text' : 'reasoning'
        const begun = { type, text: '' } as const
        parts.push(begun)
        open.set(part.id, begun)
      }
    }
    const text = 'id' in part ? open.get(part.id) : undefined
    if (text === undefined) continue
    if (part.type === 'text-delta' || part.type === 'reasoning-delta') text.text += part.delta
    const options = 'providerMetadata' in part ? part.providerMetadata : undefined
    if (options !== undefined) text.providerOptions = { ...text.providerOptions, ...options }
  }
  return { parts, usage }
}

/** Every value in a body, by its path. */
function leaves(value: unknown, path = ''): Map<string, string> {
  const entries = typeof value === 'object' && value !== null ? Object.entries(value) : []
  if (entries.length === 0) return new Map([[path, JSON.stringify(value)]])
  return new Map(entries.flatMap(([name, inner]) => [...leaves(inner, `${path}/${name}`)]))
}

/** The paths at which two bodies have different values. */
function differences(ours: object, theirs: object): string[] {
  const [a, b] = [leaves(ours), leaves(theirs)]
  return [...new Set([...a.keys(), ...b.keys()])].filter((path) => a.get(path) !== b.get(path))
}

const foreign: ChatMessage[] = [
  {
    role: 'assistant',
    content: 'I read two files.',
    calls: [
      { id: 'call_a', tool: 'file_read', args: '{"path":"a.py"}' },
      { id: 'call_b', tool: 'file_read', args: '{"path":"b.py"}' },
    ],
  },
  { role: 'tool', callId: 'call_a', content: 'of a' },
  { role: 'tool', callId: 'call_b', content: 'of b' },
  { role: 'user', content: 'The goal is not reached yet.' },
]

/** The conversation after a reply, with the results of its calls. */
function after({ text, toolCalls, providerItems }: ModelReply): ChatMessage[] {
  return [
    {
      role: 'assistant',
      content: text,
      calls: toolCalls.map(({ call_id, tool, args }) => ({
        id: call_id,
        tool,
        args: JSON.stringify(args),
      })),
      ...(providerItems === null ? {} : { items: providerItems }),
    },
    ...toolCalls.map(
      ({ call_id }): ChatMessage => ({ role: 'tool', callId: call_id, content: 'x = 1' }),
    ),
  ]
}

/** The bodies of both for a first request, and for the second one after the reply to it. */
async function both(api: Api) {
  const [ours, theirs] = [recording(api), recording(api)]
  const complete = completeBy(api, (body) => ours.fetch('http://x', { body: JSON.stringify(body) }))
  const model = theirModel(api, theirs.fetch)
  const { name, description, parameters } = TOOL
  const tools = [{ type: 'function' as const, name, description, inputSchema: parameters }]
  const ask = async (messages: readonly ChatMessage[], own: readonly AssistantPart[]) => {
    const request: ModelRequest = { ...REQUEST, messages, cacheKey: 'r', maxOutputTokens: 9_000 }
    const reply = await complete(request, new AbortController().signal, () => {})
    const options = {
      prompt: promptOf(api === 'responses' ? messages.slice(1) : messages, own),
      maxOutputTokens: 9_000,
      tools,
      providerOptions: OPTIONS[api],
    } as CallOptions
    return { reply: reply._unsafeUnwrap(), ...(await theirReply(model, options)) }
  }
  const opening = [...REQUEST.messages, ...foreign]
  const first = await ask(opening, [])
  const messages = [...opening, ...after(first.reply)]
  await ask(messages, first.parts)
  return { first, ours: ours.bodies, theirs: theirs.bodies }
}

/** Why both differ at the paths that match. Nothing else may differ, and each reason must be needed. */
const REASONS: Readonly<Record<Api, readonly (readonly [path: RegExp, reason: string])[]>> = {
  chat: [],
  responses: [
    [
      /^\/stream_options/,
      'Padding of the stream only costs bandwidth between this server and OpenAI.',
    ],
    [/^\/tools\/\d+\/(strict|parameters)/, 'This server sends schemas that OpenAI can enforce.'],
    [
      /^\/input\/\d+\/call_id$/,
      'Ids of other models get a prefix: no id of OpenAI is equal to one.',
    ],
    [/^\/input\/[06]\/content/, 'A text, or a list with this text, are the same to OpenAI.'],
    [/^\/input\/8\/(type|content)/, 'This server sends a message as it came, not only its text.'],
    [
      /^\/input\/(8|9|10)\/(id|status)$/,
      'This server sends items as they came, with id and status.',
    ],
  ],
  messages: [
    [
      /\/(id|tool_use_id)$/,
      'Ids of other models get a prefix: no id of Anthropic is equal to one.',
    ],
    [/cache_control\/type$/, 'The AI SDK marks nothing by itself: its callers do.'],
    [
      /^\/tools\/0\/eager_input_streaming$/,
      'Without it, Anthropic checks that arguments are JSON.',
    ],
    [
      /^\/tools\/0\/(strict|input_schema)/,
      'This server sends schemas that Anthropic can enforce, which are those without limits of numbers.',
    ],
    [/citations$/, 'This server sends a block as it came, with the fields that are null.'],
  ],
  gemini: [
    [/\/id$/, 'Ids of other models get a prefix: no id of Google is equal to one.'],
    [/functionResponse\/response/, 'Google documents `output` for results; other names are data.'],
    [
      /^\/contents\/1\/parts\/2\/thoughtSignature$/,
      'Google wants one only on the first call of a step.',
    ],
  ],
}

describe.each(Object.keys(STREAMS) as Api[])(
  'what this server and the AI SDK make over %s',
  (api) => {
    test('of a conversation differs only where there is a reason', async () => {
      const { ours, theirs } = await both(api)
      expect(ours).toHaveLength(2)
      const paths = ours.flatMap((body, n) => differences(body, theirs[n] ?? {}))
      const unexplained = paths.filter((path) => !REASONS[api].some(([place]) => place.test(path)))
      expect(unexplained).toEqual([])
      const needless = REASONS[api].filter(([place]) => !paths.some((path) => place.test(path)))
      expect(needless).toEqual([])
    })

    test('of a reply is the same: texts, reasoning, calls and usage', async () => {
      const { reply, parts, usage } = (await both(api)).first
      const text = parts.map((part) => (part.type === 'text' ? part.text : '')).join('')
      expect(reply.text).toBe(text)
      const reasoning = parts.map((part) => (part.type === 'reasoning' ? part.text : ''))
      expect(JSON.stringify(reply.providerItems)).toContain(JSON.stringify(reasoning.join('')))
      const calls = parts.flatMap((part) =>
        part.type === 'tool-call' ? [{ tool: part.toolName, args: part.input }] : [],
      )
      expect(reply.toolCalls.map(({ tool, args }) => ({ tool, args }))).toEqual(
        // A null in place of a property that is left out belongs to the strict schema.
        JSON.parse(JSON.stringify(calls, (_, value) => value ?? undefined)),
      )
      expect(reply.usage).toMatchObject({
        inputTokens: usage?.inputTokens.total,
        cachedTokens: usage?.inputTokens.cacheRead ?? null,
        cacheWriteTokens: usage?.inputTokens.cacheWrite ?? null,
        outputTokens: usage?.outputTokens.total,
        reasoningTokens: usage?.outputTokens.reasoning ?? null,
      })
    })
  },
)
