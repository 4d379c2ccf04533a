import { expect } from 'vitest'
import { ask, problem, recordsOf } from '../../support/requests.ts'
import type { TestServer } from '../../support/server.ts'
import { test } from '../../support/test.ts'

const send = (server: TestServer, runId: string, body: unknown, headers = {}) =>
  ask(server, `POST /api/runs/${runId}/messages`, body, headers)

test('a message to the agent of a run is a record of the run, once for each key', async ({
  server,
  runId,
}) => {
  const sent = await send(server, runId, { text: '  Leave the API alone.\n' })
  expect(sent).toMatchObject({ status: 201, body: { run_id: runId, status: 'running', seq: 1 } })
  const key = { 'idempotency-key': 'm1' }
  const first = await send(server, runId, { text: 'Hurry.' }, key)
  const second = await send(server, runId, { text: 'Hurry.' }, key)
  expect([first.status, second.status, second.body]).toEqual([201, 200, first.body])
  const other = await send(server, runId, { text: 'Slowly.' }, key)
  expect(other).toMatchObject({ status: 409, body: problem('key_reused') })
  expect(
    (await recordsOf(server, runId)).slice(1).map(({ record }) => record.payload),
  ).toMatchObject([{ text: 'Leave the API alone.' }, { text: 'Hurry.' }])
})

test('instructions are kept in the first record, and the goal to follow them needs some', async ({
  server,
}) => {
  const runId = await server.createRun({ instructions: ' Add a test. ' })
  const [created] = await recordsOf(server, runId)
  expect(created?.record.payload).toMatchObject({ instructions: 'Add a test.' })
  expect(created?.record.payload).not.toHaveProperty('config.instructions')
  expect(await ask(server, 'POST /api/runs', { goal: 'instructions' })).toMatchObject({
    status: 422,
    body: { errors: [{ field: 'instructions', message: expect.stringContaining('-m TEXT') }] },
  })
})
