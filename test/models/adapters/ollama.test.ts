import { describe, expect, test } from 'vitest'
import type { ChatMessage } from '../../../src/domain/conversation.ts'
import { ollamaAdapter } from '../../../src/models/adapters/ollama.ts'
import type { ModelRequest } from '../../../src/models/model.ts'
import type { Route } from '../../../src/models/routing.ts'
import { askBy, bytes, endpointOf, fakeServer, REQUEST, readBy, timeless } from './support.ts'

const adapter = ollamaAdapter
const routeTo = (model: string, baseUrl = 'http://127.0.0.1:11434'): Route => ({
  endpoint: endpointOf('ollama', baseUrl),
  ...{ model, api: 'ollama', problem: null },
})
const route = routeTo('qwen3:8b')

const lines = (values: readonly object[]): string =>
  values.map((value) => `${JSON.stringify(value)}\n`).join('')
const piece = (message: object) => ({
  message: { role: 'assistant', content: '', ...message },
  done: false,
})
const call = (path: string) => ({ function: { name: 'file_read', arguments: { path } } })
const END = { message: { role: 'assistant', content: '' }, done: true, done_reason: 'stop' }
const COUNTS = { prompt_eval_count: 300, prompt_eval_cached_count: 200, eval_count: 40 }
const PIECES = [
  piece({ thinking: 'I think' }),
  piece({ thinking: ' of ä 🚀.' }),
  piece({ content: 'I look' }),
  piece({ content: ' at it.' }),
  piece({ tool_calls: [call('ä.py'), call('b.py')] }),
  { ...END, ...COUNTS },
]
const STREAM = bytes(lines(PIECES))

async function whole() {
  const { reply, parts } = await readBy(adapter, route, [STREAM])
  return { reply: timeless(reply._unsafeUnwrap()), parts }
}

describe('a reply of Ollama', () => {
  test('has text, thoughts, calls with ids of our own, and its counts', async () => {
    const { reply, parts } = await whole()
    expect(reply).toMatchObject({
      text: 'I look at it.',
      finishReason: 'tool_calls',
      toolCalls: [
        { call_id: 'call_0', tool: 'file_read', args: { path: 'ä.py' } },
        { call_id: 'call_1', tool: 'file_read', args: { path: 'b.py' } },
      ],
      usage: { inputTokens: 300, cachedTokens: 200, cacheWriteTokens: null, outputTokens: 40 },
      providerItems: { api: 'ollama', items: [{ thinking: 'I think of ä 🚀.' }] },
      costUsd: 0,
      priceSource: 'local',
    })
    expect(parts.map(({ type }) => type)).toEqual([
      ...['reasoning', 'reasoning', 'text', 'text'],
      ...['call', 'arguments', 'call', 'arguments'],
    ])
  })

  test.each([
    [{ done_reason: 'length' }, 'length'],
    [{ done_reason: 'load' }, 'empty'],
    [{}, 'stop'],
  ])('that ends with %j', async (end, expected) => {
    const said = expected === 'empty' ? [] : [piece({ content: 'x' })]
    const { reply } = await readBy(adapter, route, [bytes(lines([...said, { ...END, ...end }]))])
    expect(reply._unsafeUnwrap().finishReason).toBe(expected)
  })

  test('without counts is estimated, and never 0', async () => {
    const { reply } = await readBy(adapter, route, [bytes(lines([piece({ content: 'x' }), END]))])
    const { usage } = reply._unsafeUnwrap()
    expect(usage).toMatchObject({ estimated: true, cachedTokens: null })
    expect(usage.inputTokens).toBeGreaterThan(0)
  })

  test('with a line that is an error is a failed attempt', async () => {
    const broken = lines([piece({ content: 'x' }), { error: 'the runner has stopped' }])
    const { reply } = await readBy(adapter, route, [bytes(broken)])
    expect(reply._unsafeUnwrapErr()).toMatchObject({
      type: 'transient',
      message: expect.stringContaining('the runner has stopped'),
    })
  })
})

describe('a call that Ollama cannot read', () => {
  const error = `error parsing tool call: raw='{"path": "a"}]', err=invalid character ']'`
  const malformed = { finishReason: 'malformed', text: null, toolCalls: [], providerItems: null }

  test('is a malformed reply of the model, with status 500', async () => {
    const url = await fakeServer(() => ({ status: 500, text: JSON.stringify({ error }) }))
    const { reply } = await askBy(adapter, routeTo('gpt-oss:20b', url))
    expect(reply._unsafeUnwrap()).toMatchObject({ ...malformed, usage: { estimated: true } })
  })

  test('is one in the middle of a stream, too', async () => {
    const broken = lines([piece({ content: 'I write.' }), { error }])
    const { reply } = await readBy(adapter, route, [bytes(broken)])
    expect(reply._unsafeUnwrap()).toMatchObject(malformed)
  })
})

type Body = {
  readonly options: object
  readonly think?: unknown
  readonly messages: readonly object[]
}
const bodyOf = (changes: Partial<ModelRequest> = {}, target = route) =>
  adapter.body({ ...REQUEST, ...changes }, target) as Body

describe('a request to Ollama', () => {
  test('asks for a context window, because the default of Ollama cuts prompts', () => {
    expect(bodyOf().options).toEqual({ num_ctx: 65_536 })
    const served = { windowTokens: 8_192, capabilities: null }
    expect(bodyOf({}, { ...route, served }).options).toEqual({ num_ctx: 8_192 })
    const own = { prices: undefined, windowTokens: 16_384, maxOutputTokens: undefined }
    expect(bodyOf({ maxOutputTokens: 4_000 }, { ...route, own }).options).toEqual({
      num_ctx: 16_384,
      num_predict: 4_000,
    })
  })

  test.each([
    ['qwen3:8b', undefined, undefined],
    ['qwen3:8b', 'none', false],
    ['qwen3:8b', 'high', true],
    ['gpt-oss:20b', 'none', 'low'],
    ['gpt-oss:20b', 'max', 'high'],
  ] as const)('to %s with the effort %s has think %s', (model, effort, think) => {
    const changes = effort === undefined ? {} : { effort }
    expect(bodyOf(changes, routeTo(model)).think).toBe(think)
  })

  test('has no think for a model that cannot think', () => {
    const served = { windowTokens: null, capabilities: ['tools'] }
    expect(bodyOf({ effort: 'high' }, { ...route, served })).not.toHaveProperty('think')
  })

  test('has the thoughts of the same model, and of no other', () => {
    const items = {
      ...{ provider: 'ollama', api: 'ollama', model: 'qwen3:8b' },
      items: [{ thinking: 'Hm.' }],
    }
    const own: ChatMessage = { role: 'assistant', content: 'Done.', calls: [], items }
    const messages = [...REQUEST.messages, own]
    expect(bodyOf({ messages }).messages[2]).toMatchObject({ thinking: 'Hm.' })
    expect(bodyOf({ messages }, routeTo('other')).messages[2]).not.toHaveProperty('thinking')
  })
})
