import { expect, test } from 'vitest'
import {
  bound,
  rawRequest,
  type ServerOptions,
  startTestServer,
  type TestServer,
} from '../../support/server.ts'
import { bearer } from './people.ts'

const CONFIGURED = 'configured-0123456789'
const released = Promise.withResolvers<void>()
/** How long a request waits until the server has read the tokens. */
let patienceMs = 10
let servers: Record<'bare' | 'configured', TestServer>
test.beforeAll(async () => {
  const wrapTokenStore: ServerOptions['wrapTokenStore'] = (store) => ({
    ...bound(store),
    subscribeStream: async function* (stream, options) {
      await released.promise
      yield* store.subscribeStream(stream, options)
    },
  })
  servers = {
    bare: await startTestServer({ wrapTokenStore }),
    configured: await startTestServer({ wrapTokenStore, token: CONFIGURED }),
  }
  for (const { auth } of Object.values(servers)) {
    const { read } = auth
    auth.read = () => read.call(auth, patienceMs)
  }
})
test.afterAll(async () => {
  released.resolve()
  await Promise.all(Object.values(servers).map((server) => server.stop()))
})

const get = (which: keyof typeof servers, path: string, headers: Record<string, string> = {}) =>
  rawRequest(servers[which], { path, headers })

test('while the server has not read the tokens, it accepts none', async () => {
  for (const headers of [{}, bearer('some-token')]) {
    const answer = await get('bare', '/api/runs', headers)
    expect([answer.status, answer.headers['retry-after']]).toEqual([503, '1'])
    expect(answer.body).toContain('urn:retrai:problem:tokens_unread')
  }
  expect((await get('configured', '/api/runs', bearer('some-token'))).status).toBe(503)
  expect((await get('configured', '/api/runs')).status).toBe(401)
  expect((await get('configured', '/api/runs', bearer(CONFIGURED))).status).toBe(200)
  // An empty list would mean that there are none.
  expect((await get('configured', '/api/tokens', bearer(CONFIGURED))).status).toBe(503)
  for (const path of ['/health/live', '/openapi.json', '/docs/']) {
    expect((await get('bare', path)).status).toBe(200)
  }
})

test('while the server has not read the tokens, it refuses a foreign host name without waiting', async () => {
  patienceMs = 60_000
  const foreign = get('bare', '/api/runs', { host: 'attacker.example' })
  const own = get('bare', '/api/runs')
  released.resolve()
  expect((await foreign).status).toBe(403)
  expect((await own).status).toBe(200)
})
