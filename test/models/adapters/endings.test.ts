import { describe, expect, test } from 'vitest'
import { EVENTS } from './streams.ts'
import { bytes, read, sse, type TestedApi } from './support.ts'

type Events = readonly Record<string, unknown>[]

/** The whole stream of an API, with each event as `change` returns it. */
const changed = (api: TestedApi, change: (event: Record<string, unknown>) => unknown): string =>
  sse((EVENTS[api] as Events).map((event) => (typeof event === 'string' ? event : change(event))))

async function ending(api: TestedApi, stream: string) {
  const { reply } = await read(api, [bytes(stream)])
  if (reply.isErr()) return { failure: reply.error }
  const { finishReason, toolCalls, droppedCalls, providerItems } = reply.value
  return { finishReason, calls: toolCalls.length, droppedCalls, keepsItems: providerItems !== null }
}

const stopped = (stop_reason: string) =>
  changed('messages', (event) =>
    event.type === 'message_delta'
      ? { ...event, delta: { stop_reason, stop_sequence: null } }
      : event,
  )
const finished = (finish_reason: string) =>
  changed('chat', (event) => {
    const [choice] = event.choices as { finish_reason: string | null }[]
    return choice?.finish_reason ? { ...event, choices: [{ ...choice, finish_reason }] } : event
  })
const responded = (status: string, more: object) =>
  changed('responses', (event) =>
    event.type === 'response.completed'
      ? {
          ...event,
          type: `response.${status}`,
          response: { ...(event.response as object), status, ...more },
        }
      : event,
  )
const cut = (finishReason: string) => ({
  finishReason,
  calls: 0,
  droppedCalls: ['file_read', expect.any(String)],
  keepsItems: false,
})

describe('if a reply is not whole, none of its calls is run, and none of it is sent back', () => {
  test.each([
    ['messages', 'max_tokens', 'length'],
    ['messages', 'refusal', 'refusal'],
    ['messages', 'model_context_window_exceeded', 'overflow'],
    ['chat', 'length', 'length'],
    ['chat', 'content_filter', 'refusal'],
    ['chat', 'malformed_function_call', 'malformed'],
  ] as const)('over %s: %s', async (api, reason, finishReason) => {
    const stream = api === 'messages' ? stopped(reason) : finished(reason)
    expect(await ending(api, stream)).toEqual(cut(finishReason))
  })

  test.each([
    ['max_output_tokens', 'length'],
    ['content_filter', 'refusal'],
  ])('over responses: %s', async (reason, finishReason) => {
    const stream = responded('incomplete', { incomplete_details: { reason } })
    expect(await ending('responses', stream)).toEqual(cut(finishReason))
  })
})

describe('a turn that the provider interrupts', () => {
  test('keeps what has come', async () => {
    expect(await ending('messages', stopped('pause_turn'))).toMatchObject({
      finishReason: 'pause',
      keepsItems: true,
    })
  })
})

describe('an unknown reason', () => {
  test.each([
    ['messages', stopped('a_new_reason')],
    ['chat', finished('eos')],
  ] as const)('over %s is an ordinary end', async (api, stream) => {
    expect(await ending(api, stream)).toMatchObject({ finishReason: 'tool_calls', calls: 2 })
  })
})

describe('a refusal', () => {
  test('of Anthropic has its explanation', async () => {
    const stop_details = { type: 'refusal', category: 'cyber', explanation: 'Not this.' }
    const stream = sse([
      ...(EVENTS.messages as Events).slice(0, 1),
      {
        type: 'message_delta',
        delta: { stop_reason: 'refusal', stop_details },
        usage: { output_tokens: 3 },
      },
      { type: 'message_stop' },
    ])
    const { reply } = await read('messages', [bytes(stream)])
    expect(reply._unsafeUnwrap()).toMatchObject({ text: 'Not this.', finishReason: 'refusal' })
  })

  test('of OpenAI is a part of a message', async () => {
    const item = {
      type: 'message',
      id: 'm',
      role: 'assistant',
      status: 'completed',
      content: [{ type: 'refusal', refusal: 'No.' }],
    }
    const response = { id: 'r', status: 'completed', output: [item], usage: null }
    const stream = sse([{ type: 'response.completed', response }])
    const { reply } = await read('responses', [bytes(stream)])
    expect(reply._unsafeUnwrap()).toMatchObject({
      text: 'No.',
      finishReason: 'refusal',
      usage: { estimated: true },
    })
  })
})

describe('an error in the middle of a stream', () => {
  const begin = (api: TestedApi) => (EVENTS[api] as Events).slice(0, 3)

  test.each([
    [
      'messages',
      { type: 'error', error: { type: 'overloaded_error', message: 'Busy.' } },
      { type: 'transient', kind: 'overloaded' },
    ],
    [
      'messages',
      {
        type: 'error',
        error: { type: 'invalid_request_error', message: 'prompt is too long: 9 tokens' },
      },
      { type: 'context_overflow' },
    ],
    [
      'responses',
      { type: 'error', code: 'server_error', message: 'Oops.', param: null },
      { type: 'transient', kind: 'server_error' },
    ],
    [
      'responses',
      { type: 'error', code: 'rate_limit_exceeded', message: 'Slow.', param: null },
      { type: 'transient', kind: 'rate_limited' },
    ],
    [
      'responses',
      {
        type: 'response.failed',
        response: { status: 'failed', output: [], error: { code: 'bio_policy', message: 'No.' } },
      },
      { type: 'refused' },
    ],
    [
      'responses',
      {
        type: 'response.failed',
        response: {
          status: 'failed',
          output: [],
          error: { code: 'server_error', message: 'Oops.' },
        },
      },
      { type: 'transient' },
    ],
    [
      'chat',
      { error: { code: 502, message: 'Upstream.' }, choices: [] },
      { type: 'transient', kind: 'server_error' },
    ],
    ['chat', { choices: [{ delta: {}, finish_reason: 'error' }] }, { type: 'transient' }],
  ] as const)('over %s: %j', async (api, event, failure) => {
    expect(await ending(api, sse([...begin(api), event]))).toMatchObject({ failure })
  })
})

describe('an event that this version does not know', () => {
  test.each(['messages', 'responses'] as const)('over %s is ignored', async (api) => {
    const [first, ...others] = EVENTS[api] as Events
    const stream = sse([first, { type: 'something.new', value: [1] }, ...others])
    expect(await ending(api, stream)).toMatchObject({ finishReason: 'tool_calls', calls: 2 })
  })
})

test('a reply that becomes invalid has used what was reported before, and what has come of it', async () => {
  const stream = changed('messages', (event) =>
    event.type === 'message_delta' ? { type: 'content_block_stop', index: -1 } : event,
  )
  const whole = (await read('messages', [bytes(changed('messages', (event) => event))])).reply
  const { failure } = await ending('messages', stream)
  const { usage } = whole._unsafeUnwrap()
  expect(failure).toMatchObject({
    ...{ type: 'transient', kind: 'invalid_reply' },
    used: { usage: { inputTokens: usage.inputTokens, estimated: true } },
  })
  const used = failure?.type === 'transient' ? failure.used : undefined
  expect(used?.usage.outputTokens).toBeGreaterThan(10)
})
