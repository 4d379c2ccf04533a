import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readRecords } from '../../../src/log/run-log.ts'
import { rawRequest, startTestServer, type TestServer, UPGRADE } from '../../support/server.ts'

const RUN = '550e8400-e29b-41d4-a716-446655440000'
const JSON_BODY = { 'content-type': 'application/json' }

type Headers = Record<string, string>

describe('a server without a token', () => {
  let server: TestServer
  beforeAll(async () => {
    server = await startTestServer()
  })
  afterAll(() => server.stop())

  /** The same request to each kind of address: a read, a command, a WebSocket, a page. */
  const statuses = async (headers: Headers) => {
    const start = { method: 'POST', path: '/api/runs', body: '{"goal":"pytest"}' }
    const answers = [
      await rawRequest(server, { path: '/api/runs', headers }),
      await rawRequest(server, { ...start, headers: { ...JSON_BODY, ...headers } }),
      await rawRequest(server, { path: `/api/ws/${RUN}`, headers: { ...UPGRADE, ...headers } }),
      await rawRequest(server, { path: '/docs/', headers }),
    ]
    return answers.map(({ status }) => status)
  }
  const runCount = async () => {
    const answer = await fetch(`${server.url}/api/runs`)
    return ((await answer.json()) as unknown[]).length
  }
  const own = () => `127.0.0.1:${server.port}`

  test.each([
    ['127.0.0.1', () => ({ host: '127.0.0.1' })],
    ['127.0.0.1 and the port', () => ({ host: own() })],
    ['localhost', () => ({ host: `LocalHost:${server.port}` })],
    ['[::1]', () => ({ host: '[::1]:8000' })],
    ['its own origin', () => ({ host: own(), origin: `http://${own()}` })],
    ['its own page', () => ({ host: own(), 'sec-fetch-site': 'same-origin' })],
    ['the address bar', () => ({ host: own(), 'sec-fetch-site': 'none' })],
  ])('answers %s', async (_, headers) => {
    expect(await statuses(headers())).toEqual([200, 201, 101, 200])
  })

  test.each([
    ['a name that leads here', () => ({ host: 'attacker.example' })],
    ['a name that leads here, with the port', () => ({ host: `attacker.example:${server.port}` })],
    ['a name that begins like ours', () => ({ host: 'localhost.attacker.example' })],
    ['a name that ends like ours', () => ({ host: 'attacker.localhost' })],
    ['another address', () => ({ host: '192.168.1.7:8000' })],
    ['another spelling', () => ({ host: '0x7f000001' })],
    ['user info', () => ({ host: 'attacker@127.0.0.1' })],
    ['a foreign origin', () => ({ host: own(), origin: 'https://attacker.example' })],
    ['no origin at all', () => ({ host: own(), origin: 'null' })],
    ['another port', () => ({ host: own(), origin: 'http://127.0.0.1:1' })],
    ['another loopback name', () => ({ host: own(), origin: `http://localhost:${server.port}` })],
    ['another scheme', () => ({ host: own(), origin: `https://${own()}` })],
    ['a page of another site', () => ({ host: own(), 'sec-fetch-site': 'cross-site' })],
    ['a page of a neighbour', () => ({ host: own(), 'sec-fetch-site': 'same-site' })],
  ])('refuses %s', async (_, headers) => {
    const before = await runCount()
    expect(await statuses(headers())).toEqual([403, 403, 403, 403])
    expect(await runCount()).toBe(before)
  })

  test('answers a link from another site with a page, but not inside a frame', async () => {
    const link = { host: own(), 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' }
    const docs = { path: '/docs/', headers: { ...link, 'sec-fetch-dest': 'document' } }
    expect((await rawRequest(server, docs)).status).toBe(200)
    const frame = { path: '/docs/', headers: { ...link, 'sec-fetch-dest': 'iframe' } }
    expect((await rawRequest(server, frame)).status).toBe(403)
    const form = { ...docs, path: '/api/runs', method: 'POST', body: '' }
    expect((await rawRequest(server, form)).status).toBe(403)
  })

  test.each(['cross-site', 'same-site'])(
    'lets no link of a %s page reach anything under /api',
    async (site) => {
      const link = {
        host: own(),
        'sec-fetch-site': site,
        'sec-fetch-mode': 'navigate',
        'sec-fetch-dest': 'document',
      }
      const paths = ['/api/runs', `/api/runs/${RUN}?at=1`, `/%61pi/runs`, '/api', '/api/nothing']
      for (const path of paths) {
        expect([path, (await rawRequest(server, { path, headers: link })).status]).toEqual([
          path,
          403,
        ])
      }
      for (const path of ['/', `/runs/${RUN}`, '/docs/']) {
        expect([403]).not.toContain((await rawRequest(server, { path, headers: link })).status)
      }
    },
  )

  test.each([
    ['a link, by what it takes', { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' }],
    ['a picture, by the page that it is in', { referer: 'http://attacker.example/' }],
    ['a page on another port', { referer: 'http://127.0.0.1:1/' }],
    ['a page without an address', { referer: 'about:blank' }],
  ])('refuses, from a browser without Sec-Fetch-Site, %s', async (_, headers) => {
    const get = (path: string) => rawRequest(server, { path, headers: { host: own(), ...headers } })
    expect((await get('/api/runs')).status).toBe(403)
    expect((await get('/docs/')).status).toBe(200)
  })

  test('answers any program, and its own page in a browser without Sec-Fetch-Site', async () => {
    for (const headers of [
      { referer: `http://${own()}/runs/x`, accept: 'text/html,application/xhtml+xml' },
      { accept: '*/*' },
      { accept: 'application/json' },
    ]) {
      const asked = { path: '/api/runs', headers: { host: own(), ...headers } }
      expect((await rawRequest(server, asked)).status).toBe(200)
    }
  })

  test.each(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x'])(
    'starts nothing for %s, which a page may send to any server without asking',
    async (type) => {
      const before = await runCount()
      const headers = { host: own(), 'content-type': type }
      const body = '{"goal":"pytest"}'
      const answer = await rawRequest(server, { method: 'POST', path: '/api/runs', headers, body })
      expect([answer.status, await runCount()]).toEqual([415, before])
    },
  )

  test('closes the connection of a WebSocket that it refuses', async () => {
    const connection = connect(server.port, '127.0.0.1')
    const fields = { ...UPGRADE, host: own(), origin: 'https://attacker.example' }
    const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}`)
    connection.write(`GET /api/ws/${RUN} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`)
    const answer = (await connection.toArray()).join('')
    expect(answer).toMatch(/^HTTP\/1.1 403 /)
  })

  test('permits no other origin to read or to send', async () => {
    const preflight = await rawRequest(server, {
      method: 'OPTIONS',
      path: '/api/runs',
      headers: { host: own(), origin: 'https://attacker.example' },
    })
    expect(preflight.status).toBe(403)
    const read = await rawRequest(server, { path: '/api/runs', headers: { host: own() } })
    for (const { headers } of [preflight, read]) {
      expect(Object.keys(headers).filter((name) => name.startsWith('access-control'))).toEqual([])
    }
    expect(read.headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'cross-origin-resource-policy': 'same-origin',
      'content-security-policy': expect.stringContaining("frame-ancestors 'none'"),
    })
  })
})

describe('a server with a token', () => {
  const token = 'correct-horse_battery.staple~1'
  const bearer = (value: string) => ({ authorization: `Bearer ${value}` })
  let server: TestServer
  let runId: string
  beforeAll(async () => {
    server = await startTestServer({ token })
    const headers = { ...JSON_BODY, ...bearer(token), host: 'retrai.example' }
    const request = { method: 'POST', path: '/api/runs', headers, body: '{"goal":"pytest"}' }
    const answer = await rawRequest(server, request)
    expect(answer.status).toBe(201)
    runId = JSON.parse(answer.body).run_id
  })
  afterAll(() => server.stop())

  test('is guarded at every spelling of an address', async () => {
    for (const path of ['/%61pi/goals', '//api/goals', '/api/../api/goals', '/API/goals']) {
      expect([401, 404]).toContain((await rawRequest(server, { path })).status)
    }
  })

  test('answers on any host name with the token, and records its name', async () => {
    const headers = { ...bearer(token), host: 'retrai.example' }
    expect((await rawRequest(server, { path: '/api/runs', headers })).status).toBe(200)
    const [created] = (await readRecords(server.store, runId, 0, 1))._unsafeUnwrap()
    expect(created?.meta.principal).toBe('token')
  })

  test.each([
    ['http://retrai.example', 200],
    ['https://retrai.example', 200],
    ['https://attacker.example', 403],
  ])('answers a page from %s with %i', async (origin, status) => {
    const headers = { ...bearer(token), host: 'retrai.example', origin }
    expect((await rawRequest(server, { path: '/api/runs', headers })).status).toBe(status)
  })
})
