import { expect, test } from 'vitest'
import type { AppendError, EventStore, NewEvent } from '../../../src/store/event-store.ts'
import type { Faults } from '../../support/eventstore-stand-in/faults.ts'
import type { StandIn } from '../../support/eventstore-stand-in/index.ts'
import {
  append,
  dense,
  expectDense,
  newEvent,
  numbered,
  observeAll,
  observeStream,
  readAll,
  revisions,
} from '../contract/support.ts'
import { connected, openStore, standIn } from './support.ts'

const failed = async (
  store: EventStore,
  events: readonly NewEvent[],
  expectedRevision: 'no_stream' | number = 'no_stream',
): Promise<AppendError> =>
  (await store.append('run-1', events, { expectedRevision }))._unsafeUnwrapErr()

/** What happens to an append without an answer. */
const unanswered: Readonly<Record<string, (faults: Faults) => void>> = {
  'its answer is lost': (faults) => faults.nextAppends('lose_answer'),
  'the server stays silent': (faults) => faults.nextAppends('stay_silent'),
  'the server forgets it': (faults) => faults.nextAppends('swallow'),
  'the nodes elect a leader': (faults) => {
    faults.electing = true
  },
}

test.each(Object.entries(unanswered))(
  'if %s, the outcome of an append is unknown; repeating it settles that, and it is stored once',
  async (_, strike) => {
    const { server, store } = await connected({ timeoutMs: 400 })
    const events = numbered(3)
    strike(server.faults)
    expect(await failed(store, events)).toMatchObject({ type: 'outcome_unknown' })
    server.faults.electing = false
    expect(await append(store, 'run-1', events, 'no_stream')).toBe(2)
    expect(await append(store, 'run-1', numbered(1), 2)).toBe(3)
    expect(server.log.events('run-1')).toHaveLength(4)
  },
)

test.each(['drop', 'drop_stored'] as const)(
  'an append that the server answers with ABORTED (%s) is retried until it is stored once',
  async (fault) => {
    const { server, store } = await connected()
    server.faults.nextAppends(fault, 2)
    expect(await append(store, 'run-1', numbered(3), 'no_stream')).toBe(2)
    expect(server.calls.batchAppends).toBe(3)
    expect(server.log.events('run-1')).toHaveLength(3)
  },
)

test('an append that the server keeps dropping ends within the time limit, with an unknown outcome', async () => {
  const { server, store } = await connected({ timeoutMs: 400 })
  server.faults.nextAppends('drop', 1000)
  expect(await failed(store, numbered(1))).toMatchObject({ type: 'outcome_unknown' })
  expect(server.calls.batchAppends).toBeGreaterThan(1)
})

test('an append that was dropped, and then refused because of its revision, is known not to be stored', async () => {
  const { server, store } = await connected()
  server.faults.nextAppends('drop')
  expect(await failed(store, numbered(1), 4)).toMatchObject({ type: 'wrong_expected_revision' })
})

test('on a frozen network, appends have an unknown outcome, and reads and pings find no store', async () => {
  const { server, store } = await connected({ timeoutMs: 400 })
  await append(store, 'run-1', numbered(1))
  server.faults.freeze()
  const events = numbered(2)
  expect(await failed(store, events, 0)).toMatchObject({ type: 'outcome_unknown' })
  const read = await store.readStream('run-1', { from: 0, direction: 'forward', limit: 9 })
  expect(read._unsafeUnwrapErr()).toMatchObject({ type: 'store_unavailable' })
  expect((await store.ping())._unsafeUnwrapErr()).toMatchObject({ type: 'store_unavailable' })
  server.faults.thaw()
  expect(await append(store, 'run-1', events, 0)).toBe(2)
  expect(revisions(await readAll(store, 'run-1'))).toEqual([0, 1, 2])
})

