import { expect, test } from 'vitest'
import type { EventStore } from '../../../src/store/event-store.ts'
import {
  append,
  expectDense,
  newEvent,
  numbered,
  observeAll,
  observeStream,
  readAll,
} from '../contract/support.ts'
import { openStore, standIn } from './support.ts'

const NEW = { expectedRevision: 'no_stream' } as const
const typeOf = async (appended: ReturnType<EventStore['append']>): Promise<string> =>
  (await appended).match(
    ({ revision }) => `revision ${revision}`,
    ({ type }) => type,
  )

test('the same append from two sides at once succeeds on both, and is stored once', async () => {
  const server = await standIn()
  server.faults.commitMs = 150
  server.faults.commitTimeoutMs = 300
  const [one, other] = [
    await openStore(server.connectionString),
    await openStore(server.connectionString),
  ]
  const events = numbered(3)
  const both = [one, other].map((store) => typeOf(store.append('run-1', events, NEW)))
  expect(await Promise.all(both)).toEqual(['revision 2', 'revision 2'])
  expect(server.log.events('run-1')).toHaveLength(3)
  expect(server.calls.batchAppends).toBeGreaterThan(2)
})

test('an append during an election ends within its time limit, with an unknown outcome; repeated later, it is stored once', async () => {
  const server = await standIn()
  const store = await openStore(server.connectionString, { timeoutMs: 300 })
  await append(store, 'run-1', numbered(1), 'no_stream')
  server.faults.electing = true
  const events = numbered(2)
  const during = store.append('run-1', events, { expectedRevision: 0 })
  expect(await typeOf(during)).toBe('outcome_unknown')
  server.faults.electing = false
  expect(await append(store, 'run-1', events, 0)).toBe(2)
  expect(server.log.events('run-1')).toHaveLength(3)
})

test('a node that knows no leader yet has stored nothing, and the store works as soon as there is a leader', async () => {
  const server = await standIn()
  server.faults.leaderless = true
  const store = await openStore(server.connectionString)
  expect(await typeOf(store.append('run-1', numbered(1), NEW))).toBe('store_unavailable')
  expect(await typeOf(store.append('run-1', numbered(1), { expectedRevision: 'any' }))).not.toMatch(
    /revision/,
  )
  expect((await store.ping())._unsafeUnwrapErr()).toMatchObject({ type: 'store_unavailable' })
  const observer = observeAll(store, 'run-')
  server.faults.leaderless = false
  await observer.untilCaughtUp()
  await append(store, 'run-1', numbered(2), 'no_stream')
  await observer.untilEvents(2)
  await observer.stop()
  expectDense(observer, -1, 1)
})

test('after a discovery that failed, the next call tries again', async () => {
  const server = await standIn()
  server.faults.noGossip = true
  const seeds = `127.0.0.1:${server.port},127.0.0.1:${server.port}`
  const store = await openStore(
    `esdb://${seeds}?tls=false&maxDiscoverAttempts=2&discoveryInterval=20`,
  )
  const observer = observeStream(store, 'run-1')
  for (let calls = 0; calls < 3; calls += 1) {
    expect(await typeOf(store.append('run-1', numbered(1), NEW))).toBe('store_unavailable')
    expect((await store.ping())._unsafeUnwrapErr()).toMatchObject({ type: 'store_unavailable' })
  }
  server.faults.noGossip = false
  expect(await append(store, 'run-1', numbered(1), 'no_stream')).toBe(0)
  await observer.untilEvents(1)
  await observer.stop()
})

test('what an old leader cuts off its log was never visible, and the same append is stored once by the next leader', async () => {
  const server = await standIn()
  const store = await openStore(server.connectionString)
  await append(store, 'run-1', numbered(1), 'no_stream')
  const observer = observeStream(store, 'run-1')
  await observer.untilEvents(1)
  server.faults.commitMs = 200
  const event = newEvent({ n: 1 })
  const underWay = store.append('run-1', [event], { expectedRevision: 0 })
  await expect.poll(() => server.calls.batchAppends).toBe(2)
  await server.faults.depose()
  expect(await typeOf(underWay)).toBe('outcome_unknown')
  server.faults.commitMs = 0
  await server.faults.up()
  await expect.poll(async () => (await store.ping()).isOk()).toBe(true)
  expect(await readAll(store, 'run-1')).toHaveLength(1)
  expect(await append(store, 'run-1', [event], 0)).toBe(1)
  await observer.untilEvents(2)
  await observer.stop()
  expectDense(observer, -1, 1)
})
