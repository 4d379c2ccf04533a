import { once } from 'node:events'
import { createServer } from 'node:net'
import { expect, test } from 'vitest'
import type { StandIn } from '../../support/eventstore-stand-in/index.ts'
import {
  append,
  expectDense,
  newEvent,
  numbered,
  observe,
  observeAll,
  observeStream,
  revisions,
} from '../contract/support.ts'
import { connected, openStore, standIn } from './support.ts'

/** Faults of a subscription that its reader must not notice. */
const faults: Record<string, (server: StandIn) => Promise<void>> = {
  'connections are cut': async ({ faults }) => faults.cutConnections(),
  // That the server ends and fails subscriptions, the contract suite tests.
  'the server is down for a while': async ({ faults }) => {
    await faults.down()
    await faults.up()
  },
}

test.each(Object.entries(faults))(
  '%s: nothing is lost, doubled or out of order, and caught up is reported again',
  async (_name, strike) => {
    const { server, store } = await connected()
    const writer = await openStore(server.connectionString)
    const ofStream = observeStream(store, 'run-1')
    const ofAll = observeAll(store, 'run-')
    await Promise.all([ofStream.untilCaughtUp(), ofAll.untilCaughtUp()])
    const total = 60
    for (let n = 0; n < total; n += 1) {
      // The subscribers lose their connections together with the writer, which tries again.
      const event = newEvent({ n })
      await expect
        .poll(async () => {
          const expectedRevision = n === 0 ? 'no_stream' : n - 1
          return (await writer.append('run-1', [event], { expectedRevision })).isOk()
        })
        .toBe(true)
      if (n % 15 === 7) await strike(server)
    }
    const observers = [ofStream, ofAll]
    await Promise.all(observers.map((observer) => observer.untilEvents(total)))
    const before = observers.map((observer) => observer.caughtUpAt.length)
    await strike(server)
    for (const [index, observer] of observers.entries()) {
      await observer.until(() => observer.caughtUpAt.length > (before[index] ?? 0))
      await observer.stop()
      expectDense(observer, -1, total - 1)
    }
  },
)

test('if the server reports that a subscription fell behind, it reports again when it has caught up', async () => {
  const { server, store } = await connected()
  await append(store, 'run-1', numbered(2))
  const observer = observeStream(store, 'run-1')
  await observer.untilCaughtUp()
  server.faults.fallBehind()
  await observer.until(() => observer.caughtUpAt.length === 2)
  await observer.stop()
  expectDense(observer, -1, 1)
})

test('a subscription catches up past the events of others at the end of the log', async () => {
  const { store } = await connected()
  await append(store, 'run-1', numbered(3))
  await append(store, '$stats-127.0.0.1:2113', numbered(300))
  const observer = observeAll(store, 'run-')
  await observer.untilCaughtUp()
  expect(revisions(observer.events)).toEqual([0, 1, 2])
  const fromTheEnd = observeAll(store, 'run-', observer.events.at(-1)?.position)
  await fromTheEnd.untilCaughtUp()
  await Promise.all([observer.stop(), fromTheEnd.stop()])
  expect(fromTheEnd.events).toEqual([])
})

test('a position that the server reports between events counts only after the events before it', async () => {
  const { server, store } = await connected()
  for (let n = 0; n < 20; n += 1) {
    await append(store, 'run-1', numbered(50))
    await append(store, 'other', numbered(50))
  }
  const observer = observe(
    (signal) => store.subscribeAll({ after: null, prefix: 'run-', signal }),
    () => new Promise(setImmediate),
  )
  for (const count of [100, 400, 700]) {
    await observer.untilEvents(count)
    server.faults.failSubscriptions()
  }
  await observer.untilEvents(1000)
  await observer.stopAfter()
  expectDense(observer, -1, 999)
})

test('without a prefix, all streams are followed except those of the system', async () => {
  const { store } = await connected()
  for (const stream of ['$stats', 'run-1', '$$run-1', 'other']) {
    await append(store, stream, numbered(1))
  }
  const events = await observeAll(store, '').stopAfter()
  expect(events.map(({ stream }) => stream)).toEqual(['run-1', 'other'])
})

test('a reader that stops reading holds the server back, and later continues where it was', async () => {
  const { server, store } = await connected()
  const total = 6000
  for (let n = 0; n < total; n += 300) {
    const events = Array.from({ length: 300 }, () => newEvent({ x: 'x'.repeat(2000) }))
    await append(store, 'run-1', events)
  }
  const gate = Promise.withResolvers<void>()
  const observer = observeStream(store, 'run-1', -1, () => gate.promise)
  await observer.untilEvents(1)
  let sent = -1
  await expect
    .poll(
      () => {
        const still = sent === server.calls.eventsSent
        sent = server.calls.eventsSent
        return still
      },
      { interval: 200 },
    )
    .toBe(true)
  expect(sent).toBeLessThan(total / 2)
  gate.resolve()
  await observer.stopAfter(total)
  expectDense(observer, -1, total - 1)
})

test('an observer that leaves keeps no call open on the server', async () => {
  const { server, store } = await connected()
  for (let n = 0; n < 5; n += 1) await append(store, 'run-1', numbered(400))
  const observers = [observeStream(store, 'run-1'), observeAll(store, 'run-')]
  await Promise.all(observers.map((observer) => observer.untilEvents(1)))
  await Promise.all(observers.map((observer) => observer.stop()))
  for await (const _item of store.subscribeStream('run-1', {
    after: -1,
    signal: new AbortController().signal,
  })) {
    break
  }
  await expect.poll(() => server.calls.openReads).toBe(0)
})

test('an outage is logged once, however often the subscription is retried, and so is the next one', async () => {
  const server = await standIn()
  const lines: string[] = []
  const store = await openStore(server.connectionString, { log: (line) => lines.push(line) })
  const observer = observeStream(store, 'run-1')
  await observer.untilCaughtUp()
  const logged = () => lines.filter((line) => line.includes('subscription to run-1 ended'))
  for (const outages of [1, 2]) {
    const before = observer.caughtUpAt.length
    await server.faults.down()
    await severalAttempts(server.port)
    expect(logged()).toHaveLength(outages)
    await server.faults.up()
    await observer.until(() => observer.caughtUpAt.length > before)
  }
  await observer.stop()
  expect(logged().join()).not.toContain('Resolution note')
})

/** Waits until clients have tried twice to connect to a port where no server answers. */
async function severalAttempts(port: number): Promise<void> {
  let attempts = 0
  const door = createServer((socket) => {
    attempts += 1
    socket.destroy()
  })
  await once(door.listen(port, '127.0.0.1'), 'listening')
  await expect.poll(() => attempts, { timeout: 15_000 }).toBeGreaterThanOrEqual(2)
  await once(door.close(), 'close')
}
