import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { RunRecord } from '../../src/domain/records.ts'
import { MAX_PAGE_BYTES } from '../../src/http/replies/json.ts'
import { createdRecord } from '../support/run-records.ts'
import {
  type Answer,
  RunWriter,
  rawRequest,
  startTestServer,
  type TestServer,
} from '../support/server.ts'

const STALL_MS = 300
const OUTPUT = 32 * 1024
/** Much more than the buffers of both kernels hold. */
const RECORDS = 200
/** One that is larger than a page. */
const LARGE_AT = 30
const LARGE = 350_000

let server: TestServer
let runId: string
/** The server's side of each connection, by the port of the client. */
const ofClient = new Map<number, Socket>()
beforeAll(async () => {
  server = await startTestServer({ live: { stallMs: STALL_MS, pingMs: 50 } })
  server.app.server.on('connection', (socket: Socket) =>
    ofClient.set(socket.remotePort ?? 0, socket),
  )
  runId = randomUUID()
  const writer = new RunWriter(server.store, runId)
  await writer.append([createdRecord(runId)])
  for (let seq = 1; seq < RECORDS; seq += 1) await writer.append([bigRecord(seq)])
})
afterAll(() => server.stop())

function bigRecord(seq: number): RunRecord {
  const changes = { model_name: `${seq}`.padEnd(seq === LARGE_AT ? LARGE : OUTPUT, 'ä') }
  const at = { run_id: runId, iteration: 0, ts: 1_770_000_000 } as const
  return { ...at, kind: 'run_config_changed', payload: { changes } }
}

/** Sends requests and reads nothing. Resolves to the server's side of the connection. */
async function unread(path: string, accept: string, requests = 1): Promise<Socket> {
  const client = connect(server.port, '127.0.0.1').on('error', () => {})
  client.pause()
  await once(client, 'connect')
  const { localPort = 0 } = client
  const head = `GET ${path.replace('RUN', runId)} HTTP/1.1\r\nhost: 127.0.0.1:${server.port}\r\naccept: ${accept}\r\n\r\n`
  client.write(head.repeat(requests))
  await expect
    .poll(() => [...ofClient.keys()], { message: 'ports of clients' })
    .toContain(localPort)
  return ofClient.get(localPort) as Socket
}

/** RUN is replaced with the id of the run, which is created later. */
const EVENTS = '/api/runs/RUN/events?kinds=all'

describe('a client that reads nothing is disconnected', () => {
  test.each([
    ['server-sent events', 'text/event-stream', EVENTS, 1],
    ['server-sent events of all runs', 'text/event-stream', '/api/events?kinds=all', 1],
    ['lines', 'application/x-ndjson', EVENTS, 1],
    ['lines of all runs', 'application/x-ndjson', '/api/events?kinds=all', 1],
    ['many pages', 'application/json', EVENTS, 40],
  ] as const)('%s', async (_name, accept, path, requests) => {
    const socket = await unread(path, accept, requests)
    let most = 0
    while (!socket.destroyed) {
      most = Math.max(most, socket.writableLength)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    // The server waited for its client, with no more than one page or some chunks in memory.
    expect(most).toBeGreaterThan(0)
    expect(most).toBeLessThan(3 * MAX_PAGE_BYTES)
  })

  test('except a client that has nothing to read yet', async () => {
    const socket = await unread(`${EVENTS}&after=${RECORDS - 1}`, 'text/event-stream')
    while (socket.bytesWritten === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    await new Promise((resolve) => setTimeout(resolve, 4 * STALL_MS))
    expect(socket.destroyed).toBe(false)
    socket.destroy()
  })
})

describe('a page of records', () => {
  async function pages(first: string): Promise<{ bytes: number; seqs: number[] }[]> {
    const all: { bytes: number; seqs: number[] }[] = []
    for (let path: string | undefined = first.replace('RUN', runId); path !== undefined; ) {
      const { body, headers }: Answer = await rawRequest(server, { path })
      const frames = JSON.parse(body) as { seq: number }[]
      all.push({ bytes: Buffer.byteLength(body), seqs: frames.map(({ seq }) => seq) })
      path = /<(.*)>; rel="next"/.exec(String(headers.link ?? ''))?.[1]
    }
    return all
  }

  test.each([
    ['of a run', `${EVENTS}&limit=1000`, false],
    ['of a run, backward', `${EVENTS}&limit=1000&direction=backward`, true],
    ['of all runs', '/api/events?kinds=all&limit=1000', false],
  ] as const)(
    '%s has a limited number of bytes, and the next one continues after it',
    async (_name, path, backward) => {
      const all = await pages(path)
      const seqs = Array.from({ length: RECORDS }, (_, seq) => seq)
      expect(all.flatMap((page) => page.seqs)).toEqual(backward ? seqs.toReversed() : seqs)
      for (const { bytes, seqs } of all) {
        // A record that is larger than a page is alone on a page.
        if (seqs.includes(LARGE_AT)) expect(seqs).toEqual([LARGE_AT])
        else expect(bytes).toBeLessThanOrEqual(MAX_PAGE_BYTES)
      }
      expect(all.length).toBeGreaterThan((RECORDS * OUTPUT * 2) / MAX_PAGE_BYTES)
    },
  )
})
