import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { RunRecord } from '../../../src/domain/records.ts'
import type { EventStore } from '../../../src/store/event-store.ts'
import { createdRecord } from '../../support/run-records.ts'
import { bound, RunWriter, startTestServer, type TestServer } from '../support.ts'
import { EventReader } from './event-source.ts'
import { writeRun } from './support.ts'

/** 50 MB of records: few and long, so that they are written soon. */
const RECORDS = 12_000
const TEXT = 'x'.repeat(3_800)
const MB = 1024 * 1024

let server: TestServer
const runId = randomUUID()
/** How many events were read from the store. */
let read = 0

const counting = (store: EventStore): EventStore => ({
  ...bound(store),
  readStream: (...args) =>
    store.readStream(...args).map((events) => {
      read += events.length
      return events
    }),
  async *subscribeAll(options) {
    for await (const item of store.subscribeAll(options)) {
      if (item.type === 'events') read += item.events.length
      yield item
    }
  },
})

beforeAll(async () => {
  server = await startTestServer({ wrapStore: counting })
  const at = { run_id: runId, iteration: 0, kind: 'run_config_changed' } as const
  const records = Array.from({ length: RECORDS - 1 }, (_, i): RunRecord => {
    const changes = { model_name: `${i} ${TEXT}` }
    return { ...at, ts: 1_770_000_000 + i, payload: { changes } }
  })
  await writeRun(server, runId, [createdRecord(runId), ...records])
  await server.readModel.waitFor(runId, RECORDS - 1, 60_000)
})
afterAll(() => server.stop())

/** Resolves when the server has stopped reading ahead of its client. */
async function standstill(): Promise<void> {
  for (let [before, still] = [-1, 0]; still < 20; ) {
    await new Promise((resolve) => setTimeout(resolve, 10))
    still = before === read ? still + 1 : 0
    before = read
  }
}

/** Reads the first chunk of a response, then nothing until the server waits, then all of it. */
async function download(path: string): Promise<{ lines: number; readAhead: number }> {
  const options = { host: '127.0.0.1', port: server.port, path, agent: false }
  const outgoing = request({ ...options, headers: { accept: 'application/x-ndjson' } })
  outgoing.end()
  read = 0
  let lines = 0
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  await standstill()
  const readAhead = read
  for await (const chunk of response as AsyncIterable<Buffer>) {
    for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, at + 1)) lines += 1
  }
  return { lines, readAhead }
}

describe('a long history', () => {
  test.each([`/api/runs/${runId}/events?kinds=all`, '/api/events?kinds=all'])(
    'is streamed as fast as the client reads, and is not held in memory: %s',
    async (path) => {
      const { lines, readAhead } = await download(path)
      expect(lines).toBe(RECORDS)
      // The server reads only what the client takes, and some MB for the buffers of both kernels.
      expect(readAhead).toBeLessThan(RECORDS / 2)
    },
  )
})

describe('a client of an event stream that does not read', () => {
  test('costs only its buffers, disturbs nobody, and misses nothing', async () => {
    const own = await startTestServer({ live: { ringBytes: MB, pageBytes: 256 * 1024 } })
    try {
      const watched = randomUUID()
      const writer = new RunWriter(own.store, watched)
      await writer.append([createdRecord(watched)])
      const paths = [`/api/runs/${watched}/events?kinds=all`, '/api/events?kinds=all']
      const slow = paths.map((path) => new EventReader(own, path))
      const quick = paths.map((path) => new EventReader(own, path))
      for (const reader of [...slow, ...quick]) {
        await reader.until(({ events }) => events.length === 1)
      }
      const stuck = await Promise.all(slow.map(({ response }) => response))
      for (const response of stuck) response.pause()
      const at = { run_id: watched, iteration: 0, ts: 1_770_000_000 } as const
      const count = 600
      for (let i = 0; i < count; i += 1) {
        const changes = { model_name: `${i}`.padEnd(64 * 1024, '.') }
        await writer.append([{ ...at, kind: 'run_config_changed', payload: { changes } }])
      }
      const seqs = Array.from({ length: count + 1 }, (_, seq) => seq)
      for (const reader of quick) {
        await reader.until(({ events }) => events.length > count)
        expect(reader.frames.map(({ seq }) => seq)).toEqual(seqs)
      }
      for (const reader of slow) expect(reader.events.length).toBeLessThan(count / 2)
      for (const response of stuck) response.resume()
      for (const reader of slow) {
        await reader.until(({ events }) => events.length > count)
        expect(reader.frames.map(({ seq }) => seq)).toEqual(seqs)
        reader.leave()
      }
      for (const reader of quick) reader.leave()
    } finally {
      await own.stop()
    }
  })

  test('is disconnected after a while, and connects again', async () => {
    const own = await startTestServer({ live: { pingMs: 100, stallMs: 900, pageBytes: 64 * 1024 } })
    try {
      const watched = randomUUID()
      const writer = new RunWriter(own.store, watched)
      await writer.append([createdRecord(watched)])
      const path = `/api/runs/${watched}/events?kinds=all`
      const [stuck, alive] = [new EventReader(own, path), new EventReader(own, path)]
      await Promise.all([stuck, alive].map((r) => r.until(({ events }) => events.length === 1)))
      const response = await stuck.response
      response.pause()
      const at = { run_id: watched, iteration: 0, ts: 1_770_000_000 } as const
      for (let i = 0; i < 300; i += 1) {
        const changes = { model_name: `${i}`.padEnd(64 * 1024, '.') }
        await writer.append([{ ...at, kind: 'run_config_changed', payload: { changes } }])
      }
      await expect
        .poll(() => connections(own), { message: 'open connections' })
        .toBeLessThanOrEqual(1)
      response.resume()
      await stuck.ended
      const { lastEventId } = stuck.parser
      expect(Number(lastEventId)).toBeLessThan(300)
      const again = new EventReader(own, path, { lastEventId })
      await again.until(({ events }) => events.at(-1)?.id === '300')
      expect(again.events[0]?.id).toBe(String(Number(lastEventId) + 1))
      await alive.until(({ events }) => events.length === 301)
      alive.leave()
      again.leave()
    } finally {
      await own.stop()
    }
  })
})

function connections({ app }: TestServer): Promise<number> {
  return new Promise((resolve, reject) => {
    app.server.getConnections((error, count) => (error ? reject(error) : resolve(count)))
  })
}