type Outage = {
  /** Of the connection string. */
  readonly seeds?: boolean
  readonly begin: (faults: Faults) => Promise<void> | void
  readonly end: (faults: Faults) => Promise<void> | void
  readonly says: string
}
const outages: Readonly<Record<string, Outage>> = {
  'no server is there': {
    begin: (faults) => faults.down(),
    end: (faults) => faults.up(),
    says: 'ECONNREFUSED',
  },
  'the server knows no leader yet': {
    begin: (faults) => void Object.assign(faults, { leaderless: true }),
    end: (faults) => void Object.assign(faults, { leaderless: false }),
    says: '',
  },
  'no node of a cluster is found': {
    seeds: true,
    begin: (faults) => void Object.assign(faults, { noGossip: true }),
    end: (faults) => void Object.assign(faults, { noGossip: false }),
    says: 'Failed to discover',
  },
}

/** A cluster, of which this server is the only node. */
const clusterOf = ({ port }: StandIn): string =>
  `esdb://127.0.0.1:${port},127.0.0.1:${port}?tls=false&maxDiscoverAttempts=2&discoveryInterval=20`

test.each(Object.entries(outages))(
  'while %s, nothing is stored and the store is unavailable, and later it works',
  async (_, { seeds = false, begin, end, says }) => {
    const server = await standIn()
    await begin(server.faults)
    const store = await openStore(seeds ? clusterOf(server) : server.connectionString)
    const observer = observeAll(store, 'run-')
    const events = numbered(2)
    const page = { from: 0, direction: 'forward', limit: 9 } as const
    const message = expect.stringContaining(says)
    for (let calls = 0; calls < 3; calls += 1) {
      for (const error of [
        await failed(store, events),
        (await store.readStream('run-1', page))._unsafeUnwrapErr(),
        (await store.ping())._unsafeUnwrapErr(),
      ]) {
        expect(error).toEqual({ type: 'store_unavailable', message })
      }
    }
    await end(server.faults)
    await expect.poll(async () => (await store.ping()).isOk()).toBe(true)
    expect(await append(store, 'run-1', events, 'no_stream')).toBe(1)
    await observer.stopAfter(2)
    expectDense(observer, -1, 1)
  },
)

test('if connections break again and again during many appends, each is stored once, in order', async () => {
  const { server, store } = await connected()
  const writers = 24
  const each = 12
  const write = async (writer: number): Promise<void> => {
    for (let n = 0; n < each; n += 1) await settle(store, `run-${writer}`, n - 1, newEvent({ n }))
  }
  let stored = 0
  let cuts = 0
  server.log.onAppended(() => {
    stored += 1
    if (stored % 7 !== 0) return
    cuts += 1
    setImmediate(() => server.faults.cutConnections())
  })
  await Promise.all(dense(0, writers - 1).map(write))
  expect(cuts).toBe(Math.floor((writers * each) / 7))
  for (let writer = 0; writer < writers; writer += 1) {
    const data = server.log.events(`run-${writer}`).map(({ data }) => Buffer.from(data).toString())
    expect(data).toEqual(dense(0, each - 1).map((n) => JSON.stringify({ n })))
  }
})

/** Repeats the same append until its outcome is known. */
async function settle(
  store: EventStore,
  stream: string,
  last: number,
  event: NewEvent,
): Promise<void> {
  for (;;) {
    const expectedRevision = last < 0 ? 'no_stream' : last
    const appended = await store.append(stream, [event], { expectedRevision })
    if (appended.isOk()) return
    const { type } = appended.error
    if (type !== 'outcome_unknown' && type !== 'store_unavailable') {
      throw new Error(JSON.stringify(appended.error))
    }
  }
}

test('the lost connection of one store does not affect the appends of another', async () => {
  const one = await standIn()
  const other = await standIn()
  const broken = await openStore(one.connectionString)
  const healthy = await openStore(other.connectionString)
  for (const server of [one, other]) server.faults.delayMs = 200
  const lost = failed(broken, numbered(1))
  const kept = append(healthy, 'run-1', numbered(1), 'no_stream')
  await expect.poll(() => one.calls.batchAppends).toBe(1)
  one.faults.cutConnections()
  expect(await lost).toMatchObject({ type: 'outcome_unknown' })
  expect(await kept).toBe(0)
})

test('if a node is not the leader, the client continues with the leader that it names', async () => {
  const follower = await standIn()
  const leader = await standIn()
  follower.faults.leader = { host: '127.0.0.1', port: leader.port }
  const store = await openStore(follower.connectionString)
  expect(await append(store, 'run-1', numbered(2), 'no_stream')).toBe(1)
  expect(await readAll(store, 'run-1')).toHaveLength(2)
  expect(leader.log.events('run-1')).toHaveLength(2)
  expect(follower.log.all).toEqual([])
})

