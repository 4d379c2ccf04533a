import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { errAsync } from 'neverthrow'
import { afterEach, expect, onTestFinished, test } from 'vitest'
import { AccessRecorder, type RecorderDeps } from '../../src/audit/access-recorder.ts'
import type { Access } from '../../src/audit/access-windows.ts'
import { ledgerLines, readAccesses } from '../../src/audit/ledgers.ts'
import { ledgerEnd } from '../../src/checkpoints/ledger-ends.ts'
import type { AccessEntry } from '../../src/domain/access.ts'
import type { EventStore } from '../../src/store/event-store.ts'
import { openStore as openEmbedded, testFolder } from '../store/embedded/support.ts'
import { openStore as openEventStoreDb, standIn } from '../store/eventstoredb/support.ts'
import { memoryStore } from '../support/memory-store.ts'
import { bound } from '../support/server.ts'
import { newSigning } from '../support/signing.ts'
import { verifiedLedger } from './verified-ledger.ts'

const silent = { info: () => {}, warn: () => {} }
let now = 0
afterEach(() => {
  now = 0
})

const { sign, keys } = newSigning()
const by = (principal: string): Access => ({
  kind: 'run_exported',
  run_id: '550e8400-e29b-41d4-a716-446655440000',
  principal,
  client: '10.0.0.7',
  operation: 'exportRun',
  asked: '',
})

/** A recorder that writes only when it stops, unless a test says how soon it does. */
function recorderOn(store: EventStore, changes: Partial<RecorderDeps> = {}): AccessRecorder {
  const deps = { store, sign, clock: () => now, log: silent, flushMs: 1e6 }
  return new AccessRecorder({ ...deps, ...changes })
}

async function entriesOf(store: EventStore): Promise<AccessEntry[]> {
  const found: AccessEntry[] = []
  for await (const page of readAccesses(store, {})) {
    found.push(...page._unsafeUnwrap().map(({ record }) => record))
  }
  return found
}
const principals = async (store: EventStore) =>
  (await entriesOf(store)).map(({ payload }) => ('principal' in payload ? payload.principal : null))

async function holds(store: EventStore): Promise<void> {
  const { bad, ...end } = await verifiedLedger('access', ledgerLines(store, 'access'), keys, 0)
  expect(bad).toBeNull()
  expect(end).toEqual((await ledgerEnd(store, 'access'))._unsafeUnwrap())
}

async function temporary(): Promise<EventStore> {
  const store = await openEmbedded(join(await testFolder(), 'log.sqlite'))
  onTestFinished(() => store.close())
  return store
}

const STORES = {
  embedded: temporary,
  EventStoreDB: async () => openEventStoreDb((await standIn()).connectionString),
}

test.each(Object.entries(STORES))(
  'on %s, several servers write their entries, each in order, and the chain holds',
  async (_, open) => {
    const store = await open()
    const recorders = [recorderOn(store, { flushMs: 1 }), recorderOn(store, { flushMs: 1 })]
    for (let n = 0; n < 600; n += 1) {
      for (const [server, recorder] of recorders.entries()) recorder.note(by(`${server}/${n}`))
      if (n % 30 === 0) await sleep(1)
    }
    await Promise.all(recorders.map((recorder) => recorder.stop()))
    const written = await principals(store)
    expect(written).toHaveLength(1200)
    for (const server of recorders.keys()) {
      const own = written.filter((name) => name?.startsWith(`${server}/`))
      expect(own).toEqual(Array.from({ length: 600 }, (_, n) => `${server}/${n}`))
    }
    await holds(store)
  },
)

test('after a restart the log continues, and the counts from before are written', async () => {
  const file = join(await testFolder(), 'log.sqlite')
  for (const name of ['alice', 'bob']) {
    const store = await openEmbedded(file)
    const recorder = recorderOn(store)
    for (let n = 0; n < 3; n += 1) recorder.note(by(name))
    await recorder.stop()
    await store.close()
  }
  const store = await openEmbedded(file)
  onTestFinished(() => store.close())
  const entries = await entriesOf(store)
  expect(await principals(store)).toEqual(['alice', 'alice', 'bob', 'bob'])
  expect(entries.map(({ payload }) => payload.count)).toEqual([1, 2, 1, 2])
  await holds(store)
})

const away = () => errAsync({ type: 'store_unavailable', message: 'it is away' } as const)

test('entries that wait while the store is away are written later, and an entry reports how many were lost', async () => {
  const real = memoryStore()
  const store: EventStore = { ...bound(real), append: away }
  const recorder = recorderOn(store, { flushMs: 5 })
  const kept = Array.from({ length: 10_000 }, (_, n) => `p${n}`)
  for (const [index, name] of [...kept, 'd', 'e'].entries()) {
    now = index
    recorder.note(by(name))
  }
  now = 20_000
  Object.assign(store, bound(real))
  const length = async () => (await ledgerEnd(real, 'access'))._unsafeUnwrap().length
  await expect.poll(length, { timeout: 10_000 }).toBe(kept.length + 1)
  expect(await principals(real)).toEqual([...kept, null])
  recorder.note(by('f'))
  await recorder.stop()
  const entries = await entriesOf(real)
  expect(entries[kept.length]).toEqual({
    kind: 'entries_lost',
    ts: 20_000,
    payload: { count: 2, first_ts: 10_000, last_ts: 10_001 },
  })
  expect((await principals(real)).at(-1)).toBe('f')
  await holds(real)
})

test('nothing is linked to an entry of another log that the store has come back with', async () => {
  const [own, other] = [memoryStore(), memoryStore()]
  const store = { ...bound(own) }
  const failed = Promise.withResolvers<void>()
  const log = { ...silent, warn: () => failed.resolve() }
  const recorder = recorderOn(store, { flushMs: 5, log })
  const neighbour = recorderOn(other, { flushMs: 5 })
  // Both logs have one entry.
  recorder.note(by('alice'))
  neighbour.note(by('bob'))
  await expect.poll(() => principals(own)).toEqual(['alice'])
  await expect.poll(() => principals(other)).toEqual(['bob'])
  Object.assign(store, bound(other))
  recorder.note(by('carol'))
  await failed.promise
  expect(await principals(other)).toEqual(['bob'])
  neighbour.note(by('dave'))
  await expect.poll(() => principals(other)).toEqual(['bob', 'dave'])
  await holds(other)
  await Promise.all([recorder.stop(), neighbour.stop()])
})

test('an append whose answer was lost is not stored twice if another server has written after it', async () => {
  const real = memoryStore()
  let isAway = false
  const leaving: EventStore = {
    ...bound(real),
    readStream: (...call) => (isAway ? away() : real.readStream(...call)),
    append: (...call) => {
      if (isAway) return away()
      isAway = true
      return real
        .append(...call)
        .andThen(() => errAsync({ type: 'outcome_unknown', message: 'no answer' } as const))
    },
  }
  const failed = Promise.withResolvers<void>()
  const log = { ...silent, warn: () => failed.resolve() }
  const recorder = recorderOn(leaving, { flushMs: 5, log })
  recorder.note(by('alice'))
  await failed.promise
  const other = recorderOn(real)
  other.note(by('carol'))
  await other.stop()
  leaving.append = (...call) => real.append(...call)
  isAway = false
  recorder.note(by('bob'))
  await recorder.stop()
  expect(await principals(real)).toEqual(['alice', 'carol', 'bob'])
  await holds(real)
})
