import { describe, expect, test } from 'vitest'
import type { ChatMessage } from '../../../src/domain/conversation.ts'
import { geminiAdapter } from '../../../src/models/adapters/gemini.ts'
import type { ModelRequest } from '../../../src/models/model.ts'
import type { Route } from '../../../src/models/routing.ts'
import { STREAMS } from './streams.ts'
import {
  askBy,
  bytes,
  endpointOf,
  fakeServer,
  REQUEST,
  readBy,
  sse,
  TOOL,
  timeless,
} from './support.ts'

const adapter = geminiAdapter
const routeTo = (
  model: string,
  baseUrl = 'https://generativelanguage.googleapis.com/v1',
): Route => ({
  endpoint: endpointOf('google', baseUrl, 'key-of-google'),
  ...{ model, api: 'gemini', problem: null },
})
const route = routeTo('gemini-3.8-flash')

const piece = (parts: readonly object[], more: object = {}) => ({
  candidates: [{ content: { role: 'model', parts }, index: 0, ...more }],
})
const call = (id: string, path: string) => ({
  functionCall: { id, name: 'file_read', args: { path } },
})
const STREAM = bytes(STREAMS.gemini)

async function whole() {
  const { reply, parts } = await readBy(adapter, route, [STREAM])
  return { reply: timeless(reply._unsafeUnwrap()), parts }
}

describe('a reply of Gemini', () => {
  test('has the parts as they came, and its usage adds up to the total of Google', async () => {
    const { reply, parts } = await whole()
    expect(reply).toMatchObject({
      text: 'I look at it.',
      finishReason: 'tool_calls',
      toolCalls: [
        { call_id: 'c1', tool: 'file_read', args: { path: 'ä.py' } },
        { call_id: 'c2', tool: 'file_read', args: { path: 'b.py' } },
      ],
      provider: 'google',
      providerItems: {
        ...{ provider: 'google', api: 'gemini', model: 'gemini-3.8-flash' },
        items: [
          { text: 'I think of ä 🚀.', thought: true },
          { text: 'I look at it.' },
          { ...call('c1', 'ä.py'), thoughtSignature: 'Cs+/==' },
          call('c2', 'b.py'),
          { text: '', thoughtSignature: 'Last==' },
        ],
      },
      usage: {
        inputTokens: 920,
        cachedTokens: 512,
        cacheWriteTokens: null,
        outputTokens: 100,
        reasoningTokens: 60,
      },
    })
    expect(reply.usage.inputTokens + reply.usage.outputTokens).toBe(1020)
    expect(parts.filter(({ type }) => type === 'call')).toHaveLength(2)
  })

  test.each([
    ['MAX_TOKENS', 'length'],
    ['SAFETY', 'refusal'],
    ['MALFORMED_FUNCTION_CALL', 'malformed'],
    ['STOP', 'stop'],
    ['SOMETHING_NEW', 'stop'],
  ])('that ends with %s ends with %s', async (finishReason, expected) => {
    const stream = bytes(sse([piece([{ text: 'x' }], { finishReason })]))
    const { reply } = await readBy(adapter, route, [stream])
    expect(reply._unsafeUnwrap().finishReason).toBe(expected)
  })

  test('to a blocked prompt is a refusal, and a reply without parts is empty', async () => {
    const blocked = {
      promptFeedback: { blockReason: 'OTHER' },
      usageMetadata: { promptTokenCount: 9 },
    }
    const refused = await readBy(adapter, route, [bytes(sse([blocked]))])
    expect(refused.reply._unsafeUnwrap()).toMatchObject({ finishReason: 'refusal', toolCalls: [] })
    const empty = await readBy(adapter, route, [bytes(sse([piece([], { finishReason: 'STOP' })]))])
    expect(empty.reply._unsafeUnwrap().finishReason).toBe('empty')
  })

  test('is asked for again without reasoning if Google misses a signature', async () => {
    const lost = piece([], { finishReason: 'MISSING_THOUGHT_SIGNATURE' })
    const { reply } = await readBy(adapter, route, [bytes(sse([lost]))])
    expect(reply._unsafeUnwrapErr().type).toBe('reasoning_refused')
  })
})

const foreign: ChatMessage = {
  role: 'assistant',
  content: null,
  calls: [
    { id: 'toolu_1', tool: 'file_read', args: '{"path":"a"}' },
    { id: 'toolu_2', tool: 'file_read', args: '{"path":"b"}' },
  ],
}
const result = (callId: string, content = 'text'): ChatMessage => ({
  role: 'tool',
  callId,
  content,
})
type Body = {
  readonly contents: readonly {
    readonly role: string
    readonly parts: readonly Record<string, unknown>[]
  }[]
  readonly generationConfig: Record<string, unknown>
  readonly systemInstruction: unknown
  readonly tools: unknown
}
const bodyOf = (changes: Partial<ModelRequest> = {}, model = route.model) =>
  adapter.body({ ...REQUEST, ...changes }, routeTo(model)) as Body

