import { describe, expect, test } from 'vitest'
import type { Api } from '../../../src/models/routing.ts'
import { EVENTS, STREAMS, sent } from './streams.ts'
import { APIS, bytes, read } from './support.ts'

async function ending(api: Api, stream: string) {
  const { reply } = await read(api, [bytes(stream)])
  if (reply.isErr()) return { failure: reply.error }
  const { finishReason, text, toolCalls, droppedCalls, providerItems, usage } = reply.value
  const keepsItems = providerItems !== null
  return { finishReason, text, calls: toolCalls.length, droppedCalls, keepsItems, usage }
}

/** Where each API says why a reply ended. */
const REASON: Readonly<Record<Exclude<Api, 'responses'>, RegExp>> = {
  messages: /(?<="stop_reason":")tool_use/,
  chat: /(?<="finish_reason":")tool_calls/,
  gemini: /(?<="finishReason":")STOP/,
  ollama: /(?<="done_reason":")stop/,
}

/** The whole stream of an API, with another reason for its end. */
const endedWith = (api: Api, reason: string): string =>
  api === 'responses'
    ? STREAMS.responses
        .replaceAll('response.completed', 'response.incomplete')
        .replace('"status":"completed","model"', '"status":"incomplete","model"')
        .replaceAll('"incomplete_details":null', `"incomplete_details":{"reason":"${reason}"}`)
    : STREAMS[api].replace(REASON[api], reason)

test.each([
  ['messages', 'max_tokens', 'length'],
  ['messages', 'refusal', 'refusal'],
  ['messages', 'model_context_window_exceeded', 'overflow'],
  ['chat', 'length', 'length'],
  ['chat', 'content_filter', 'refusal'],
  ['chat', 'malformed_function_call', 'malformed'],
  ['responses', 'max_output_tokens', 'length'],
  ['responses', 'content_filter', 'refusal'],
  ['gemini', 'MAX_TOKENS', 'length'],
  ['gemini', 'SAFETY', 'refusal'],
  ['gemini', 'MALFORMED_FUNCTION_CALL', 'malformed'],
  ['ollama', 'length', 'length'],
] as const)(
  'if a reply over %s is not whole (%s), none of its calls is run, and none of it is sent back',
  async (api, reason, finishReason) => {
    expect(await ending(api, endedWith(api, reason))).toMatchObject({
      finishReason,
      calls: 0,
      keepsItems: false,
      droppedCalls: ['file_read', expect.any(String)],
    })
  },
)

test.each([
  ['messages', 'a_new_reason'],
  ['chat', 'eos'],
  ['gemini', 'SOMETHING_NEW'],
  ['ollama', 'a_new_reason'],
] as const)('an unknown reason over %s is an ordinary end', async (api, reason) => {
  const ended = { finishReason: 'tool_calls', calls: 2, keepsItems: true }
  expect(await ending(api, endedWith(api, reason))).toMatchObject(ended)
})

test('a turn that the provider interrupts keeps what has come', async () => {
  const kept = { finishReason: 'pause', keepsItems: true }
  expect(await ending('messages', endedWith('messages', 'pause_turn'))).toMatchObject(kept)
})

describe('a reply without content', () => {
  const refusal = { type: 'refusal', category: 'cyber', explanation: 'Not this.' }
  const item = {
    type: 'message',
    id: 'm',
    role: 'assistant',
    status: 'completed',
    content: [{ type: 'refusal', refusal: 'No.' }],
  }
  const stopped = { candidates: [{ content: { role: 'model', parts: [] }, finishReason: 'STOP' }] }

  const end = { type: 'message_delta', delta: { stop_reason: 'refusal', stop_details: refusal } }
  const response = { id: 'r', status: 'completed', output: [item], usage: null }
  const loaded = { message: { role: 'assistant', content: '' }, done: true, done_reason: 'load' }

  test.each<[Api, object[], expected: object]>([
    [
      'messages',
      [EVENTS.messages[0] as object, end, { type: 'message_stop' }],
      { finishReason: 'refusal', text: 'Not this.' },
    ],
    [
      'responses',
      [{ type: 'response.completed', response }],
      { finishReason: 'refusal', text: 'No.' },
    ],
    [
      'gemini',
      [{ promptFeedback: { blockReason: 'OTHER' }, usageMetadata: { promptTokenCount: 9 } }],
      { finishReason: 'refusal' },
    ],
    ['gemini', [stopped], { finishReason: 'empty' }],
    ['ollama', [loaded], { finishReason: 'empty' }],
  ])('over %s: %j', async (api, messages, expected) => {
    expect(await ending(api, sent(api, messages))).toMatchObject({ calls: 0, ...expected })
  })
})

test.each(APIS)('a reply over %s without counts is estimated, and never 0', async (api) => {
  const { usage } = await ending(api, STREAMS[api].replaceAll(/"(usage|[a-z]+_eval)/g, '"no_$1'))
  expect(usage).toMatchObject({ estimated: true, cachedTokens: null })
  expect(usage?.inputTokens).toBeGreaterThan(0)
})

const failed = (error: object) => ({ type: 'response.failed', response: { output: [], error } })
const error = (code: object) => ({ type: 'error', ...code })
const fails = (kind: string) => ({ type: 'transient', kind })

test.each<[Api, event: object, failure: object]>([
  ['messages', error({ error: { type: 'overloaded_error', message: '' } }), fails('overloaded')],
  [
    'messages',
    error({ error: { type: 'invalid_request_error', message: 'prompt is too long' } }),
    { type: 'context_overflow' },
  ],
  ['responses', error({ code: 'server_error', message: 'Oops.' }), fails('server_error')],
  ['responses', error({ code: 'rate_limit_exceeded', message: 'Slow.' }), fails('rate_limited')],
  ['responses', failed({ code: 'bio_policy', message: 'No.' }), { type: 'refused' }],
  ['responses', failed({ code: 'server_error', message: 'Oops.' }), { type: 'transient' }],
  ['chat', { error: { code: 502, message: 'Up.' }, choices: [] }, fails('server_error')],
  ['chat', { choices: [{ delta: {}, finish_reason: 'error' }] }, { type: 'transient' }],
  [
    'gemini',
    { candidates: [{ finishReason: 'MISSING_THOUGHT_SIGNATURE' }] },
    { type: 'reasoning_refused' },
  ],
  ['ollama', { error: 'it stopped' }, { message: expect.stringContaining('it stopped') }],
])('an error in the middle of a stream over %s: %j', async (api, event, failure) => {
  const stream = sent(api, [...EVENTS[api].slice(0, 3), event])
  expect(await ending(api, stream)).toMatchObject({ failure })
})

test.each(['messages', 'responses'] as const)(
  'an event over %s that this version does not know is ignored',
  async (api) => {
    const [first = '', ...others] = EVENTS[api]
    const stream = sent(api, [first, { type: 'something.new', value: [1] }, ...others])
    expect(await ending(api, stream)).toMatchObject({ finishReason: 'tool_calls', calls: 2 })
  },
)

test('a reply that becomes invalid has used what was reported before, and what has come of it', async () => {
  const isLast = (event: unknown) => Object(event).type === 'message_delta'
  const invalid = EVENTS.messages.map((event) =>
    isLast(event) ? { type: 'content_block_stop', index: -1 } : event,
  )
  const whole = await ending('messages', STREAMS.messages)
  const { failure } = await ending('messages', sent('messages', invalid))
  expect(failure).toMatchObject({
    type: 'transient',
    kind: 'invalid_reply',
    used: { usage: { inputTokens: whole.usage?.inputTokens, estimated: true } },
  })
  const used = failure?.type === 'transient' ? failure.used : undefined
  expect(used?.usage.outputTokens).toBeGreaterThan(10)
})
