import type { ChatCompletionCreateParamsStreaming } from 'openai/resources/chat/completions'
import { describe, expect, test } from 'vitest'
import type { ChatMessage } from '../../../src/domain/conversation.ts'
import type { Json } from '../../../src/models/adapter.ts'
import type { ModelRequest } from '../../../src/models/model.ts'
import { ADAPTERS, bytes, REQUEST, read, routeTo, sse } from './support.ts'

const said = (items: Json[] | null, ...ids: string[]): ChatMessage => ({
  role: 'assistant',
  content: ids.length > 0 ? null : 'Done.',
  calls: ids.map((id) => ({ id, tool: 'file_read', args: '{}' })),
  ...(items === null
    ? {}
    : { items: { provider: 'custom', api: 'chat', model: 'some-model', items } }),
})
const result = (callId: string): ChatMessage => ({ role: 'tool', callId, content: 'x' })

function bodyAt(
  baseUrl: string,
  messages: readonly ChatMessage[],
  more: Partial<ModelRequest> = {},
  model?: string,
) {
  const request = { ...REQUEST, messages: [...REQUEST.messages, ...messages], ...more }
  const route = routeTo('chat', { baseUrl, ...(model === undefined ? {} : { model }) })
  return ADAPTERS.chat.body(request, route) as ChatCompletionCreateParamsStreaming
}
const assistants = (body: ReturnType<typeof bodyAt>) =>
  body.messages.filter(({ role }) => role === 'assistant')

const LOCAL = 'http://127.0.0.1:8080/v1'

describe('reasoning is sent back in the field that it came in', () => {
  test.each([
    { reasoning_content: 'Hm.' },
    { reasoning: 'Hm.' },
    { reasoning_details: [{ type: 'reasoning.encrypted', data: 'x', index: 0 }] },
    { content: [{ type: 'thinking', thinking: [{ type: 'text', text: 'Hm.' }] }] },
  ])('%j', (fields) => {
    const [message] = assistants(bodyAt(LOCAL, [said([fields])]))
    expect(message).toMatchObject(fields)
  })

  test('without the additions to calls that earlier versions kept', () => {
    const items = [{ reasoning: 'Hm.', tool_calls: [{ index: 0, extra_content: {} }] }]
    const [message] = assistants(bodyAt(LOCAL, [said(items, 'a'), result('a')]))
    const read = { name: 'file_read', arguments: '{}' }
    expect(message).toMatchObject({ reasoning: 'Hm.', tool_calls: [{ id: 'a', function: read }] })
  })
})

describe('a vendor is sent what it requires, and nothing that it refuses', () => {
  const turns = [said(null, 'call_1'), result('call_1'), said(null)]

  test('Kimi: reasoning in each reply with calls', () => {
    const body = bodyAt('https://api.moonshot.ai/v1', turns)
    expect(assistants(body).map((message) => Reflect.get(message, 'reasoning_content'))).toEqual([
      '.',
      undefined,
    ])
  })

  test('Mistral: ids of nine letters, and no property that it does not know', () => {
    const body = bodyAt('https://api.mistral.ai/v1', turns, { effort: 'high' })
    expect(body).not.toHaveProperty('stream_options')
    expect(body).not.toHaveProperty('reasoning_effort')
    const [message] = assistants(body)
    const id = Reflect.get(message ?? {}, 'tool_calls')[0].id
    expect(id).toMatch(/^[a-zA-Z0-9]{9}$/)
    expect(body.messages).toContainEqual({ role: 'tool', tool_call_id: id, content: 'x' })
  })

  test('Mistral: a reply between results and a message of the user', () => {
    const rolesAt = (url: string) => {
      const spoken = [...turns.slice(0, 2), { role: 'user' as const, content: 'Continue.' }]
      return bodyAt(url, spoken).messages.map(({ role }) => role)
    }
    const begun = ['system', 'user', 'assistant', 'tool']
    expect(rolesAt('https://api.mistral.ai/v1')).toEqual([...begun, 'assistant', 'user'])
    expect(rolesAt(LOCAL)).toEqual([...begun, 'user'])
  })

  test('OpenRouter: effort in its own form, and marks for the caches of Anthropic', () => {
    const url = 'https://openrouter.ai/api/v1'
    expect(bodyAt(url, turns, { effort: 'low' })).toMatchObject({ reasoning: { effort: 'low' } })
    expect(JSON.stringify(bodyAt(url, turns))).not.toContain('cache_control')
    const marked = bodyAt(url, turns, {}, 'anthropic/claude-opus-5.5')
    expect(JSON.stringify(marked).split('cache_control')).toHaveLength(3)
  })

  test('any other: the limit as max_tokens, the effort as reasoning_effort', () => {
    const body = bodyAt(LOCAL, turns, { effort: 'low', maxOutputTokens: 500 })
    expect(body).toMatchObject({
      max_tokens: 500,
      reasoning_effort: 'low',
      stream_options: { include_usage: true },
    })
  })
})

