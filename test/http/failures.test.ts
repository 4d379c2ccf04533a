import { randomUUID } from 'node:crypto'
import { connect } from 'node:net'
import { errAsync } from 'neverthrow'
import { expect } from 'vitest'
import { ProblemDocument } from '../../src/api/problems.ts'
import type { EventStore } from '../../src/store/event-store.ts'
import { ask, damage, problem } from '../support/requests.ts'
import { bound, rawRequest, waitingBy } from '../support/server.ts'
import { test } from '../support/test.ts'

const failing = (change: Partial<EventStore>) => (store: EventStore) => ({
  ...bound(store),
  ...change,
})

test('answers 503 with Retry-After if the store cannot append, and says what to do', async ({
  startServer,
}) => {
  const failures = [
    ['store_unavailable', { type: 'store_unavailable', message: 'refused' }, 'Try again'],
    ['store_failed', { type: 'store_failed', message: 'the disk is full' }, 'the disk is full'],
    ['outcome_unknown', { type: 'outcome_unknown', message: 'no answer' }, 'Read the run before'],
    ['busy', { type: 'wrong_expected_revision', expected: 0, actual: 1 }, 'Try again'],
  ] as const
  let next: (typeof failures)[number][1] = failures[0][1]
  const server = await startServer({ wrapStore: failing({ append: () => errAsync(next) }) })
  for (const [code, error, says] of failures) {
    next = error
    const answer = await ask(server, 'POST /api/runs', { goal: 'pytest' })
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '1'])
    expect(answer.body).toMatchObject({ ...problem(code), detail: expect.stringContaining(says) })
  }
})

test('answers 503 if a project cannot be read now, which is no fault of the request', async ({
  startServer,
}) => {
  const message = 'The program that reads the project died.'
  const planRun = () => errAsync([{ field: 'goal', message, isPassing: true }] as const)
  const answer = await ask(await startServer({ planRun }), 'POST /api/runs', { goal: 'pytest' })
  expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '1'])
  expect(answer.body.detail).toBe(`${message} Nothing was done. Try again in a moment.`)
})

test('does not wait forever for a read model that falls behind', async ({ startServer }) => {
  let waited = 0
  const server = await startServer({
    wrapReadModel: (readModel) =>
      waitingBy(
        readModel,
        async (_run, _seq, timeoutMs) => {
          waited = timeoutMs
          return false
        },
        { get: () => null, caughtUp: false },
      ),
  })
  const runId = await server.createRun()
  expect(waited).toBeGreaterThan(0)
  expect(waited).toBeLessThan(5000)

  // The run is there, although the read model does not know it yet: that is not "not found".
  const answer = await ask(server, `GET /api/runs/${runId}`)
  expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '1'])
  expect(answer.body).toMatchObject(problem('not_projected'))
  // Commands do not depend on the read model.
  expect((await ask(server, `POST /api/runs/${runId}/abort`)).status).toBe(200)
  expect((await ask(server, `GET /api/runs/${randomUUID()}`)).status).toBe(404)
})

test('names the damaged record of a damaged run, and changes nothing', async ({
  server,
  runId,
}) => {
  await damage(server, runId, 1)
  const { status, body } = await ask(server, `POST /api/runs/${runId}/abort`)
  expect([status, body]).toMatchObject([500, problem('damaged_record')])
  expect(body.detail).toContain(`Record 1 of run-${runId} cannot be read`)
})

test('answers an internal error without its cause, and logs the cause', async ({ startServer }) => {
  const secret = 'at secret.ts:1:1'
  const server = await startServer({
    ready: () => {
      throw new Error(secret)
    },
  })
  const { status, text } = await ask(server, 'GET /health/ready')
  expect(status).toBe(500)
  expect(text).not.toContain(secret)
  expect(text).toMatch(/its log has the reason, under the request id req-/i)
})

test('answers 503 with the reason while it is not ready', async ({ startServer }) => {
  const readiness = { ready: false, checks: { store: { ok: false, detail: 'unreachable' } } }
  const server = await startServer({ ready: async () => readiness })
  const { status, body } = await ask(server, 'GET /health/ready')
  expect([status, body]).toEqual([503, readiness])
  expect((await ask(server, 'GET /health/live')).status).toBe(200)
})

const HOST = 'HTTP/1.1\r\nHost: localhost\r\n'
const UPGRADE = `${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: ${'A'.repeat(22)}==\r\nSec-WebSocket-Version: 13\r\n`
const JSON_OF = 'Content-Type: application/json\r\nContent-Length: '

test.for([
  ['no request at all', 400, 'bad_request', 'nonsense\r\n'],
  ['no Host', 403, 'foreign_host', 'GET /api/runs HTTP/1.1\r\n'],
  ['an odd expectation', 417, 'expectation_failed', `GET / ${HOST}Expect: more\r\n`],
  ['an address that cannot be decoded', 404, 'not_found', `GET /api/runs/%zz ${HOST}`],
  ['large headers', 431, 'headers_too_large', `GET / HTTP/1.1\r\nX: ${'x'.repeat(20_000)}\r\n`],
  ['a very long id', 404, 'run_not_found', `GET /api/runs/${'x'.repeat(2000)} ${HOST}`],
  ['an invalid handshake', 405, 'method_not_allowed', `POST /api/ws ${UPGRADE}`],
  ['two Host headers', 400, 'bad_request', `GET /api/runs ${HOST}host: localhost\r\n`],
  [
    'a body that is not UTF-8',
    400,
    'malformed_json',
    `POST /api/runs ${HOST}${JSON_OF}17\r\n\r\n{"goal":"caf\xe9!!"}`,
  ],
  [
    'a compressed body',
    415,
    'unsupported_media_type',
    `POST /api/runs ${HOST}Content-Encoding: gzip\r\n${JSON_OF}2\r\n\r\n{}`,
  ],
  ['a handshake elsewhere', 400, 'bad_request', `GET /api/runs ${UPGRADE}`],
] as const)(
  'answers %s with a problem document and the headers of all answers',
  async ([_, status, code, request], { server }) => {
    const connection = connect(server.port, '127.0.0.1')
    const closing = request.replace('HTTP/1.1\r\n', 'HTTP/1.1\r\nConnection: close\r\n')
    connection.write(closing.includes('\r\n\r\n') ? closing : `${closing}\r\n`, 'latin1')
    const answer = (await connection.toArray()).join('')
    const [head = '', body = ''] = answer.split('\r\n\r\n')
    expect(head.split(' ')[1]).toBe(String(status))
    expect(head).toMatch(/^content-type: application\/problem\+json/im)
    for (const name of [
      'x-content-type-options',
      'x-frame-options',
      'content-security-policy',
      'referrer-policy',
      'cross-origin-resource-policy',
    ]) {
      expect(head).toMatch(new RegExp(`^${name}: `, 'im'))
    }
    expect(ProblemDocument.strict().parse(JSON.parse(body)).type).toBe(`urn:retrai:problem:${code}`)
  },
)

test('answers a client that offers HTTP/2 with HTTP/1.1', async ({ server }) => {
  const headers = {
    connection: 'Upgrade, HTTP2-Settings',
    upgrade: 'h2c',
    'http2-settings': 'AAMAAABk',
  }
  const { status, body } = await rawRequest(server, { path: '/api/goals', headers })
  expect([status, JSON.parse(body)]).toEqual([200, expect.any(Array)])
})
