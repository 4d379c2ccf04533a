import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createComplete } from '../../../../src/agent/model/complete.ts'
import type { Api } from '../../../../src/agent/model/routing.ts'
import { STREAMS } from './streams.ts'
import { ADAPTERS, REQUEST, routeTo } from './support.ts'

type Seen = { readonly url: string; readonly headers: IncomingHttpHeaders; readonly body: string }

/** A server that answers each request with `answer`, until the end of the test. */
async function serve(answer: (response: ServerResponse) => void) {
  const requests: Seen[] = []
  const server = createServer(async (incoming, response) => {
    const { url = '', headers } = incoming
    requests.push({ url, headers, body: await text(incoming) })
    answer(response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  })
  const { port } = server.address() as AddressInfo
  return { requests, origin: `http://127.0.0.1:${port}` }
}

function completeAt(api: Api, baseUrl: string, silenceMs = 60_000) {
  return createComplete({
    routeOf: async () => routeTo(api, { baseUrl }),
    keys: ['sk-test-key'],
    deadlines: { totalMs: 60_000, firstMs: 60_000, silenceMs },
    adapterOf: async () => ADAPTERS[api],
  })
}

const answerWith = (stream: string) => (response: ServerResponse) => {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.end(stream)
}

describe('a request', () => {
  test.each([
    ['chat', '/v1/chat/completions'],
    ['responses', '/v1/responses'],
    ['messages', '/v1/messages'],
  ] as const)('over %s goes to %s, with the body as the adapter built it', async (api, path) => {
    const server = await serve(answerWith(STREAMS[api]))
    const baseUrl = `${server.origin}/v1`
    const reply = await completeAt(api, baseUrl)(REQUEST, new AbortController().signal, () => {})
    expect(reply._unsafeUnwrap().finishReason).toBe('tool_calls')
    const [request] = server.requests
    expect(request?.url).toBe(path)
    const body = ADAPTERS[api].body(REQUEST, routeTo(api, { baseUrl }))
    expect(JSON.parse(request?.body ?? '')).toEqual(JSON.parse(JSON.stringify(body)))
    expect(request?.headers.authorization).toBe('Bearer sk-test-key')
  })

  test('over Messages is sent again without strict tools if Anthropic cannot enforce them', async () => {
    let isRefused = false
    const server = await serve((response) => {
      if (isRefused) return answerWith(STREAMS.messages)(response)
      isRefused = true
      const message = 'tools.0.custom.strict: Schema is too complex for compilation.'
      response
        .writeHead(400)
        .end(JSON.stringify({ type: 'error', error: { type: 'invalid_request_error', message } }))
    })
    const complete = completeAt('messages', `${server.origin}/v1`)
    expect((await complete(REQUEST, new AbortController().signal, () => {})).isOk()).toBe(true)
    const strict = server.requests.map(({ body }) => JSON.parse(body).tools[0].strict)
    expect(strict).toEqual([true, undefined])
  })

  test('to an endpoint of another vendor that speaks Messages has the key in the older header too', async () => {
    const server = await serve(answerWith(STREAMS.messages))
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
    const server = await serve((response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write(STREAMS[api].replace('data: [DONE]\n\n', ''))
    })
    const complete = completeAt(api, `${server.origin}/v1`, 50)
    const reply = await complete(REQUEST, new AbortController().signal, () => {})
    expect(reply._unsafeUnwrap().finishReason).toBe('tool_calls')
  },
)

describe.each(['chat', 'responses', 'messages', 'gemini'] as const)('a stream over %s', (api) => {
  const half = STREAMS[api].slice(0, STREAMS[api].length / 2)
  const begin = (response: ServerResponse) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(half)
  }

  test('is closed when the run is aborted', async () => {
    const closed = Promise.withResolvers<number>()
    const server = await serve((response) => {
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
    const server = await serve((response) => {
      begin(response)
      response.on('close', () => closed.resolve())
    })
    const complete = completeAt(api, `${server.origin}/v1`, 30)
    const outcome = await complete(REQUEST, new AbortController().signal, () => {})
    expect(outcome._unsafeUnwrapErr()).toMatchObject({
      type: 'transient',
      kind: 'silent',
      message: expect.stringContaining('sent nothing for'),
    })
    await closed.promise
  })

  test('whose connection breaks is a failed attempt', async () => {
    const server = await serve((response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write(half, () => response.socket?.destroy())
    })
    const complete = completeAt(api, `${server.origin}/v1`)
    const outcome = await complete(REQUEST, new AbortController().signal, () => {})
    expect(outcome._unsafeUnwrapErr()).toMatchObject({ type: 'transient', kind: 'broken_off' })
  })

  test('whose request is refused quotes the provider, without the key', async () => {
    const server = await serve((response) => {
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
      message: expect.stringContaining('(401): Bad key *** (is '),
    })
  })
})