describe('a stream of chat completions', () => {
  const chunk = (delta: object, finish_reason: string | null = null, more: object = {}) => ({
    choices: [{ index: 0, delta, finish_reason }],
    ...more,
  })
  const reply = async (...chunks: unknown[]) =>
    (await read('chat', [bytes(sse([...chunks, '[DONE]']))])).reply._unsafeUnwrap()

  test('joins reasoning_details by their index', async () => {
    const detail = (more: object) =>
      chunk({ reasoning_details: [{ index: 0, type: 'reasoning.text', ...more }] })
    const { providerItems } = await reply(
      detail({ text: 'Let ', format: 'anthropic-claude-v1' }),
      detail({ text: 'me see', signature: null }),
      detail({ text: '', signature: 'Eq==' }),
      chunk({ reasoning_details: [{ index: 1, type: 'reasoning.encrypted', data: 'opaque' }] }),
      chunk({ content: 'Done.' }, 'stop'),
    )
    const joined = { text: 'Let me see', format: 'anthropic-claude-v1', signature: 'Eq==' }
    const encrypted = { index: 1, type: 'reasoning.encrypted', data: 'opaque' }
    expect(providerItems?.items).toEqual([
      { reasoning_details: [{ index: 0, type: 'reasoning.text', ...joined }, encrypted] },
    ])
  })

  type Call = { id?: string | null; index?: number; name?: string; args: string }
  const call = ({ name, args, ...more }: Call) =>
    chunk({
      tool_calls: [{ ...more, function: { ...(name && { name }), arguments: args } }],
    })
  const reads = { name: 'file_read', args: '{"path":"x"}' }
  const asks = { name: 'git_status', args: '{}' }

  const found = [
    { tool: 'file_read', args: { path: 'x' } },
    { tool: 'git_status', args: {} },
  ]
  const a = { id: 'a', ...reads }
  const b = { id: 'b', ...asks }
  const begun = { name: 'file_read', args: '{"path":' }
  const rest = { args: '"x"}' }

  test.each<[how: string, pieces: Call[]]>([
    ['without an index', [a, b]],
    ['with the same index', [a, b].map((one) => ({ index: 0, ...one }))],
    ['whose id and name come with each piece', [{ id: 'a', ...begun }, { ...a, ...rest }, b]],
    ['whose other pieces have neither an index nor an id', [{ id: 'a', ...begun }, rest, b]],
  ])('finds calls %s', async (_, pieces) => {
    const { toolCalls } = await reply(...pieces.map(call), chunk({}, 'stop'))
    expect(toolCalls).toMatchObject(found)
    const ids = pieces.flatMap(({ id }) => id || [])
    if (ids.length > 0) expect(toolCalls.map(({ call_id }) => call_id)).toEqual(['a', 'b'])
  })

  test('leaves out thoughts that a local server has written into the text', async () => {
    const { text } = await reply(
      chunk({ content: '<think>Hm. ' }),
      chunk({ content: 'Hm.</think>\nDone.' }, 'stop'),
    )
    expect(text).toBe('Done.')
  })
})
