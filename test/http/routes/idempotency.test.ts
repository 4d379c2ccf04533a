import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import { ask } from '../../support/requests.ts'
import { CLAIM, iteration, type TestServer } from '../../support/server.ts'
import { test } from '../../support/test.ts'

const post = (server: TestServer, key: string, body: unknown = { goal: 'pytest' }) =>
  ask(server, 'POST /api/runs', body, { 'idempotency-key': key })

test('the same key and body give the same run: 201 the first time, 200 after', async ({
  server,
}) => {
  const key = randomUUID()
  const first = await post(server, key, { goal: 'pytest', max_iterations: 3 })
  expect(first.status).toBe(201)
  // The order of keys in the body does not matter.
  const second = await post(server, key, { max_iterations: 3, goal: 'pytest' })
  expect(second.status).toBe(200)
  expect(second.body.run_id).toBe(first.body.run_id)
  expect(second.headers.get('location')).toBe(`/api/runs/${first.body.run_id}`)
})

test('of many requests at once, one creates the run, and all get its id', async ({ server }) => {
  const key = randomUUID()
  const answers = await Promise.all(Array.from({ length: 12 }, () => post(server, key)))
  expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(11)
  expect(new Set(answers.map(({ body }) => body.run_id)).size).toBe(1)
})

test('a repeated request gets the status that the run has now', async ({ server }) => {
  const key = randomUUID()
  const { body } = await post(server, key)
  await server.agentDoes(String(body.run_id), CLAIM, ...iteration(true))
  await server.readModel.waitFor(String(body.run_id), 7, 5_000)
  expect((await post(server, key)).body.status).toBe('achieved')
})

test('a request that was refused leaves its key free', async ({ server }) => {
  const key = randomUUID()
  expect((await post(server, key, { goal: 'win' })).status).toBe(422)
  expect((await post(server, key)).status).toBe(201)
})

test('an invalid key is refused', async ({ server }) => {
  const bad = await post(server, 'two words')
  expect(bad.status).toBe(422)
  expect(bad.body.detail).toContain('idempotency-key must have')
})

test('a number that is too large for JavaScript is refused, and the answer names its field', async ({
  server,
}) => {
  const key = randomUUID()
  const answer = await post(server, key, '{"goal":"pytest","max_cost_usd":1e999}')
  expect(answer.status).toBe(422)
  expect(answer.text).toContain('max_cost_usd is a number that is too large.')
  expect((await post(server, key)).status).toBe(201)
})

test('half of a surrogate pair is replaced, as in the log', async ({ server }) => {
  const key = randomUUID()
  const body = (half: string) => `{"goal":"pytest","reason":"cut ${half}"}`
  expect((await post(server, key, body('\\ud83d'))).status).toBe(201)
  expect((await post(server, key, body('\ufffd'))).status).toBe(200)
  const other = await post(server, key, body('other'))
  expect([other.status, other.body.detail]).toEqual([409, expect.stringContaining('new key')])
})

test('a body that is nested very deeply is refused before any code walks it', async ({
  server,
}) => {
  for (const body of [
    '['.repeat(500_000) + ']'.repeat(500_000),
    `${'{"a":'.repeat(65)}1${'}'.repeat(65)}`,
  ]) {
    const answer = await post(server, randomUUID(), body)
    expect(answer.status).toBe(400)
    expect(answer.text).toContain('nested more than 64')
  }
})
