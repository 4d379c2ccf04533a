import { join } from 'node:path'
import { errAsync, ok } from 'neverthrow'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { type LedgerName, ledgerStream, type RunHead } from '../../src/api/audit.ts'
import { ledgerPages } from '../../src/audit/ledgers.ts'
import { storedRecord } from '../../src/audit/stored-events.ts'
import { LiveCheck } from '../../src/audit/verify/live-report.ts'
import { verifyCheckpoints, verifyHeads } from '../../src/audit/verify/verify-checkpoints.ts'
import {
  CHECKPOINT_STREAM,
  checkpointAt,
  keysInLog,
  listCheckpoints,
} from '../../src/checkpoints/checkpoint-stream.ts'
import { CheckpointWriter } from '../../src/checkpoints/checkpoint-writer.ts'
import { FollowedCheckpoints } from '../../src/checkpoints/followed-checkpoints.ts'
import { type Keyring, openKeyring } from '../../src/checkpoints/keyring.ts'
import { AnyEntry } from '../../src/checkpoints/ledger-ends.ts'
import { proveInclusion } from '../../src/checkpoints/merkle.ts'
import { type KnownKeys, knownKeys, NO_ANCHORS } from '../../src/checkpoints/public-keys.ts'
import { decideAndAppend } from '../../src/log/decider.ts'
import { LOG_ID_STREAM } from '../../src/log/log-identity.ts'
import { type EventStore, type NewEvent, storeWith } from '../../src/store/event-store.ts'
import { includes } from '../audit/inclusion.ts'
import { NOW } from '../audit/support.ts'
import { readAll } from '../store/contract/support.ts'
import { testFolder } from '../store/embedded/support.ts'
import { memoryStore } from '../support/memory-store.ts'
import { idOf, projected } from './witness/support.ts'

let folder: string
let store: EventStore
let keyring: Keyring
let keys: KnownKeys
/** What has been projected. */
let runs: Map<string, RunHead>

beforeEach(async () => {
  folder = await testFolder()
  store = memoryStore()
  keyring = (await openKeyring(join(folder, 'keys'), () => NOW))._unsafeUnwrap()
  keys = knownKeys((await keyring.load())._unsafeUnwrap().published)
  runs = new Map()
})
afterEach(() => store.close())

function grow(n: number, length: number): void {
  const head = `${String(n).padStart(32, '0')}${String(length).padStart(32, '0')}`
  runs.set(idOf(n), { run_id: idOf(n), length, head })
}

const writerOn = (on: EventStore, by = keyring) =>
  new CheckpointWriter({
    store: on,
    runs: projected(runs),
    keyring: by,
    clock: () => NOW,
    followed: new FollowedCheckpoints(on, by),
  })

/** A log with the same identity, and the stream of checkpoints after a change; null removes an event. */
async function changedLog(
  change: (event: NewEvent, index: number) => Partial<NewEvent> | null,
): Promise<EventStore> {
  const other = memoryStore()
  onTestFinished(() => other.close())
  const add = async (stream: string, events: readonly NewEvent[]) =>
    (await other.append(stream, events, { expectedRevision: 'no_stream' }))._unsafeUnwrap()
  await add(LOG_ID_STREAM, await readAll(store, LOG_ID_STREAM))
  const changed = (await readAll(store, CHECKPOINT_STREAM)).flatMap((event, index) => {
    const changes = change(event, index)
    return changes === null ? [] : [{ ...event, ...changes }]
  })
  await add(CHECKPOINT_STREAM, changed)
  return other
}

const write = async (writer: CheckpointWriter) => (await writer.write())._unsafeUnwrap()
const verified = async () => {
  const checked = (await verifyCheckpoints(store, keys))._unsafeUnwrap()
  return { ...checked, count: (checked.latest?.checkpoint?.number ?? -1) + 1 }
}

test('a checkpoint is written when a run is new or longer, and only then', async () => {
  const writer = writerOn(store)
  expect(await write(writer)).toBeNull()
  grow(1, 5)
  grow(2, 1)
  expect(await write(writer)).toMatchObject({ number: 0, runs: 2, previous: '0'.repeat(64) })
  expect(await write(writer)).toBeNull()
  grow(2, 3)
  expect(await write(writer)).toMatchObject({ number: 1, runs: 2 })
  grow(3, 1)
  // A restarted server continues with what is in the stream.
  expect(await write(writerOn(store))).toMatchObject({ number: 2, runs: 3 })
  expect(await write(writer)).toBeNull()
  expect(await verified()).toMatchObject({ count: 3, findings: [] })
  const list = (await listCheckpoints(store, 0, 1))._unsafeUnwrap()
  expect(list.map(({ number }) => number)).toEqual([1])
})