describe('a request to Gemini', () => {
  test('has instructions and tools in fields of their own, with plain JSON Schema', () => {
    const body = bodyOf()
    expect(body.systemInstruction).toEqual({ parts: [{ text: 'You fix programs.' }] })
    const { name, description, parameters } = TOOL
    expect(body.tools).toEqual([
      { functionDeclarations: [{ name, description, parametersJsonSchema: parameters }] },
    ])
    expect(body.contents).toEqual([{ role: 'user', parts: [{ text: 'Fix this one.' }] }])
  })

  test('has schemas of tools in the subset that Google documents', () => {
    const parameters = {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      type: 'object',
      properties: {
        count: { type: 'integer', exclusiveMinimum: 0, maximum: 9, default: 1 },
        share: { type: 'number', exclusiveMinimum: 0, exclusiveMaximum: 1, multipleOf: 0.1 },
        pattern: { type: 'string', pattern: '^a', minLength: 1, format: 'uri' },
        kind: { const: 'x' },
        list: { type: 'array', uniqueItems: true, items: { oneOf: [{ $ref: '#/definitions/T' }] } },
      },
      required: ['pattern'],
      additionalProperties: { type: 'string', format: 'date' },
      propertyNames: { type: 'string' },
      definitions: { T: { type: ['string', 'null'], examples: ['a'] } },
    }
    const { tools } = bodyOf({ tools: [{ ...TOOL, parameters }] })
    const [declaration] =
      (tools as { functionDeclarations: object[] }[])[0]?.functionDeclarations ?? []
    expect(declaration).toHaveProperty('parametersJsonSchema', {
      type: 'object',
      properties: {
        count: { type: 'integer', maximum: 9 },
        share: { type: 'number' },
        pattern: { type: 'string' },
        kind: { enum: ['x'] },
        list: { type: 'array', items: { anyOf: [{ $ref: '#/$defs/T' }] } },
      },
      required: ['pattern'],
      additionalProperties: { type: 'string' },
      $defs: { T: { type: ['string', 'null'] } },
    })
  })

  test('has what is said after results in a content of its own', () => {
    const said = (content: string): ChatMessage => ({ role: 'user', content })
    const messages = [...REQUEST.messages, foreign, result('toolu_1'), result('toolu_2')]
    const { contents } = bodyOf({ messages: [...messages, said('One.'), said('Two.')] })
    expect(
      contents.map(({ role, parts }) => [role, parts.map((part) => Object.keys(part)[0])]),
    ).toEqual([
      ['user', ['text']],
      ['model', ['functionCall', 'functionCall']],
      ['user', ['functionResponse', 'functionResponse']],
      ['user', ['text', 'text']],
    ])
  })

  test('from Gemini 3 on, has the sentinel on the first call of a step that another model made', () => {
    const messages = [...REQUEST.messages, foreign, result('toolu_1'), result('toolu_2')]
    const signatures = (model: string) =>
      bodyOf({ messages }, model).contents[1]?.parts.map(({ thoughtSignature }) => thoughtSignature)
    expect(signatures('gemini-3.8-flash')).toEqual(['skip_thought_signature_validator', undefined])
    expect(signatures('gemini-2.5-pro')).toEqual([undefined, undefined])
  })

  test.each([
    ['gemini-3.8-flash', 'high', { thinkingLevel: 'HIGH', includeThoughts: true }],
    ['gemini-3.8-flash', 'none', { thinkingLevel: 'MINIMAL', includeThoughts: true }],
    ['gemini-2.5-flash', 'none', { thinkingBudget: 0 }],
    ['gemini-2.5-pro', 'none', { thinkingBudget: 128, includeThoughts: true }],
    ['gemini-2.5-pro', 'low', { thinkingBudget: 1024, includeThoughts: true }],
    ['gemini-2.0-flash', 'low', undefined],
  ] as const)('to %s with the effort %s', (model, effort, expected) => {
    expect(bodyOf({ effort, maxOutputTokens: 9_000 }, model).generationConfig).toEqual({
      maxOutputTokens: 9_000,
      ...(expected === undefined ? {} : { thinkingConfig: expected }),
    })
  })
})

test('an error of Google is read: the wait that it asks for, or a bad key', async () => {
  const details = [{ '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '34.4s' }]
  const exhausted = {
    error: { code: 429, message: 'slow down', status: 'RESOURCE_EXHAUSTED', details },
  }
  const url = await fakeServer(() => ({ status: 429, text: JSON.stringify(exhausted) }))
  const { reply } = await askBy(adapter, routeTo('gemini-3.8-flash', `${url}/v1`))
  expect(reply._unsafeUnwrapErr()).toMatchObject({
    type: 'transient',
    kind: 'rate_limited',
    retryAfterMs: 34_400,
  })
  const bad = { error: { code: 400, message: 'API key not valid.', status: 'INVALID_ARGUMENT' } }
  const other = await fakeServer(() => ({ status: 400, text: JSON.stringify(bad) }))
  const refused = await askBy(adapter, routeTo('gemini-3.8-flash', `${other}/v1`))
  expect(refused.reply._unsafeUnwrapErr()).toMatchObject({ type: 'refused' })
})
