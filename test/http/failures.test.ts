import { randomUUID } from 'node:crypto'
import { connect } from 'node:net'
import { errAsync } from 'neverthrow'
import { expect } from 'vitest'
import { ProblemDocument } from '../../src/api/problems.ts'
import { streamOf } from '../../src/log/run-log.ts'
import type { EventStore } from '../../src/store/event-store.ts'
import { bound, json, rawRequest, type TestServer } from '../support/server.ts'
import { test } from '../support/test.ts'

async function problemOf(answer: Response) {
  expect(answer.headers.get('content-type')).toBe('application/problem+json')
  return ProblemDocument.strict().parse(await answer.json())
}
const start = (server: TestServer) =>
  fetch(`${server.url}/api/runs`, json('POST', { goal: 'pytest' }))
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
    const answer = await start(server)
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '1'])
    const { type, detail } = await problemOf(answer)
    expect(type).toBe(`urn:retrai:problem:${code}`)
    expect(detail).toContain(says)
  }
})

test('does not wait forever for a read model that falls behind', async ({ startServer }) => {
  let waited = 0
  const server = await startServer({
    wrapReadModel: (readModel) => ({
      get: () => null,
      list: (query) => readModel.list(query),
      laterTags: (run) => readModel.laterTags(run),
      totals: readModel.totals,
      statuses: () => readModel.statuses(),
      caughtUp: false,
      waitFor: async (_run, _seq, timeoutMs) => {
        waited = timeoutMs
        return false
      },
    }),
  })
  const runId = await server.createRun()
  expect(waited).toBeGreaterThan(0)
  expect(waited).toBeLessThan(5000)

  // The run is there, although the read model does not know it yet: that is not "not found".
  const answer = await fetch(`${server.url}/api/runs/${runId}`)
  expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '1'])
  expect((await problemOf(answer)).type).toBe('urn:retrai:problem:not_projected')
  // Commands do not depend on the read model.
  const aborted = await fetch(`${server.url}/api/runs/${runId}/abort`, { method: 'POST' })
  expect(aborted.status).toBe(200)
  expect((await fetch(`${server.url}/api/runs/${randomUUID()}`)).status).toBe(404)
})

test('names the damaged record of a damaged run, and changes nothing', async ({ server }) => {
  const runId = await server.createRun()
  const event = { id: randomUUID(), type: 'step_start', data: '{}', metadata: '{}' }
  ;(await server.store.append(streamOf(runId), [event], { expectedRevision: 0 }))._unsafeUnwrap()
  const answer = await fetch(`${server.url}/api/runs/${runId}/abort`, { method: 'POST' })
  expect(answer.status).toBe(500)
  const { type, detail } = await problemOf(answer)
  expect(type).toBe('urn:retrai:problem:damaged_record')
  expect(detail).toContain(`Record 1 of run-${runId} cannot be read`)
})

test('answers an internal error without its cause, and logs the cause', async ({ startServer }) => {
  const secret = 'at secret.ts:1:1'
  const server = await startServer({
    ready: () => {
      throw new Error(secret)
    },
  })
  const answer = await fetch(`${server.url}/health/ready`)
  expect(answer.status).toBe(500)
  const text = await answer.text()
  expect(text).not.toContain(secret)
  expect(text).toMatch(/its log has the reason, under the request id req-/i)
})

test('answers 503 with the reason while it is not ready', async ({ startServer }) => {
  const readiness = { ready: false, checks: { store: { ok: false, detail: 'unreachable' } } }
  const server = await startServer({ ready: async () => readiness })
  const answer = await fetch(`${server.url}/health/ready`)
  expect([answer.status, await answer.json()]).toEqual([503, readiness])
  expect((await fetch(`${server.url}/health/live`)).status).toBe(200)
})

const UPGRADE = 'Connection: Upgrade\r\nUpgrade: websocket\r\nHost: localhost\r\n'
const JSON_OF = 'Content-Type: application/json\r\nContent-Length: '
const KEY = 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n'

test.for([
  ['no request at all', 400, 'bad_request', 'nonsense\r\n\r\n'],
  ['no Host', 403, 'foreign_host', 'GET /api/runs HTTP/1.1\r\n\r\n'],
  [
    'an odd expectation',
    417,
    'expectation_failed',
    'GET / HTTP/1.1\r\nHost: localhost\r\nExpect: more\r\n\r\n',
  ],
  [
    'an address that cannot be decoded',
    404,
    'not_found',
    'GET /api/runs/%zz HTTP/1.1\r\nHost: localhost\r\n\r\n',
  ],
  [
    'headers beyond all measure',
    431,
    'headers_too_large',
    `GET / HTTP/1.1\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`,
  ],
  [
    'a very long id',
    404,
    'run_not_found',
    `GET /api/runs/${'x'.repeat(2000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`,
  ],
  [
    'an invalid handshake',
    405,
    'method_not_allowed',
    `POST /api/ws HTTP/1.1\r\n${UPGRADE}${KEY}Sec-WebSocket-Version: 13\r\n\r\n`,
  ],
  [
    'two Host headers',
    400,
    'bad_request',
    'GET /api/runs HTTP/1.1\r\nHost: localhost\r\nhost: localhost\r\n\r\n',
  ],
  [
    'a body that is not UTF-8',
    400,
    'malformed_json',
    `POST /api/runs HTTP/1.1\r\nHost: localhost\r\n${JSON_OF}17\r\n\r\n{"goal":"caf\xe9!!"}`,
  ],
  [
    'a compressed body',
    415,
    'unsupported_media_type',
    `POST /api/runs HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\n${JSON_OF}2\r\n\r\n{}`,
  ],
  [
    'a handshake elsewhere',
    400,
    'bad_request',
    `GET /api/runs HTTP/1.1\r\n${UPGRADE}${KEY}Sec-WebSocket-Version: 13\r\n\r\n`,
  ],
] as const)(
  'answers %s with a problem document and the headers of all answers',
  async ([_, status, code, request], { server }) => {
    const connection = connect(server.port, '127.0.0.1')
    connection.write(request.replace('HTTP/1.1\r\n', 'HTTP/1.1\r\nConnection: close\r\n'), 'latin1')
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

test('refuses a handshake that is not valid', async ({ server }) => {
  const headers = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13' }
  expect((await rawRequest(server, { path: '/api/ws', headers })).status).toBe(400)
})

test('answers a client that offers HTTP/2 with HTTP/1.1', async ({ server }) => {
  const headers = {
    connection: 'Upgrade, HTTP2-Settings',
    upgrade: 'h2c',
    'http2-settings': 'AAMAAABk',
  }
  const { status, body } = await rawRequest(server, { path: '/api/goals', headers })
  expect([status, JSON.parse(body)]).toEqual([200, expect.any(Array)])
})
