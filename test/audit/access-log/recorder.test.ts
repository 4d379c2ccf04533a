import { join } from 'node:path'
import { err, errAsync, type ResultAsync } from 'neverthrow'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import { readAccesses } from '../../../src/audit/access-log/access-ledger.ts'
import { AccessRecorder, type RecorderDeps } from '../../../src/audit/access-log/access-recorder.ts'
import type { Access } from '../../../src/audit/access-log/access-windows.ts'
import { ledgerEnd, ledgerLines } from '../../../src/audit/ledgers.ts'
import { unsignedEntry, verifyLedgerLines } from '../../../src/audit/verify/verify-ledger.ts'
import type { AccessEntry } from '../../../src/domain/access.ts'
import type { AppendError, Appended, EventStore } from '../../../src/store/event-store.ts'
import { bound } from '../../http/support.ts'
import { openStore as openEmbedded, testFolder } from '../../store/embedded/support.ts'
import { openStore as openEventStoreDb, standIn } from '../../store/eventstoredb/support.ts'
import { newSigning } from '../../support/signing.ts'

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

/** A recorder that writes only when a test calls it, unless it is strict. */
function recorderOn(store: EventStore, changes: Partial<RecorderDeps> = {}): AccessRecorder {
  const deps = { store, sign, clock: () => now, log: silent, strict: false, flushMs: 1e6 }
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
  const { end, bad } = await verifyLedgerLines(
    'access',
    ledgerLines(store, 'access'),
    keys,
    () => {},
  )
  expect(bad).toBeNull()
  expect(unsignedEntry(end, 0)).toBeNull()
  expect(end).toMatchObject((await ledgerEnd(store, 'access'))._unsafeUnwrap())
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

describe.each(Object.entries(STORES))('on %s', (_, open) => {
  test('entries are written in order, and the chain holds', async () => {
    const store = await open()
    const recorder = recorderOn(store)
    const names = Array.from({ length: 1200 }, (_, n) => `p${n}`)
    for (const name of names) expect(recorder.note(by(name))).toBe(true)
    await recorder.stop()
    expect(await principals(store)).toEqual(names)
    await holds(store)
  })

  test('several servers write to the same log', async () => {
    const store = await open()
    const recorders = [recorderOn(store, { strict: true }), recorderOn(store, { strict: true })]
    const noted = recorders.flatMap((recorder, server) =>
      Array.from({ length: 20 }, (_, n) => recorder.note(by(`${server}/${n}`))),
    )
    expect(await Promise.all(noted)).toEqual(Array(40).fill(true))
    await Promise.all(recorders.map((recorder) => recorder.stop()))
    expect(new Set(await principals(store)).size).toBe(40)
    await holds(store)
  })
})

test('after a restart the log continues, and the counts from before are written', async () => {
  const file = join(await testFolder(), 'log.sqlite')
  for (const name of ['alice', 'bob']) {
    const store = await openEmbedded(file)
    const recorder = recorderOn(store)
    for (let n = 0; n < 3; n += 1) void recorder.note(by(name))
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

/** A store whose appends can be made to fail. */
function failing(store: EventStore) {
  let fault:
    | ((append: () => ResultAsync<Appended, AppendError>) => ResultAsync<Appended, AppendError>)
    | null = null
  const append: EventStore['append'] = (...args) => {
    const really = () => store.append(...args)
    return fault === null ? really() : fault(really)
  }
  return {
    store: { ...bound(store), append },
    fail: (how: typeof fault) => {
      fault = how
    },
  }
}
const away = () =>
  errAsync<Appended, AppendError>({ type: 'store_unavailable', message: 'it is away' })

test('entries that wait while the store is away are written later, and an entry reports how many were lost', async () => {
  const real = await temporary()
  const { store, fail } = failing(real)
  const recorder = recorderOn(store, { bound: 3, flushMs: 5 })
  fail(away)
  for (const [index, name] of ['a', 'b', 'c', 'd', 'e'].entries()) {
    now = index
    expect(recorder.note(by(name))).toBe(true)
  }
  now = 9
  fail(null)
  await expect.poll(() => principals(real)).toEqual(['a', 'b', 'c', null])
  void recorder.note(by('f'))
  await recorder.stop()
  const entries = await entriesOf(real)
  expect(entries[3]).toEqual({
    kind: 'entries_lost',
    ts: 9,
    payload: { count: 2, first_ts: 3, last_ts: 4 },
  })
  expect((await principals(real)).at(-1)).toBe('f')
  await holds(real)
})

test('nothing is linked to an entry of another log that the store has come back with', async () => {
  const [log, other] = [await temporary(), await temporary()]
  const store = { ...bound(log) }
  const recorder = recorderOn(store, { strict: true })
  const neighbour = recorderOn(other, { strict: true })
  expect(await recorder.note(by('alice'))).toBe(true)
  // Both logs have one entry.
  expect(await neighbour.note(by('bob'))).toBe(true)
  Object.assign(store, bound(other))
  expect(await recorder.note(by('carol'))).toBe(false)
  expect(await principals(other)).toEqual(['bob'])
  expect(await neighbour.note(by('dave'))).toBe(true)
  await holds(other)
  await Promise.all([recorder.stop(), neighbour.stop()])
})

test('an append whose answer was lost is not stored twice', async () => {
  const real = await temporary()
  const { store, fail } = failing(real)
  const recorder = recorderOn(store, { flushMs: 5 })
  let lost = 0
  fail((append) =>
    append().andThen(() => {
      lost += 1
      return err({ type: 'outcome_unknown' as const, message: 'no answer' })
    }),
  )
  void recorder.note(by('alice'))
  await expect.poll(() => lost).toBe(3)
  void recorder.note(by('bob'))
  fail(null)
  await expect.poll(() => principals(real)).toEqual(['alice', 'bob'])
  await recorder.stop()
  await holds(real)
})

test('an append whose answer was lost is not stored twice if another server has written after it', async () => {
  const real = await temporary()
  let isAway = false
  const away = () => errAsync({ type: 'store_unavailable', message: 'away' } as const)
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
  void recorder.note(by('alice'))
  await failed.promise
  const other = recorderOn(real)
  void other.note(by('carol'))
  await other.stop()
  leaving.append = (...call) => real.append(...call)
  isAway = false
  void recorder.note(by('bob'))
  await recorder.stop()
  expect(await principals(real)).toEqual(['alice', 'carol', 'bob'])
  await holds(real)
})

describe('if an access must be recorded before anything is shown', () => {
  test('an access waits for the log, and repeated ones do not', async () => {
    const store = await temporary()
    const recorder = recorderOn(store, { strict: true })
    const noted = recorder.note(by('alice'))
    expect(noted).toBeInstanceOf(Promise)
    expect(await noted).toBe(true)
    expect(await principals(store)).toEqual(['alice'])
    expect(recorder.note(by('alice'))).toBe(true)
    await recorder.stop()
  })

  test('an access is refused while the log cannot be written, and granted again later', async () => {
    const real = await temporary()
    const { store, fail } = failing(real)
    const recorder = recorderOn(store, { strict: true, bound: 2 })
    fail(away)
    for (const name of ['a', 'b', 'c', 'a']) expect(await recorder.note(by(name))).toBe(false)
    fail(null)
    expect(await recorder.note(by('a'))).toBe(true)
    expect(await recorder.note(by('d'))).toBe(true)
    expect(await principals(real)).toEqual(['a', 'b', null, 'd'])
    await recorder.stop()
    await holds(real)
  })
})
