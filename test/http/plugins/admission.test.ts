import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterEach, expect, test } from 'vitest'
import { problem } from '../../support/requests.ts'
import { bound, startTestServer, type TestServer } from '../../support/server.ts'
import { within } from '../../support/within.ts'

let server: TestServer
const clients: Socket[] = []
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy()
  await server.stop()
})

async function open(localAddress: string): Promise<Socket> {
  const client = connect({ port: server.port, host: '127.0.0.1', localAddress })
  clients.push(client.on('error', () => {}))
  await once(client, 'connect')
  return client
}

async function ask(client: Socket): Promise<string> {
  client.write(`GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`)
  return text(client)
}

const problemIn = (answer: string) => JSON.parse(answer.slice(answer.indexOf('{')))

test('connections beyond the limits of an address and of the server are refused, with and without a request, and no others', async () => {
  server = await startTestServer({ live: { connections: 3, connectionsPerClient: 2 } })
  const [first] = [await open('127.0.0.1'), await open('127.0.0.1')]
  const refused = await text(await open('127.0.0.1'))
  expect(refused).toMatch(/^HTTP\/1\.1 429 .*\r\n/)
  expect(refused.toLowerCase()).toContain('\r\nretry-after: 1\r\n')
  const ofClient = { ...problem('too_many_connections_of_client'), status: 429 }
  expect(problemIn(refused)).toMatchObject(ofClient)
  const other = await open('127.0.0.2')
  const full = await ask(await open('127.0.0.3'))
  expect(full).toMatch(/^HTTP\/1\.1 503 /)
  expect(problemIn(full)).toMatchObject(problem('too_many_connections'))
  expect(await ask(other)).toMatch(/^HTTP\/1\.1 200/)
  first.destroy()
  for (;;) if ((await ask(await open('127.0.0.1'))).startsWith('HTTP/1.1 200')) break
})

test('a stream does not count if its client has left before the server knew the tokens', async () => {
  const [asked, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  server = await startTestServer({
    live: { socketsPerClient: 1 },
    wrapTokenStore: (store) => ({
      ...bound(store),
      subscribeStream: async function* (stream, options) {
        await released.promise
        yield* store.subscribeStream(stream, options)
      },
    }),
  })
  server.app.server.on('request', () => asked.resolve())
  const head = 'GET /api/events HTTP/1.1\r\nhost: localhost\r\naccept: application/x-ndjson\r\n'
  const left = await open('127.0.0.1')
  left.write(`${head}\r\n`)
  await asked.promise
  left.destroy()
  const connections = () =>
    new Promise((resolve) => server.app.server.getConnections((_, count) => resolve(count)))
  await expect.poll(connections).toBe(0)
  released.resolve()
  const client = await open('127.0.0.1')
  client.write(`${head}connection: close\r\n\r\n`)
  expect(await text(client)).toMatch(/^HTTP\/1\.1 200/)
})

test('connections without a request, and requests that never end, do not keep the server from closing', async () => {
  server = await startTestServer({ live: { closeMs: 50 } })
  await open('127.0.0.1')
  const half = await open('127.0.0.1')
  half.write('GET /health/live HTTP/1.1\r\nho')
  const endless = await open('127.0.0.1')
  endless.write('POST /api/runs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n')
  const asked = once(server.app.server, 'request')
  endless.write('content-length: 9\r\n\r\n{')
  await asked
  await within(server.app.close(), () => 'the end of the server', 10_000)
})
