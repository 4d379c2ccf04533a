import { expect, test } from 'vitest'
import { ADAPTERS, fakeServer, routeTo } from './support.ts'

test('summaries that OpenAI refuses to an organization are left out, in this request and in all later ones', async () => {
  const bodies: object[] = []
  const error = { message: 'Verify your organization first.', param: 'reasoning.summary' }
  const refusals = [
    { status: 400, text: JSON.stringify({ error }) },
    { status: 400, text: JSON.stringify({ error: { ...error, param: 'model' } }) },
  ]
  const baseUrl = await fakeServer((body) => {
    bodies.push(body)
    return refusals.shift() ?? { status: 200, text: '{}' }
  })
  const body = { stream: true, reasoning: { effort: 'low', summary: 'auto' }, input: [] }
  const send = () =>
    ADAPTERS.responses.send(body, routeTo('responses', { baseUrl }), new AbortController().signal)
  expect(await send()).toMatchObject({ status: 400, body: { error: { param: 'model' } } })
  expect(await send()).toMatchObject({ status: 200 })
  const without = { ...body, reasoning: { effort: 'low' } }
  expect(bodies).toEqual([body, without, without])
})