test('a cluster is found by gossip, lost as a whole, and found again', async () => {
  const server = await standIn()
  const store = await openStore(clusterOf(server))
  await append(store, 'run-1', numbered(1), 'no_stream')
  await server.faults.down()
  const many = Array.from({ length: 20 }, () => failed(store, numbered(1), 0))
  for (const error of await Promise.all(many)) {
    expect(['store_unavailable', 'outcome_unknown']).toContain(error.type)
  }
  expect((await store.ping())._unsafeUnwrapErr()).toMatchObject({ type: 'store_unavailable' })
  await server.faults.up()
  await expect.poll(async () => (await store.ping()).isOk()).toBe(true)
  expect(await append(store, 'run-1', numbered(1), 0)).toBe(1)
})

test('closing waits for an append without an answer no longer than the time limit', async () => {
  const { server, store } = await connected({ timeoutMs: 300 })
  server.faults.nextAppends('stay_silent')
  const appended = store.append('run-1', numbered(1), { expectedRevision: 'no_stream' })
  await store.close()
  expect((await appended)._unsafeUnwrapErr()).toMatchObject({ type: 'outcome_unknown' })
})

test('if a connection cannot be replaced, the append fails, and the process lives', async () => {
  const server = await standIn()
  const gone = await standIn()
  await gone.faults.down()
  const seeds = `127.0.0.1:${server.port},127.0.0.1:${server.port}`
  const messages: string[] = []
  const store = await openStore(
    `esdb://${seeds}?tls=false&maxDiscoverAttempts=3&discoveryInterval=100`,
    { log: (text) => messages.push(text) },
  )
  const observer = observeStream(store, 'run-1')
  await observer.untilCaughtUp()
  // The client is sent to a leader that is not there, and then finds no other node, while the
  // subscription still has its old connection, which the server ends now.
  server.faults.leader = { host: '127.0.0.1', port: gone.port }
  server.faults.refuseConnections()
  expect((await store.ping())._unsafeUnwrapErr()).toMatchObject({ type: 'store_unavailable' })
  const searching = store.ping()
  await new Promise(setImmediate)
  server.faults.failSubscriptions()
  expect((await searching)._unsafeUnwrapErr()).toMatchObject({ type: 'store_unavailable' })
  await expect.poll(() => messages.join()).toContain('the connection could not be replaced')
  server.faults.leader = null
  await server.faults.up()
  await observer.until(() => observer.caughtUpAt.length > 1)
  await observer.stop()
})

test('the same append from two sides at once succeeds on both, and is stored once', async () => {
  const server = await standIn()
  server.faults.commitMs = 150
  server.faults.commitTimeoutMs = 300
  const events = numbered(3)
  const both = [1, 2].map(async () => {
    const store = await openStore(server.connectionString)
    return append(store, 'run-1', events, 'no_stream')
  })
  expect(await Promise.all(both)).toEqual([2, 2])
  expect(server.log.events('run-1')).toHaveLength(3)
  expect(server.calls.batchAppends).toBeGreaterThan(2)
})

test('what an old leader cuts off its log was never visible, and the same append is stored once by the next leader', async () => {
  const { server, store } = await connected()
  await append(store, 'run-1', numbered(1), 'no_stream')
  const observer = observeStream(store, 'run-1')
  await observer.untilEvents(1)
  server.faults.commitMs = 200
  const event = newEvent({ n: 1 })
  const underWay = failed(store, [event], 0)
  await expect.poll(() => server.calls.batchAppends).toBe(2)
  await server.faults.depose()
  expect(await underWay).toMatchObject({ type: 'outcome_unknown' })
  server.faults.commitMs = 0
  await server.faults.up()
  await expect.poll(async () => (await store.ping()).isOk()).toBe(true)
  expect(await readAll(store, 'run-1')).toHaveLength(1)
  expect(await append(store, 'run-1', [event], 0)).toBe(1)
  await observer.stopAfter(2)
  expectDense(observer, -1, 1)
})
