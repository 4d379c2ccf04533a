import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { bigRun } from '../../support/requests.ts'
import { testWith } from '../../support/test.ts'
import { Watcher } from './watcher.ts'

/** On a busy machine, a client that reads may get no processor for half a second. */
const STALL_MS = 1000
const SIP_BYTES = 256 * 1024
const SIP_PAUSE_MS = 60

const OUTPUT = 32 * 1024
const RECORDS = 300
let runId: string

const test = testWith({ live: { pingMs: 100, stallMs: STALL_MS } })
test.beforeAll(async ({ server }) => {
  runId = await bigRun(server, RECORDS, () => OUTPUT / 2)
})

const everySeq = Array.from({ length: RECORDS }, (_, seq) => seq)

test('a client that reads nothing is closed with 1013, and can resume', async ({ server }) => {
  const stuck = new Watcher(server, `${runId}?kinds=all`)
  await stuck.have(1)
  stuck.socket.pause()
  const [socket] = server.app.websocketServer.clients
  while (socket?.readyState === socket?.OPEN) await sleep(10)
  stuck.socket.resume()
  expect(await stuck.closed).toEqual({ code: 1013, reason: 'the client makes no progress' })
  expect(stuck.frames.length).toBeLessThan(RECORDS)

  const again = new Watcher(server, `${runId}?kinds=all&after=${stuck.seqs.at(-1)}`)
  await again.have(RECORDS - stuck.frames.length)
  expect([...stuck.seqs, ...again.seqs]).toEqual(everySeq)
  again.socket.terminate()
  await again.closed
})

test('a client that reads slowly is kept, and gets everything', async ({ server }) => {
  const slow = new Watcher(server, `${runId}?kinds=all`)
  const start = performance.now()
  let sip = 0
  slow.socket.on('message', (data: Buffer) => {
    sip += data.length
    if (sip < SIP_BYTES) return
    sip = 0
    slow.socket.pause()
    setTimeout(() => slow.socket.resume(), SIP_PAUSE_MS)
  })
  await slow.have(RECORDS)
  // If it had read nothing for this long, it would have been closed.
  expect(performance.now() - start).toBeGreaterThan(2 * STALL_MS)
  expect(slow.seqs).toEqual(everySeq)
  // It also stays open when there is nothing more to send.
  for (let pings = 0; pings < 6; pings += 1) await once(slow.socket, 'ping')
  slow.socket.terminate()
  await slow.closed
})
