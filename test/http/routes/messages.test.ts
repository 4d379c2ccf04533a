import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { json, startTestServer, type TestServer } from '../../support/server.ts'

let server: TestServer
beforeAll(async () => {
  server = await startTestServer()
})
afterAll(() => server.stop())

async function send(runId: string, body: unknown, headers: Readonly<Record<string, string>> = {}) {
  const request = json('POST', body)
  const response = await fetch(`${server.url}/api/runs/${runId}/messages`, {
    ...request,
    headers: { ...request.headers, ...headers },
  })
  return { status: response.status, body: (await response.json()) as Record<string, unknown> }
}

const messagesOf = async (runId: string) => {
  const response = await fetch(`${server.url}/api/runs/${runId}/events?kinds=user_message`)
  return ((await response.json()) as { payload: { text: string } }[]).map(
    ({ payload }) => payload.text,
  )
}

describe('a message to the agent of a run', () => {
  test('is a record of the run', async () => {
    const runId = await server.createRun()
    const sent = await send(runId, { text: '  Leave the API alone.\n' })
    expect(sent).toEqual({ status: 201, body: { run_id: runId, status: 'running', seq: 1 } })
    expect(await messagesOf(runId)).toEqual(['Leave the API alone.'])
  })

  test('is recorded once if it is repeated with the same key, and has the same answer', async () => {
    const runId = await server.createRun()
    const key = { 'idempotency-key': 'm1' }
    const [first, second] = [
      await send(runId, { text: 'Hurry.' }, key),
      await send(runId, { text: 'Hurry.' }, key),
    ]
    expect([first.status, second.status]).toEqual([201, 200])
    expect(second.body).toEqual(first.body)
    expect(await messagesOf(runId)).toEqual(['Hurry.'])
    const other = await send(runId, { text: 'Slowly.' }, key)
    expect(other).toMatchObject({ status: 409, body: { type: 'urn:retrai:problem:key_reused' } })
  })

  test('is refused if it is empty, or there is no such run', async () => {
    const runId = await server.createRun()
    expect(await send(runId, { text: ' ' })).toMatchObject({ status: 422 })
    expect(await send(runId, {})).toMatchObject({ status: 422 })
    expect(await send('none', { text: 'Hello?' })).toMatchObject({ status: 404 })
  })
})

test('instructions are kept in the first record', async () => {
  const response = await fetch(
    `${server.url}/api/runs`,
    json('POST', { goal: 'pytest', instructions: ' Add a test. ' }),
  )
  const { run_id } = (await response.json()) as { run_id: string }
  const events = await fetch(`${server.url}/api/runs/${run_id}/events?kinds=run_created`)
  const [created] = (await events.json()) as [{ payload: Record<string, unknown> }]
  expect(created.payload.instructions).toBe('Add a test.')
  expect(created.payload.config).not.toHaveProperty('instructions')
})

test('a run whose goal is to follow instructions must have some', async () => {
  const response = await fetch(`${server.url}/api/runs`, json('POST', { goal: 'instructions' }))
  expect(response.status).toBe(422)
  expect(await response.json()).toMatchObject({
    errors: [{ field: 'instructions', message: expect.stringContaining('-m TEXT') }],
  })
})
