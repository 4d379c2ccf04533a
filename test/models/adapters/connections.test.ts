import { getEventListeners } from 'node:events'
import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
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
    const closed = Promise.withResolvers<void>()
    const server = await answering((response) => {
      begin(response)
      response.on('close', () => closed.resolve())
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

  test.each<[how: string, Partial<Deadlines>, kind: string, message: string]>([
    ['is silent for too long', { silenceMs: 30 }, 'silent', 'sent nothing for'],
    ['takes too long, however much it says,', { totalMs: 50 }, 'timed_out', 'within 0.05 s'],
    ['is broken off', {}, 'broken_off', 'broke'],
  ])('that %s is a failed attempt, and is closed', async (_, deadlines, kind, message) => {
    const closed = Promise.withResolvers<void>()
    const server = await answering((response) => {
      begin(response)
      response.on('close', () => closed.resolve())
      if (kind === 'broken_off') response.write('\n', () => response.socket?.destroy())
    })
    const complete = completeAt(api, `${server.origin}/v1`, deadlines)
    const outcome = await complete(REQUEST, new AbortController().signal, () => {})
    expect(outcome._unsafeUnwrapErr()).toMatchObject({
      type: 'transient',
      kind,
      message: expect.stringContaining(message),
    })
    // A slow machine may get no answer in the time that all may take, so there is none to close.
    if (kind !== 'timed_out') await closed.promise
  })
})
