import { afterEach, expect, test } from 'vitest'
import type { LiveLimits } from '../../../src/http/live/deps.ts'
import { rawRequest, startTestServer, type TestServer } from '../../support/server.ts'
import { Watcher } from './watcher.ts'

let server: TestServer
afterEach(() => server.stop())

const start = async (live: Partial<LiveLimits>) => {
  server = await startTestServer({ live })
  return server.createRun()
}

/** Asks for one more WebSocket, and closes it if it opens. */
const upgrade = (runId: string, localAddress: string) =>
  rawRequest(server, {
    localAddress,
    path: `/api/ws/${runId}`,
    headers: {
      host: `127.0.0.1:${server.port}`,
      connection: 'upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
    },
  })

const watch = async (runId: string, localAddress: string): Promise<Watcher> => {
  const watcher = new Watcher(server, `${runId}?kinds=all`, { localAddress })
  await watcher.have(1)
  return watcher
}

/** A place is free when the server notices that the connection is closed, which is a moment later. */
const admitted = async (runId: string, address: string): Promise<void> => {
  const status = async () => (await upgrade(runId, address)).status
  await expect.poll(status, { message: 'the answer to an upgrade' }).toBe(101)
}

test('sockets of one address beyond its limit are refused, and those of other addresses are not', async () => {
  const runId = await start({ socketsPerClient: 2 })
  const [first] = await Promise.all([watch(runId, '127.0.0.1'), watch(runId, '127.0.0.1')])
  const refused = await upgrade(runId, '127.0.0.1')
  expect(refused.status).toBe(429)
  expect(refused.headers['retry-after']).toBe('1')
  expect(JSON.parse(refused.body)).toMatchObject({
    type: 'urn:retrai:problem:too_many_of_client',
    status: 429,
    detail: expect.stringContaining('Close some'),
  })
  expect((await upgrade(runId, '127.0.0.2')).status).toBe(101)

  first.socket.terminate()
  await admitted(runId, '127.0.0.1')
})

test('sockets beyond the total limit are refused, and other requests are not', async () => {
  const runId = await start({ sockets: 2 })
  const [first] = await Promise.all([watch(runId, '127.0.0.1'), watch(runId, '127.0.0.2')])
  const refused = await upgrade(runId, '127.0.0.3')
  expect(refused.status).toBe(503)
  expect(JSON.parse(refused.body)).toMatchObject({ type: 'urn:retrai:problem:too_many_sockets' })
  expect((await fetch(`${server.url}/api/runs/${runId}`)).status).toBe(200)

  first.socket.close()
  await admitted(runId, '127.0.0.3')
})
