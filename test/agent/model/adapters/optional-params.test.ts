import { describe, expect, test } from 'vitest'
import { HttpStatusError } from '../../../../src/agent/model/adapter.ts'
import { withOptional } from '../../../../src/agent/model/adapters/optional-params.ts'
import { routeTo } from './support.ts'

const PARAMS = [
  {
    name: 'stream_options',
    without: ({ stream_options: _, ...body }: { stream_options?: unknown }) => body,
  },
  { name: 'stream', without: (body: object) => ({ ...body, stream: false }) },
]
const BODY = { stream: true, stream_options: {}, model: 'm' }
const { signal } = new AbortController()

/** Sends the same body twice to an endpoint that refuses with these errors first; returns what it got. */
async function bodiesFor(...refusals: HttpStatusError[]) {
  const bodies: object[] = []
  const left = [...refusals]
  const send = withOptional(PARAMS, async (body) => {
    bodies.push(body)
    const refusal = left.shift()
    if (refusal !== undefined) throw refusal
    return new Response()
  })
  const route = routeTo('responses')
  const send2 = async () => {
    await send(BODY, route, signal)
    await send(BODY, route, signal)
  }
  return { bodies, sent: send2() }
}
const refusal = (body: object, status = 400) => new HttpStatusError(status, body, new Headers())

describe('an optional parameter that an endpoint refuses', () => {
  test('is left out, in this request and in all later ones', async () => {
    const named = refusal({ message: 'Verify first.', param: 'stream' })
    const { bodies, sent } = await bodiesFor(named)
    await sent
    const without = { ...BODY, stream: false }
    expect(bodies).toEqual([BODY, without, without])
  })

  test('may be named only in the text of the error', async () => {
    const { bodies, sent } = await bodiesFor(
      refusal({ detail: 'stream_options: extra fields not permitted' }, 422),
    )
    await sent
    const without = { stream: true, model: 'm' }
    expect(bodies).toEqual([BODY, without, without])
  })

  test('is left out once: a second refusal is the answer', async () => {
    const again = refusal({ error: { message: 'No.', param: 'stream' } })
    const { bodies, sent } = await bodiesFor(again, again)
    await expect(sent).rejects.toBe(again)
    expect(bodies).toHaveLength(2)
  })

  test('is left out by all requests that were refused at the same time', async () => {
    const bodies: object[] = []
    const send = withOptional(PARAMS, async (body) => {
      bodies.push(body)
      await Promise.resolve()
      if ('stream_options' in body) throw refusal({ param: 'stream_options' })
      return new Response()
    })
    const route = routeTo('responses')
    await Promise.all([send(BODY, route, signal), send(BODY, route, signal)])
    const without = { stream: true, model: 'm' }
    expect(bodies).toEqual([BODY, BODY, without, without])
  })

  test('is not left out after any other error', async () => {
    for (const other of [
      refusal({ message: 'a stream of words' }),
      refusal({ param: 'model' }),
      refusal({ param: 'stream' }, 500),
    ]) {
      const { bodies, sent } = await bodiesFor(other)
      await expect(sent).rejects.toBe(other)
      expect(bodies).toHaveLength(1)
    }
  })
})
