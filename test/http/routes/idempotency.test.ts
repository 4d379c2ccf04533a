import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import { CLAIM, iteration, type TestServer } from '../../support/server.ts'
import { test } from '../../support/test.ts'

async function post(server: TestServer, key: string, body: object = { goal: 'pytest' }) {
  const response = await fetch(`${server.url}/api/runs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': key },
    body: JSON.stringify(body),
  })
  const answer = (await response.json()) as { run_id?: string; status: unknown; detail?: string }
  return { status: response.status, location: response.headers.get('location'), answer }
}

test('the same key and body give the same run: 201 the first time, 200 after', async ({
  server,
}) => {
  const key = randomUUID()
  const first = await post(server, key, { goal: 'pytest', max_iterations: 3 })
  expect(first.status).toBe(201)
  // The order of keys in the body does not matter.
  const second = await post(server, key, { max_iterations: 3, goal: 'pytest' })
  expect(second.status).toBe(200)
  expect(second.answer.run_id).toBe(first.answer.run_id)
  expect(second.location).toBe(`/api/runs/${first.answer.run_id}`)
})

test('of many requests at once, one creates the run, and all get its id', async ({ server }) => {
  const key = randomUUID()
  const answers = await Promise.all(Array.from({ length: 12 }, () => post(server, key)))
  expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(11)
  expect(new Set(answers.map(({ answer }) => answer.run_id)).size).toBe(1)
})

test('the same key with another body is refused', async ({ server }) => {
  const key = randomUUID()
  await post(server, key)
  const other = await post(server, key, { goal: 'npm-test' })
  expect(other.status).toBe(409)
  expect(other.answer.detail).toContain('new key')
})

test('a repeated request gets the status that the run has now', async ({ server }) => {
  const key = randomUUID()
  const { answer } = await post(server, key)
  await server.agentDoes(String(answer.run_id), CLAIM, ...iteration(true))
  await server.readModel.waitFor(String(answer.run_id), 7, 5_000)
  expect((await post(server, key)).answer.status).toBe('achieved')
})

test('a request that was refused leaves its key free', async ({ server }) => {
  const key = randomUUID()
  expect((await post(server, key, { goal: 'win' })).status).toBe(422)
  expect((await post(server, key)).status).toBe(201)
})

test('another key creates another run, and an invalid key is refused', async ({ server }) => {
  const [one, other] = [await post(server, randomUUID()), await post(server, randomUUID())]
  expect(one.answer.run_id).not.toBe(other.answer.run_id)
  const bad = await post(server, 'two words')
  expect(bad.status).toBe(422)
  expect(bad.answer.detail).toContain('idempotency-key must have')
})

const postText = (server: TestServer, key: string, body: string) =>
  fetch(`${server.url}/api/runs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': key },
    body,
  })

test('a number that is too large for JavaScript is refused, and the answer names its field', async ({
  server,
}) => {
  const key = randomUUID()
  const answer = await postText(server, key, '{"goal":"pytest","max_cost_usd":1e999}')
  expect(answer.status).toBe(422)
  expect(await answer.text()).toContain('max_cost_usd is a number that is too large.')
  expect((await post(server, key)).status).toBe(201)
})

test('half of a surrogate pair is replaced, as in the log', async ({ server }) => {
  const key = randomUUID()
  const body = (half: string) => `{"goal":"pytest","reason":"cut ${half}"}`
  expect((await postText(server, key, body('\\ud83d'))).status).toBe(201)
  expect((await postText(server, key, body('\ufffd'))).status).toBe(200)
  expect((await postText(server, key, body('other'))).status).toBe(409)
})

test('a body that is nested very deeply is refused before any code walks it', async ({
  server,
}) => {
  for (const body of [
    '['.repeat(500_000) + ']'.repeat(500_000),
    `${'{"a":'.repeat(65)}1${'}'.repeat(65)}`,
  ]) {
    const answer = await postText(server, randomUUID(), body)
    expect(answer.status).toBe(400)
    expect(await answer.text()).toContain('nested more than 64')
  }
})