test('each run in a checkpoint has a proof of its length and hash at that time', async () => {
  const writer = writerOn(store)
  for (let n = 1; n <= 7; n += 1) grow(n, n)
  await write(writer)
  grow(3, 30)
  grow(8, 1)
  await write(writer)
  for (const number of [0, 1, 'latest'] as const) {
    const log = (await checkpointAt(store, number))._unsafeUnwrap()
    if (log === null) throw new Error('no checkpoint')
    expect(log.heads.get(idOf(3))?.length).toBe(number === 0 ? 3 : 30)
    for (const runId of log.heads.keys()) {
      const proof = await proveInclusion(log, runId)
      if (proof === null) throw new Error('no proof')
      expect(includes(proof)).toBe(true)
      expect(includes({ ...proof, leaf: { ...proof.leaf, length: 99 } })).toBe(false)
    }
    expect(await proveInclusion(log, idOf(99))).toBeNull()
  }
  expect((await checkpointAt(store, 7))._unsafeUnwrap()).toBeNull()
})

test('a checkpoint covers ledgers by the names of their streams, so a cut or rewritten ledger is found', async () => {
  const add = (name: LedgerName, ...kinds: string[]) => {
    const ledger = {
      stream: ledgerStream(name),
      schema: AnyEntry,
      initial: null,
      evolve: () => null,
    }
    const entries = kinds.map((kind) => ({ kind, ts: 1, payload: {} }))
    return decideAndAppend(store, ledger, () => ok(entries), { commandId: kinds.join() })
  }
  const writer = writerOn(store)
  ;(await add('access', 'a', 'b'))._unsafeUnwrap()
  expect(await write(writer)).toMatchObject({ number: 0, runs: 1 })
  expect(await write(writer)).toBeNull()
  grow(1, 5)
  ;(await add('access', 'c'))._unsafeUnwrap()
  ;(await add('tokens', 'd'))._unsafeUnwrap()
  expect(await write(writer)).toMatchObject({ number: 1, runs: 3 })
  const log = (await checkpointAt(store, 'latest'))._unsafeUnwrap()
  if (log === null) throw new Error('no checkpoint')
  expect([...log.heads.keys()].sort()).toEqual([idOf(1), 'retrai-access', 'retrai-tokens'])
  expect(log.heads.get('retrai-access')?.length).toBe(3)
  const proof = await proveInclusion(log, 'retrai-access')
  expect(proof !== null && includes(proof)).toBe(true)
  expect(await verified()).toMatchObject({ count: 2, findings: [] })

  const check = new LiveCheck(await verified(), 'this log')
  for await (const page of ledgerPages(store, 'access')) {
    const [first, second] = page._unsafeUnwrap().map(storedRecord)
    if (first === undefined || second === undefined) throw new Error('there are three entries')
    check.takeEntry('access', first)
    check.takeEntry('access', second)
    // Another entry than the one that the checkpoint names.
    check.takeEntry('tokens', first)
  }
  const wanted = { anchors: NO_ANCHORS, kept: null, seen: null }
  const judging = { wanted, own: keys, artifacts: 0, read_model: null }
  const gist = check
    .report(judging)
    .findings.map(({ problem, where, seq }) => `${where}, record ${seq}: ${problem}`)
  expect(gist.sort()).toEqual([
    'ledger access, record 2: missing',
    'ledger tokens, record 0: changed',
    'ledger tokens, record 0: signature',
    `run ${idOf(1)}, record 0: missing`,
  ])
})

