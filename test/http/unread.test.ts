import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { expect } from 'vitest'
import { MAX_PAGE_BYTES } from '../../src/http/replies/json.ts'
import { bigRun } from '../support/requests.ts'
import type { TestServer } from '../support/server.ts'
import { testWith } from '../support/test.ts'
import { getPages } from './history/support.ts'

const STALL_MS = 300
const OUTPUT = 32 * 1024
/** Much more than the buffers of both kernels hold. */
const RECORDS = 200
/** One that is larger than a page. */
const LARGE_AT = 30
const LARGE = 350_000

const test = testWith({ live: { stallMs: STALL_MS, pingMs: 50 } })
let runId: string
/** The server's side of each connection, by the port of the client. */
const ofClient = new Map<number, Socket>()
test.beforeAll(async ({ server }) => {
  server.app.server.on('connection', (socket: Socket) =>
    ofClient.set(socket.remotePort ?? 0, socket),
  )
  runId = await bigRun(server, RECORDS, (seq) => (seq === LARGE_AT ? LARGE : OUTPUT))
})

/** Sends requests and reads nothing. Resolves to the server's side of the connection. */
async function unread(
  { port }: TestServer,
  path: string,
  accept: string,
  requests = 1,
): Promise<Socket> {
  const client = connect(port, '127.0.0.1').on('error', () => {})
  client.pause()
  await once(client, 'connect')
  const { localPort = 0 } = client
  const head = `GET ${path.replace('RUN', runId)} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\naccept: ${accept}\r\n\r\n`
  client.write(head.repeat(requests))
  await expect
    .poll(() => [...ofClient.keys()], { message: 'ports of clients' })
    .toContain(localPort)
  return ofClient.get(localPort) as Socket
}

/** RUN is replaced with the id of the run, which is created later. */
const EVENTS = '/api/runs/RUN/events?kinds=all'

test('a client that reads nothing is disconnected, whatever it gets; one that has nothing to read yet is not', async ({
  server,
}) => {
  const waiting = await unread(server, `${EVENTS}&after=${RECORDS - 1}`, 'text/event-stream')
  const most = new Map<Socket, number>()
  const look = () => {
    for (const socket of ofClient.values()) {
      most.set(socket, Math.max(most.get(socket) ?? 0, socket.writableLength))
    }
  }
  // It looks from the beginning: on a busy machine, the first is disconnected before the last is connected.
  using _looking = setInterval(look, 5)
  const sockets = await Promise.all([
    ...[EVENTS, '/api/events?kinds=all'].flatMap((path) =>
      ['text/event-stream', 'application/x-ndjson'].map((accept) => unread(server, path, accept)),
    ),
    unread(server, EVENTS, 'application/json', 40),
  ])
  await Promise.all(sockets.map((socket) => socket.destroyed || once(socket, 'close')))
  const sizes = sockets.map((socket) => most.get(socket) ?? 0)
  // The server waited for its clients, with no more than one page or some chunks of each in memory.
  expect(Math.min(...sizes)).toBeGreaterThan(0)
  expect(Math.max(...sizes)).toBeLessThan(3 * MAX_PAGE_BYTES)
  expect([waiting.bytesWritten > 0, waiting.destroyed]).toEqual([true, false])
  waiting.destroy()
})

test.for([
  ['of a run', `${EVENTS}&limit=1000`, false],
  ['of a run, backward', `${EVENTS}&limit=1000&direction=backward`, true],
  ['of all runs', '/api/events?kinds=all&limit=1000', false],
] as const)(
  'a page %s has a limited number of bytes, and the next one continues after it',
  async ([_name, path, backward], { server }) => {
    const { pages, frames } = await getPages(server, path.replace('RUN', runId))
    const seqs = Array.from({ length: RECORDS }, (_, seq) => seq)
    expect(frames.map(({ seq }) => seq)).toEqual(backward ? seqs.toReversed() : seqs)
    for (const { bytes, frames } of pages) {
      // A record that is larger than a page is alone on a page.
      if (frames.some(({ seq }) => seq === LARGE_AT)) expect(frames).toHaveLength(1)
      else expect(bytes).toBeLessThanOrEqual(MAX_PAGE_BYTES)
    }
    expect(pages.length).toBeGreaterThan((RECORDS * OUTPUT * 2) / MAX_PAGE_BYTES)
  },
)
