import { expect } from 'vitest'
import { problem } from '../../support/requests.ts'
import { rawRequest, type TestServer, UPGRADE } from '../../support/server.ts'
import { testWith } from '../../support/test.ts'
import { Watcher } from './watcher.ts'

const test = testWith({ live: { sockets: 3, socketsPerClient: 2 } })
let server: TestServer
test.beforeAll(({ server: started }) => {
  server = started
})

/** Asks for one more WebSocket, and closes it if it opens. */
const upgrade = (runId: string, localAddress: string) =>
  rawRequest(server, {
    localAddress,
    path: `/api/ws/${runId}`,
    headers: { host: `127.0.0.1:${server.port}`, ...UPGRADE },
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

test('sockets beyond the limits of an address and of the server are refused, and other requests are not', async () => {
  const runId = await server.createRun()
  const [first] = await Promise.all([watch(runId, '127.0.0.1'), watch(runId, '127.0.0.1')])
  const refused = await upgrade(runId, '127.0.0.1')
  expect([refused.status, refused.headers['retry-after']]).toEqual([429, '1'])
  expect(JSON.parse(refused.body)).toMatchObject({
    ...problem('too_many_of_client'),
    status: 429,
    detail: expect.stringContaining('Close some'),
  })
  const other = await watch(runId, '127.0.0.2')
  const full = await upgrade(runId, '127.0.0.3')
  expect([full.status, JSON.parse(full.body)]).toMatchObject([503, problem('too_many_sockets')])
  expect((await fetch(`${server.url}/api/runs/${runId}`)).status).toBe(200)

  first.socket.terminate()
  await admitted(runId, '127.0.0.1')
  other.socket.close()
  await admitted(runId, '127.0.0.3')
})