describe('servers that share a log', () => {
  let others: Keyring
  beforeEach(async () => {
    others = (await openKeyring(join(folder, 'others'), () => NOW))._unsafeUnwrap()
  })
  const keysOf = async (ring: Keyring) => (await ring.load())._unsafeUnwrap().published.keys

  test("verify each other's checkpoints with the published keys, also after a rotation", async () => {
    const [one, other] = [writerOn(store), writerOn(store, others)]
    grow(1, 1)
    await write(one)
    grow(1, 2)
    await write(other)
    ;(await others.rotate())._unsafeUnwrap()
    grow(1, 3)
    await write(other)
    grow(1, 4)
    await write(one)
    expect((await verified()).findings).toEqual([])
    const mine = await keysOf(keyring)
    const theirs = await keysOf(others)
    const signers = [mine[0], theirs[1], theirs[0]].map((key) => key?.fingerprint)
    const inLog = (await keysInLog(store))._unsafeUnwrap().keys.map((key) => key.fingerprint)
    expect(inLog.sort()).toEqual(signers.sort())
    // Each key is published once.
    const metadata = (await readAll(store, CHECKPOINT_STREAM))
      .filter(({ type }) => type === 'checkpoint')
      .map((each) => each.metadata)
    expect(metadata.map((text) => text === '{}')).toEqual([false, false, false, true])
  })

  test('are distinguished from a server whose key is not published', async () => {
    grow(1, 1)
    await write(writerOn(store, others))
    const other = await changedLog(() => ({ metadata: '{}' }))
    const verifiedOther = async () =>
      (await verifyCheckpoints(other, keys))._unsafeUnwrap().findings
    const [theirs] = await keysOf(others)
    const message = `nobody has published the key ${theirs?.fingerprint}, so its signature cannot be verified`
    expect(await verifiedOther()).toEqual([
      { problem: 'signature', where: 'checkpoint 0', seq: null, message },
    ])
    // As an earlier version left it: the server publishes its key, though no run has changed.
    expect(await write(writerOn(other, others))).toMatchObject({ number: 1 })
    expect(await write(writerOn(other, others))).toBeNull()
    expect(await verifiedOther()).toEqual([])
  })
})

test('a checkpoint can cover more runs than one event holds', async () => {
  const count = 4001
  for (let n = 1; n <= count; n += 1) grow(n, 1)
  expect(await write(writerOn(store))).toMatchObject({ number: 0, runs: count })
  expect(await verified()).toMatchObject({ count: 1, findings: [] })
})

test('the next checkpoint is written even if a server died between the runs and the checkpoint', async () => {
  grow(1, 1)
  const append: EventStore['append'] = (stream, events, options) => {
    const runs = events.filter(({ type }) => type !== 'checkpoint')
    const dead = { type: 'store_unavailable', message: 'dead' } as const
    return store.append(stream, runs, options).andThen(() => errAsync(dead))
  }
  const dying = writerOn(storeWith(store, { append }))
  expect((await dying.write()).isErr()).toBe(true)
  expect(await verified()).toMatchObject({ count: 0, findings: [] })
  expect(await write(writerOn(store))).toMatchObject({ number: 0, runs: 1 })
  grow(1, 2)
  expect(await write(writerOn(store))).toMatchObject({ number: 1, runs: 1 })
  expect(await verified()).toMatchObject({ count: 2, findings: [] })
})

test('if two servers write at the same time, one succeeds, and the other notices', async () => {
  grow(1, 1)
  const written = await Promise.all([writerOn(store).write(), writerOn(store).write()])
  const types = written.map((each) => (each.isOk() ? 'written' : each.error.type)).sort()
  expect(types).toEqual(['written', 'wrong_expected_revision'])
  expect(await verified()).toMatchObject({ count: 1, findings: [] })
})

test('while a store is away, no run of a checkpoint counts as missing, and neither does the id of the log', async () => {
  grow(1, 3)
  await write(writerOn(store))
  /** The store, from which no stream that begins like this can be read. */
  const without = (prefix: string): EventStore =>
    storeWith(store, {
      readStream: (stream, options) =>
        stream.startsWith(prefix)
          ? errAsync({ type: 'store_unavailable', message: 'away' } as const)
          : store.readStream(stream, options),
    })
  expect((await verifyHeads(without('run-'), keys, [])).isErr()).toBe(true)
  expect((await verifyCheckpoints(without(LOG_ID_STREAM), keys)).isErr()).toBe(true)
})

test.each<[string, (data: string, index: number) => string | null, string[]]>([
  ['was removed', (data, index) => (index === 3 ? null : data), ['missing checkpoint 2']],
  [
    'was changed',
    // A random hash may have these digits, too.
    (data, index) => (index === 3 ? data.replace('"signed_at":"2026', '"signed_at":"2027') : data),
    ['signature checkpoint 1', 'unlinked checkpoint 2'],
  ],
  [
    'covers a run that was cut off',
    (data, index) => data.replace('"length":3', `"length":${index}`),
    ['changed checkpoint 2'],
  ],
  [
    'cannot be read',
    (data, index) => (index === 3 ? '{' : data),
    ['unreadable retrai-checkpoints'],
  ],
])('verification finds a checkpoint that %s', async (_, change, expected) => {
  const writer = writerOn(store)
  for (const length of [1, 2, 3]) {
    grow(1, length)
    await write(writer)
  }
  const other = await changedLog((event, index) => {
    const data = change(event.data, index)
    return data === null ? null : { data }
  })
  const { findings } = (await verifyCheckpoints(other, keys))._unsafeUnwrap()
  const found = findings.map(({ problem, where }) => `${problem} ${where}`)
  expect(found).toEqual(expect.arrayContaining(expected))
})
