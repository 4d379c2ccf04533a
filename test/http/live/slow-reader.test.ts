import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import { changeOf } from '../../support/requests.ts'
import { createdRecord } from '../../support/run-records.ts'
import { RunWriter, type TestServer } from '../../support/server.ts'
import { testWith } from '../../support/test.ts'
import { Watcher } from './watcher.ts'

const SOCKET_BYTES = 256 * 1024
const OUTPUT = 64 * 1024
/** Far more than the buffers of both kernels hold. */
const RECORDS = 450

const test = testWith({
  live: { socketBytes: SOCKET_BYTES, ringBytes: 1024 * 1024, pageBytes: SOCKET_BYTES },
})

const buffered = (server: TestServer) =>
  [...server.app.websocketServer.clients].map((c) => c.bufferedAmount)

test('a client that does not read costs its socket buffer, and delays nobody else', async ({
  server,
}) => {
  const runId = randomUUID()
  const writer = new RunWriter(server.store, runId)
  await writer.append([createdRecord(runId)])
  using slow = new Watcher(server, `${runId}?kinds=all`)
  using other = new Watcher(server, `${runId}?kinds=all`)
  await Promise.all([slow.have(1), other.have(1)])
  slow.socket.pause()

  let most = 0
  for (let n = 0; n < RECORDS; n += 1) {
    await writer.append([changeOf(runId, `${n}`.padEnd(OUTPUT, '.'))])
    most = Math.max(most, ...buffered(server))
  }
  await other.have(RECORDS + 1)
  expect(other.seqs).toEqual(other.seqs.map((_, index) => index))
  // The slow client is in the middle of the run, and no more is buffered for it than its socket may hold.
  expect(slow.frames.length).toBeLessThan(RECORDS / 2)
  expect(Math.max(...buffered(server))).toBeGreaterThan(0)
  expect(most).toBeLessThan(SOCKET_BYTES + 2 * OUTPUT)

  // When it reads again, it has missed nothing.
  slow.socket.resume()
  await slow.have(RECORDS + 1)
  expect(slow.seqs).toEqual(other.seqs)
})
