import { describe, expect, test } from 'vitest'
import { sender } from '../../../src/models/send.ts'
import { fakeServer, routeTo } from './support.ts'

const BODY = { stream: true, stream_options: {}, reasoning: { effort: 'low', summary: 'auto' } }
const { signal } = new AbortController()

type Refusal = { readonly status?: number; readonly body: object }

/** Sends the body to an endpoint that refuses with these errors first; `bodies` are what it got. */
async function endpoint(...refusals: Refusal[]) {
  const bodies: object[] = []
  const left = [...refusals]
  const url = await fakeServer((body) => {
    bodies.push(body)
    const refusal = left.shift()
    if (refusal === undefined) return { status: 200, text: '{}' }
    return { status: refusal.status ?? 400, text: JSON.stringify(refusal.body) }
  })
  const post = sender(
    () => ({ url, headers: {} }),
    [['stream_options'], ['reasoning.summary'], ['stream', 'stream_options']],
  )
  return { bodies, send: () => post(BODY, routeTo('responses'), signal) }
}

describe('an optional parameter that an endpoint refuses', () => {
  test.each<[string, Refusal, object]>([
    [
      'with those that go with it',
      { body: { message: 'Verify first.', param: 'stream' } },
      { reasoning: BODY.reasoning },
    ],
    [
      'inside of another one',
      { body: { error: { message: 'No.', param: 'reasoning.summary' } } },
      { ...BODY, reasoning: { effort: 'low' } },
    ],
    [
      'if it is named only in the text of the error',
      { status: 422, body: { detail: 'stream_options: extra fields not permitted' } },
      { stream: true, reasoning: BODY.reasoning },
    ],
  ])('is left out, %s, in this request and in all later ones', async (_, refusal, without) => {
    const { bodies, send } = await endpoint(refusal)
    await send()
    await send()
    expect(bodies).toEqual([BODY, without, without])
  })

  test('is left out once: a second refusal is the answer', async () => {
    const again = { body: { error: { message: 'No.', param: 'stream' } } }
    const { bodies, send } = await endpoint(again, again)
    expect(await send()).toMatchObject({ status: 400, body: again.body })
    expect(bodies).toHaveLength(2)
  })

  test('is left out by all requests that were refused at the same time', async () => {
    const refusal = { body: { param: 'stream_options' } }
    const { bodies, send } = await endpoint(refusal, refusal)
    await Promise.all([send(), send()])
    const { stream_options: _, ...without } = BODY
    expect(bodies).toEqual([BODY, BODY, without, without])
  })

  test.each<Refusal>([
    { body: { message: 'a stream of words' } },
    { body: { param: 'model' } },
    { status: 500, body: { param: 'stream' } },
  ])('is not left out after %j', async (refusal) => {
    const { bodies, send } = await endpoint(refusal)
    expect(await send()).toMatchObject({ body: refusal.body })
    expect(bodies).toHaveLength(1)
  })
})
