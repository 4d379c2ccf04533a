import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { describe, expect } from 'vitest'
import type { RunRecord } from '../../../src/domain/records.ts'
import { ask } from '../../support/requests.ts'
import { createdRecord } from '../../support/run-records.ts'
import { RunWriter, type TestServer } from '../../support/server.ts'
import { testWith } from '../../support/test.ts'
import { within } from '../../support/within.ts'
import { FeedWatcher, Watcher } from './watcher.ts'

const SECRET = 'orchid-on-the-sill'
const TEXT = 'x'.repeat(256 * 1024)
/** All of them are on the first page, which is far more than the buffers of both kernels hold. */
const RECORDS = 63
const REDACTED_SEQ = 60

const test = testWith({
  live: { socketBytes: 256 * 1024, pageBytes: 32 * 1024 * 1024, redactedMs: 100 },
})
let server: TestServer
test.beforeAll(({ server: started }) => {
  server = started
})

async function bigRun(): Promise<string> {
  const runId = randomUUID()
  const writer = new RunWriter(server.store, runId)
  await writer.append([createdRecord(runId)])
  const at = { run_id: runId, iteration: 0, ts: 1_770_000_000 } as const
  for (let seq = 1; seq <= RECORDS; seq += 1) {
    const message = seq === REDACTED_SEQ ? SECRET + TEXT : TEXT
    const record: RunRecord = { ...at, kind: 'error', payload: { message, traceback: '' } }
    await writer.append([record])
  }
  expect(await server.readModel.waitFor(runId, RECORDS, 20_000)).toBe(true)
  return runId
}

async function redact(runId: string): Promise<void> {
  const body = { seq: REDACTED_SEQ, pointer: '/message', reason: 'a password' }
  expect((await ask(server, `POST /api/runs/${runId}/redact`, body)).status).toBe(200)
}

const buffered = () => [...server.app.websocketServer.clients].map((c) => c.bufferedAmount)

describe('a client that does not read gets nothing that was redacted meanwhile', () => {
  test('over a WebSocket, and resumes after its last record', async () => {
    const runId = await bigRun()
    const slow = new Watcher(server, `${runId}?kinds=all`)
    await slow.opened()
    slow.socket.pause()
    await expect.poll(() => Math.max(...buffered())).toBeGreaterThan(0)
    await redact(runId)
    slow.socket.resume()
    expect((await slow.closed).code).toBe(1006)
    const last = slow.seqs.at(-1) ?? -1
    expect(last).toBeLessThan(REDACTED_SEQ)
    using again = new Watcher(server, `${runId}?kinds=all&after=${last}`)
    await again.have(RECORDS - last)
    expect([...slow.seqs, ...again.seqs]).toEqual(Array.from({ length: RECORDS + 1 }, (_, n) => n))
    expect(again.frames[REDACTED_SEQ - last - 1]?.payload).toMatchObject({ message: '[redacted]' })
  })

  test('over a WebSocket of all runs, as events and as lines', async () => {
    const runId = await bigRun()
    const readers = [await feed(runId)]
    for (const path of [
      `/api/runs/${runId}/events?kinds=all`,
      `/api/events?kinds=all&run_id=${runId}`,
    ]) {
      for (const accept of ['text/event-stream', 'application/x-ndjson']) {
        readers.push(await response(path, accept))
      }
    }
    await redact(runId)
    for (const [index, read] of readers.entries()) {
      const got = await read()
      expect(got, String(index)).toContain('xxxxxxxx')
      expect(got, String(index)).not.toContain(SECRET)
    }
  })
})

test('a client that reads soon gets the redacted text in its place, without a new connection', async () => {
  const runId = await bigRun()
  using slow = new Watcher(server, `${runId}?kinds=all`)
  await slow.opened()
  slow.socket.pause()
  await expect.poll(() => Math.max(...buffered())).toBeGreaterThan(0)
  const redacted = redact(runId)
  slow.socket.resume()
  await Promise.all([redacted, slow.have(RECORDS + 1)])
  expect(slow.seqs).toEqual(Array.from({ length: RECORDS + 1 }, (_, n) => n))
})

/** Both return what the client gets when it begins to read, until the server ends the connection. */
async function response(path: string, accept: string): Promise<() => Promise<string>> {
  const client = connect({ host: '127.0.0.1', port: server.port }).pause()
  const asked = once(server.app.server, 'request')
  client.write(`GET ${path} HTTP/1.1\r\nhost: localhost\r\naccept: ${accept}\r\n\r\n`)
  const [, answer]: unknown[] = await asked
  if (!(answer instanceof ServerResponse)) throw new Error('no answer')
  await expect.poll(() => answer.writableLength, { timeout: 20_000 }).toBeGreaterThan(0)
  return () => within(text(client), () => 'the end of an answer')
}

async function feed(runId: string): Promise<() => Promise<string>> {
  const slow = new FeedWatcher(server, `kinds=all&run_id=${runId}`)
  await once(slow.socket, 'open')
  slow.socket.pause()
  await expect.poll(() => Math.max(...buffered())).toBeGreaterThan(0)
  return async () => {
    slow.socket.resume()
    expect((await slow.closed).code).toBe(1006)
    return JSON.stringify(slow.frames)
  }
}
