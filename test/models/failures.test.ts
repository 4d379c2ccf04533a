import { Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import type { Fault, Script } from '../../examples/scripted-model/script.ts'
import { startScriptedModel } from '../../examples/scripted-model/server.ts'
import { guardSecrets } from '../../src/masking/process-mask.ts'
import { createModels } from '../../src/models/models.ts'
import { serve } from '../support/serve.ts'
import { within } from '../support/within.ts'
import { ask, KEY, REQUEST, says, scripted } from './support.ts'

function* forEver(): Generator<Buffer> {
  for (;;) yield Buffer.alloc(65_536, 'x')
}

async function failure(fault: Fault) {
  const { models, host } = await scripted([fault])
  const error = (await ask(models))._unsafeUnwrapErr()
  return { error, host }
}
const message = (text: string) => ({ error: { message: text, type: 'x', code: null } })

describe('a failure that may be retried', () => {
  test.each([408, 409, 425, 429, 500, 502, 503, 529])('is status %d', async (status) => {
    const { error, host } = await failure({ status, body: message('Try again.') })
    const sentence = `${host} failed to answer for scripted-model (${status}): Try again.`
    expect(error).toMatchObject({ type: 'transient', message: sentence, retryAfterMs: null })
  })

  test.each<[headers: Record<string, string>, expected: number | null]>([
    [{ 'retry-after': '7' }, 7000],
    [{ 'retry-after': '0.25' }, 250],
    [{ 'retry-after': 'soon' }, null],
    [{ 'retry-after': '-3' }, 0],
    [{ 'retry-after': new Date(0).toUTCString() }, 0],
  ])('has the wait that the endpoint asks for: %j', async (headers, retryAfterMs) => {
    const { error } = await failure({ status: 429, headers })
    expect(error).toMatchObject({ type: 'transient', retryAfterMs })
  })

  test('has the time until the moment that the endpoint names', async () => {
    const headers = { 'retry-after': new Date(Date.now() + 60_000).toUTCString() }
    const { error } = await failure({ status: 429, headers })
    const later = error.type === 'transient' ? error.retryAfterMs : null
    expect(later).toBeGreaterThan(50_000)
    expect(later).toBeLessThanOrEqual(60_000)
  })

  test.each([
    [{ fault: 'drop' }, /broke|cannot be reached/],
    [{ fault: 'cut' }, /broke during the answer of scripted-model/],
    [{ fault: 'garbage' }, /is not valid: <html><body>It works!/],
    [{ fault: 'empty' }, /is not a stream of events/],
    [{ status: 200, body: '' }, /is not valid: it is empty/],
    [{ status: 200, body: '{"choices": [' }, /is not valid/],
    [{ status: 200, body: 'null' }, /is not valid/],
    [{ status: 200, body: { choices: [{ delta: 5 }] } }, /is not valid: choices.0.delta/],
    [{ status: 200, body: message('Overloaded.') }, /failed to answer .*\(500\): Overloaded\./],
  ] as const)('is %j', async (fault, sentence) => {
    const { error, host } = await failure(fault)
    const message = expect.stringMatching(sentence)
    expect(error).toMatchObject({ type: 'transient', retryAfterMs: null, message })
    expect(JSON.stringify(error)).toContain(host)
  })

  test.each<[what: string, Script, sentence: string]>([
    ['a call without a name', says({ tool_calls: [{ id: 'a', type: 'function' }] }), 'not valid'],
    ['a reply that is too large to record', [{ text: 'x'.repeat(500_000) }], 'too large'],
  ])('is %s', async (_, script, sentence) => {
    const { models } = await scripted(script)
    const message = expect.stringContaining(sentence)
    expect((await ask(models))._unsafeUnwrapErr()).toMatchObject({ type: 'transient', message })
  })

  test('is an error that does not end: the rest of it is not read', async () => {
    const { promise: closed, resolve } = Promise.withResolvers<void>()
    const endless = await serve((request, response) => {
      request.resume()
      response.writeHead(500).on('close', resolve)
      Readable.from(forEver()).pipe(response)
    })
    const models = createModels({ RETRAI_LLM_BASE_URL: `${endless}/v1` })
    const error = (await ask(models))._unsafeUnwrapErr()
    expect(error).toMatchObject({ type: 'transient', message: expect.stringContaining('(500)') })
    await within(closed, () => 'the end of the connection', 10_000)
  })

  test('is an endpoint that does not exist', async () => {
    const server = await startScriptedModel({ script: [] })
    await server.close()
    const models = createModels({ RETRAI_LLM_BASE_URL: server.url })
    const error = (await ask(models))._unsafeUnwrapErr()
    const { host } = new URL(server.url)
    const sentence = `${host} cannot be reached for scripted-model: connect ECONNREFUSED ${host}`
    expect(error).toMatchObject({ type: 'transient', message: sentence, retryAfterMs: null })
  })
})

describe('a refusal', () => {
  const ADVICE = 'Bad thing (are the address of the endpoint and the name of the model right?)'
  test.each([
    [400, 'Bad thing.'],
    [403, 'Bad thing.'],
    [422, 'Bad thing.'],
    [401, 'Bad thing (is RETRAI_LLM_API_KEY right?)'],
    [301, ADVICE],
    [404, ADVICE],
  ])('is status %d, with advice if there is any', async (status, words) => {
    const { error, host } = await failure({ status, body: message('Bad thing.') })
    const sentence = `${host} refused the request for scripted-model (${status}): ${words}`
    expect(error).toEqual({ type: 'refused', message: sentence })
  })

  test('is not a quota that is used up: that is waited for', async () => {
    const code = 'insufficient_quota'
    const byCode = await failure({ status: 429, body: { error: { message: 'Pay.', code } } })
    const byType = await failure({ status: 429, body: { error: { message: 'Pay.', type: code } } })
    const byStatus = await failure({ status: 402, body: message('Pay.') })
    const spent = { type: 'transient', kind: 'rate_limited', isSpent: true, retryAfterMs: null }
    const text = 'Your credit balance is too low to access the Anthropic API.'
    const byText = await failure({ status: 400, body: message(text) })
    for (const { error } of [byCode, byType, byStatus, byText]) expect(error).toMatchObject(spent)
  })

  test('is a conversation that is too long, whatever the status', async () => {
    const body = { error: 'request (9000 tokens) exceeds the available context size (8192 tokens)' }
    for (const status of [200, 400, 500]) {
      const { error } = await failure({ status, body })
      expect(error).toMatchObject({ type: 'context_overflow' })
    }
  })

  test.each([
    [413, 'Bad thing.'],
    [400, 'input length and `max_tokens` exceed context limit: 178959 + 64000 > 200000, decrease'],
    [400, 'Prompt exceeds max length'],
    [400, 'the input token count is 1100000 but model only supports up to 1048576.'],
    [400, "The input (61709 tokens) is longer than the model's context length (40960 tokens)."],
    [400, 'Input length (160062 tokens) exceeds the maximum allowed length (59862 tokens).'],
    [400, 'the model is loaded with context length of only 7866 tokens, which is not enough.'],
    [429, 'Request too large for gpt-5 on tokens per min (TPM): Limit 30000, Requested 36055.'],
  ])('with status %d is one, too: %s', async (status, words) => {
    const { error } = await failure({ status, body: message(words) })
    expect(error).toMatchObject({ type: 'context_overflow' })
  })

  test('may come with status 200', async () => {
    const body = { error: { message: 'No such model.', code: 404 } }
    const { error } = await failure({ status: 200, body })
    expect(error).toMatchObject({ type: 'refused' })
  })

  test.each([
    ['OpenAI', message('Bad thing.'), 'Bad thing.'],
    ['Google', [{ error: { code: 400, message: 'Bad thing.' } }], 'Bad thing.'],
    ['Ollama', { error: 'Bad thing.' }, 'Bad thing.'],
    ['vLLM', { object: 'error', message: 'Bad thing.', code: 400 }, 'Bad thing.'],
    ['FastAPI', { detail: 'Bad thing.' }, '{"detail":"Bad thing."}'],
    ['a proxy', 'Bad\n  thing.', 'Bad thing.'],
    ['nobody', '', 'no reason given'],
    ['nobody', {}, 'no reason given'],
  ])('quotes %s', async (_, body, words) => {
    const { error, host } = await failure({ status: 400, body })
    const sentence = `${host} refused the request for scripted-model (400): ${words}`
    expect(error).toEqual({ type: 'refused', message: sentence })
  })

  test('never shows the key, even if the answer of the endpoint does', async () => {
    guardSecrets([{ name: 'RETRAI_LLM_API_KEY', value: KEY }])
    const script = ({ headers }: { headers: { authorization?: string | undefined } }) => {
      const body = message(`Incorrect API key: ${headers.authorization} ${'x'.repeat(1000)}`)
      return { status: 401, body }
    }
    const { models } = await scripted(script)
    const error = (await ask(models))._unsafeUnwrapErr()
    const quoted = 'Incorrect API key: Bearer [masked:RETRAI_LLM_API_KEY]'
    expect(error).toMatchObject({ message: expect.stringContaining(quoted) })
    expect(JSON.stringify(error)).not.toContain(KEY.slice(0, 8))
    expect(JSON.stringify(error).length).toBeLessThan(500)
  })
})

describe('an abort', () => {
  test('ends a request at once', async () => {
    const arrived = Promise.withResolvers<void>()
    const { models } = await scripted(() => {
      arrived.resolve()
      return { fault: 'hang' }
    })
    const run = new AbortController()
    const outcome = models.complete(REQUEST, run.signal)
    await arrived.promise
    run.abort()
    expect((await outcome)._unsafeUnwrapErr()).toEqual({ type: 'cancelled' })
  })

  test('prevents a request', async () => {
    const { models, server } = await scripted([{ text: 'Done.' }])
    const outcome = await models.complete(REQUEST, AbortSignal.abort())
    expect(outcome._unsafeUnwrapErr()).toEqual({ type: 'cancelled' })
    expect(server.requests).toEqual([])
  })
})
