import { getEventListeners } from 'node:events'
import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { guardSecrets } from '../../../src/log/masking.ts'
import type { Deadlines } from '../../../src/models/models.ts'
import type { Api } from '../../../src/models/routing.ts'
import { serve } from '../../support/serve.ts'
import { STREAMS } from './streams.ts'
import { ADAPTERS, completeWith, REQUEST, routeTo } from './support.ts'

type Seen = { readonly url: string; readonly headers: IncomingHttpHeaders; readonly body: string }

/** A server that answers each request with `answer`, until the end of the test. */
async function answering(answer: (response: ServerResponse) => void) {
  const requests: Seen[] = []
  const origin = await serve(async (incoming, response) => {
    const { url = '', headers } = incoming
    requests.push({ url, headers, body: await text(incoming) })
    answer(response)
  })
  return { requests, origin }
}

const completeAt = (api: Api, baseUrl: string, deadlines: Partial<Deadlines> = {}) =>
  completeWith(ADAPTERS[api], routeTo(api, { baseUrl }), deadlines)

const answerWith = (stream: string) => (response: ServerResponse) => {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.end(stream)
}

describe('a request', () => {
  test.each([
    ['chat', '/v1/chat/completions', 'authorization', 'Bearer sk-test-key'],
    ['responses', '/v1/responses', 'authorization', 'Bearer sk-test-key'],
    ['messages', '/v1/messages', 'authorization', 'Bearer sk-test-key'],
    [
      ...(['gemini', '/v1/models/gemini-3.8-flash:streamGenerateContent?alt=sse'] as const),
      ...(['x-goog-api-key', 'sk-test-key'] as const),
    ],
  ] as const)('over %s goes to %s, with the body as the adapter built it', async (...row) => {
    const [api, path, header, key] = row
    const server = await answering(answerWith(STREAMS[api]))
    const baseUrl = `${server.origin}/v1`
    const reply = await completeAt(api, baseUrl)(REQUEST, new AbortController().signal, () => {})
    expect(reply._unsafeUnwrap().finishReason).toBe('tool_calls')
    const [request] = server.requests
    expect(request?.url).toBe(path)
    const body = ADAPTERS[api].body(REQUEST, routeTo(api, { baseUrl }))
    expect(JSON.parse(request?.body ?? '')).toEqual(JSON.parse(JSON.stringify(body)))
    expect(request?.headers[header]).toBe(key)
  })

  test('to an endpoint of another vendor that speaks Messages has the key in the older header too', async () => {
    const server = await answering(answerWith(STREAMS.messages))
    const complete = completeAt('messages', `${server.origin}/anthropic`)
    const reply = await complete(REQUEST, new AbortController().signal, () => {})
    expect(reply.isOk()).toBe(true)
    expect(server.requests[0]).toMatchObject({
      url: '/anthropic/v1/messages',
      headers: { 'x-api-key': 'sk-test-key', 'anthropic-version': '2023-06-01' },
    })
  })
})

test.each(['chat', 'gemini'] as const)(
  'a whole reply over %s is read although its connection stays open',
  async (api) => {
    const server = await answering((response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write(STREAMS[api].replace('data: [DONE]\n\n', ''))
    })
    const complete = completeAt(api, `${server.origin}/v1`, { silenceMs: 50 })
    const reply = await complete(REQUEST, new AbortController().signal, () => {})
    expect(reply._unsafeUnwrap().finishReason).toBe('tool_calls')
  },
)

test('a reply may take long if something is heard now and then, and leaves no listener', async () => {
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
  const stream = writable.getWriter()
  const headers = { 'content-type': 'text/event-stream' }
  const { signal } = new AbortController()
  const adapter = { ...ADAPTERS.chat, send: async () => new Response(readable, { headers }) }
  const limits = { totalMs: 3_600_000, silenceMs: 60_000 }
  const outcome = completeWith(adapter, routeTo('chat'), limits)(REQUEST, signal, () => {})
  for (const event of STREAMS.chat.split(/(?<=\n\n)/)) {
    await vi.advanceTimersByTimeAsync(50_000)
    await stream.write(new TextEncoder().encode(event))
  }
  await stream.close()
  expect((await outcome)._unsafeUnwrap().finishReason).toBe('tool_calls')
  expect(getEventListeners(signal, 'abort')).toEqual([])
})

describe.each(['chat', 'responses', 'messages', 'gemini'] as const)('a stream over %s', (api) => {
  const half = STREAMS[api].slice(0, STREAMS[api].length / 2)
  const begin = (response: ServerResponse) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(half)
  }

  test('is closed when the run is aborted', async () => {
    const closed = Promise.withResolvers<number>()
    const server = await answering((response) => {
      begin(response)
      response.on('close', () => closed.resolve(performance.now()))
    })
    const run = new AbortController()
    const heard = Promise.withResolvers<void>()
    const outcome = completeAt(api, `${server.origin}/v1`)(REQUEST, run.signal, () =>
      heard.resolve(),
    )
    await heard.promise
    run.abort()
    expect((await outcome)._unsafeUnwrapErr()).toEqual({ type: 'cancelled' })
    await closed.promise
  })

  test('that is silent for too long is a failed attempt, and is closed', async () => {
    const closed = Promise.withResolvers<void>()
    const server = await answering((response) => {
      begin(response)
      response.on('close', () => closed.resolve())
    })
    const complete = completeAt(api, `${server.origin}/v1`, { silenceMs: 30 })
    const outcome = await complete(REQUEST, new AbortController().signal, () => {})
    expect(outcome._unsafeUnwrapErr()).toMatchObject({
      type: 'transient',
      kind: 'silent',
      message: expect.stringContaining('sent nothing for'),
    })
    await closed.promise
  })

  test('that takes too long is a failed attempt, however much it says', async () => {
    const server = await answering(begin)
    const complete = completeAt(api, `${server.origin}/v1`, { totalMs: 50 })
    const outcome = await complete(REQUEST, new AbortController().signal, () => {})
    expect(outcome._unsafeUnwrapErr()).toMatchObject({
      type: 'transient',
      kind: 'timed_out',
      message: expect.stringContaining('within 0.05 s'),
    })
  })

  test('whose connection breaks is a failed attempt', async () => {
    const server = await answering((response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write(half, () => response.socket?.destroy())
    })
    const complete = completeAt(api, `${server.origin}/v1`)
    const outcome = await complete(REQUEST, new AbortController().signal, () => {})
    expect(outcome._unsafeUnwrapErr()).toMatchObject({ type: 'transient', kind: 'broken_off' })
  })

  test('whose request is refused quotes the provider, without the key', async () => {
    guardSecrets([{ name: 'KEY_OF_TEST', value: 'sk-test-key' }])
    const server = await answering((response) => {
      const message = 'Bad key sk-test-key.'
      response.writeHead(401, { 'content-type': 'application/json' })
      response.end(
        JSON.stringify({ type: 'error', error: { type: 'authentication_error', message } }),
      )
    })
    const complete = completeAt(api, `${server.origin}/v1`)
    const outcome = await complete(REQUEST, new AbortController().signal, () => {})
    expect(outcome._unsafeUnwrapErr()).toMatchObject({
      type: 'refused',
      message: expect.stringContaining('(401): Bad key [masked:KEY_OF_TEST] (is '),
    })
  })
})
