import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { errAsync, ok, okAsync } from 'neverthrow'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type LedgerName, ledgerStream, type RunHead } from '../../../src/api/audit.ts'
import {
  CHECKPOINT_STREAM,
  checkpointAt,
  keysInLog,
  listCheckpoints,
  RUNS_PER_EVENT,
} from '../../../src/audit/checkpoints/checkpoint-stream.ts'
import { CheckpointWriter } from '../../../src/audit/checkpoints/checkpoint-writer.ts'
import { includes, KeptHeads, proveInclusion } from '../../../src/audit/checkpoints/run-heads.ts'
import { AnyEntry, ledgerPages } from '../../../src/audit/ledgers.ts'
import { type Keyring, openKeyring } from '../../../src/audit/proofs/keyring.ts'
import { type KnownKeys, knownKeys } from '../../../src/audit/proofs/public-keys.ts'
import { verifyCheckpoints } from '../../../src/audit/verify/verify-checkpoints.ts'
import { NOTHING_VERIFIED, verifyEntry } from '../../../src/audit/verify/verify-ledger.ts'
import { storedRecord } from '../../../src/audit/verify/verify-run.ts'
import { verifyHeads } from '../../../src/audit/verify/verify-store.ts'
import { decideAndAppend } from '../../../src/log/decider.ts'
import { LOG_ID_STREAM } from '../../../src/log/log-id.ts'
import { openEmbeddedStore } from '../../../src/store/embedded/embedded-store.ts'
import type { EventStore } from '../../../src/store/event-store.ts'
import { NOW } from '../support.ts'

let folder: string
let store: EventStore
let keyring: Keyring
let keys: KnownKeys
/** What has been projected. */
let runs: Map<string, RunHead>

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'retrai-checkpoints-'))
  store = (await openEmbeddedStore({ file: join(folder, 'log.sqlite') }))._unsafeUnwrap()
  keyring = (await openKeyring(join(folder, 'keys'), () => NOW))._unsafeUnwrap()
  keys = knownKeys((await keyring.load())._unsafeUnwrap().published)
  runs = new Map()
})
afterEach(async () => {
  await store.close()
  await rm(folder, { recursive: true })
})

const idOf = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`

function grow(n: number, length: number): void {
  const head = `${String(n).padStart(32, '0')}${String(length).padStart(32, '0')}`
  runs.set(idOf(n), { run_id: idOf(n), length, head })
}

const writerOn = (on: EventStore, ring: Keyring = keyring) =>
  new CheckpointWriter({
    store: on,
    runs: {
      takeChanged: () => null,
      heads: (after, limit) =>
        [...runs.values()]
          .filter(({ run_id }) => run_id > after)
          .sort((a, b) => (a.run_id < b.run_id ? -1 : 1))
          .slice(0, limit),
    },
    keyring: ring,
    clock: () => NOW,
  })

/** A store with the identity of this log, and nothing else. */
async function sameLog(name: string): Promise<EventStore> {
  const other = (await openEmbeddedStore({ file: join(folder, name) }))._unsafeUnwrap()
  const page = { from: 0, direction: 'forward', limit: 1 } as const
  const identity = (await store.readStream(LOG_ID_STREAM, page))._unsafeUnwrap()
  const options = { expectedRevision: 'no_stream' } as const
  ;(await other.append(LOG_ID_STREAM, identity, options))._unsafeUnwrap()
  return other
}

const write = async (writer: CheckpointWriter) => (await writer.write())._unsafeUnwrap()
const verified = async (wanted: number | null = null) =>
  (await verifyCheckpoints(store, keys, { wanted }))._unsafeUnwrap()

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

test('after the first checkpoint, only runs that have changed are read', async () => {
  let looked = 0
  let changed: RunHead[] | null = null
  const writer = new CheckpointWriter({
    store,
    runs: {
      takeChanged: () => changed,
      heads: (after) => {
        looked += 1
        return after === '' ? [...runs.values()] : []
      },
    },
    keyring,
    clock: () => NOW,
  })
  grow(1, 1)
  grow(2, 1)
  expect(await write(writer)).toMatchObject({ number: 0, runs: 2 })
  expect(looked).toBe(2)
  changed = []
  expect(await write(writer)).toBeNull()
  grow(0, 4)
  changed = [...runs.values()].filter(({ length }) => length === 4)
  expect(await write(writer)).toMatchObject({ number: 1, runs: 3 })
  expect(looked).toBe(2)
  expect(await verified()).toMatchObject({ count: 2, findings: [] })
})

test('a run that could not be written is in the next checkpoint', async () => {
  let fails = true
  let changed: RunHead[] | null = null
  const failing: EventStore = {
    ...methods(store),
    append: (stream, events, options) =>
      fails
        ? errAsync({ type: 'store_unavailable', message: 'away' })
        : store.append(stream, events, options),
  }
  const heads = () => []
  const clock = () => NOW
  const writer = new CheckpointWriter({
    store: failing,
    runs: { takeChanged: () => changed, heads },
    keyring,
    clock,
  })
  grow(1, 1)
  changed = [...runs.values()]
  expect((await writer.write()).isErr()).toBe(true)
  fails = false
  changed = []
  expect(await write(writer)).toMatchObject({ number: 0, runs: 1 })
  expect(await verified()).toMatchObject({ count: 1, findings: [] })
})

test('a server waits until the checkpoint of another server is old enough', async () => {
  grow(1, 1)
  await write(writerOn(store))
  grow(1, 2)
  let now = NOW.getTime()
  const writer = new CheckpointWriter({
    store,
    runs: { takeChanged: () => null, heads: (after) => (after === '' ? [...runs.values()] : []) },
    keyring,
    clock: () => new Date(now),
  })
  now += 4_999
  expect((await writer.write({ pauseMs: 5_000 }))._unsafeUnwrap()).toBe('too_soon')
  now += 1
  expect((await writer.write({ pauseMs: 5_000 }))._unsafeUnwrap()).toMatchObject({ number: 1 })
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
      const proof = proveInclusion(log, runId)
      if (proof === null) throw new Error('no proof')
      expect(includes(proof)).toBe(true)
      expect(includes({ ...proof, leaf: { ...proof.leaf, length: 99 } })).toBe(false)
    }
    expect(proveInclusion(log, idOf(99))).toBeNull()
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
  const proof = proveInclusion(log, 'retrai-access')
  expect(proof !== null && includes(proof)).toBe(true)
  expect(await verified()).toMatchObject({ count: 2, findings: [] })

  const kept = new KeptHeads(log.heads, 'the checkpoint')
  let end = NOTHING_VERIFIED
  for await (const page of ledgerPages(store, 'access')) {
    for (const event of page._unsafeUnwrap()) {
      end = verifyEntry('access', end, storedRecord(event), new Map())._unsafeUnwrap()
      if (end.length < 3) kept.see(event.stream, event.revision, end.head)
    }
  }
  kept.see('retrai-tokens', 0, '0'.repeat(64))
  const findings = kept.findings((id) => (id === 'retrai-access' ? 2 : 0))
  const gist = findings.map(({ problem, where, seq }) => `${where}, record ${seq}: ${problem}`)
  expect(gist.sort()).toEqual([
    'ledger access, record 2: missing',
    'ledger tokens, record 0: changed',
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
    const { findings, signed } = await verified()
    expect(findings).toEqual([])
    const [mine, theirs] = [await keysOf(keyring), await keysOf(others)]
    const signers = [mine[0], theirs[1], theirs[0]].map((key) => key?.fingerprint)
    expect([...signed]).toEqual(signers.map((key, index) => [key, index === 0 ? 2 : 1]))
    const inLog = (await keysInLog(store))._unsafeUnwrap().map(({ fingerprint }) => fingerprint)
    expect(inLog.sort()).toEqual(signers.sort())
    // Each key is published once.
    const page = { from: 0, direction: 'forward', limit: 100 } as const
    const events = (await store.readStream(CHECKPOINT_STREAM, page))._unsafeUnwrap()
    const metadata = events.filter(({ type }) => type === 'checkpoint').map((each) => each.metadata)
    expect(metadata.map((text) => text === '{}')).toEqual([false, false, false, true])
  })

  test('are distinguished from a server whose key is not published', async () => {
    grow(1, 1)
    await write(writerOn(store, others))
    await withoutPublishedKeys(async (other) => {
      const { findings } = (await verifyCheckpoints(other, keys))._unsafeUnwrap()
      const [theirs] = await keysOf(others)
      expect(findings).toEqual([
        {
          problem: 'signature',
          where: 'checkpoint 0',
          seq: null,
          message: `nobody has published the key ${theirs?.fingerprint}, so its signature cannot be verified`,
        },
      ])
      // As an earlier version left it: the server publishes its key, though no run has changed.
      expect(await write(writerOn(other, others))).toMatchObject({ number: 1 })
      expect(await write(writerOn(other, others))).toBeNull()
      expect((await verifyCheckpoints(other, keys))._unsafeUnwrap().findings).toEqual([])
    })
  })

  async function withoutPublishedKeys(use: (other: EventStore) => Promise<void>) {
    const page = { from: 0, direction: 'forward', limit: 100 } as const
    const events = (await store.readStream(CHECKPOINT_STREAM, page))._unsafeUnwrap()
    const other = await sameLog('earlier.sqlite')
    try {
      const bare = events.map(({ id, type, data }) => ({ id, type, data, metadata: '{}' }))
      ;(
        await other.append(CHECKPOINT_STREAM, bare, { expectedRevision: 'no_stream' })
      )._unsafeUnwrap()
      await use(other)
    } finally {
      await other.close()
    }
  }
})

test('a checkpoint can cover more runs than one event holds', async () => {
  const count = 2 * RUNS_PER_EVENT + 1
  for (let n = 1; n <= count; n += 1) grow(n, 1)
  expect(await write(writerOn(store))).toMatchObject({ number: 0, runs: count })
  expect(await verified()).toMatchObject({ count: 1, findings: [] })
})

test('the next checkpoint is written even if a server died between the runs and the checkpoint', async () => {
  grow(1, 1)
  const dying = writerOn({
    ...methods(store),
    append: (stream, events, options) =>
      store
        .append(
          stream,
          events.filter(({ type }) => type !== 'checkpoint'),
          options,
        )
        .andThen(() => errAsync({ type: 'store_unavailable', message: 'dead' } as const)),
  })
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

describe('while a store is away, nothing counts as missing', () => {
  beforeEach(async () => {
    grow(1, 3)
    await write(writerOn(store))
  })
  const away = () => errAsync({ type: 'store_unavailable', message: 'away' } as const)

  test('no run of a checkpoint', async () => {
    const leaving: EventStore = {
      ...methods(store),
      readStream: (stream, options) => {
        if (!stream.startsWith('run-')) return store.readStream(stream, options)
        return options.from === 0 ? away() : okAsync([])
      },
    }
    expect((await verifyHeads(leaving, keys, [])).isErr()).toBe(true)
  })

  test('not the id of the log', async () => {
    const leaving: EventStore = {
      ...methods(store),
      readStream: (stream, options) =>
        stream === LOG_ID_STREAM ? away() : store.readStream(stream, options),
    }
    expect((await verifyCheckpoints(leaving, keys)).isErr()).toBe(true)
  })
})

describe('verification finds', () => {
  /** The stream in another log, with a change. */
  async function rewritten(change: (data: string, index: number) => string | null) {
    const page = { from: 0, direction: 'forward', limit: 100 } as const
    const events = (await store.readStream(CHECKPOINT_STREAM, page))._unsafeUnwrap()
    const other = await sameLog('other.sqlite')
    try {
      const kept = events.flatMap(({ id, type, data, metadata }, index) => {
        const changed = change(data, index)
        return changed === null ? [] : [{ id, type, data: changed, metadata }]
      })
      ;(
        await other.append(CHECKPOINT_STREAM, kept, { expectedRevision: 'no_stream' })
      )._unsafeUnwrap()
      const { findings } = (await verifyCheckpoints(other, keys))._unsafeUnwrap()
      return findings.map(({ problem, where }) => `${problem} ${where}`)
    } finally {
      await other.close()
    }
  }

  beforeEach(async () => {
    const writer = writerOn(store)
    for (const length of [1, 2, 3]) {
      grow(1, length)
      await write(writer)
    }
  })

  test('a checkpoint that was removed', async () => {
    expect(await rewritten((data, index) => (index === 3 ? null : data))).toContain(
      'missing checkpoint 2',
    )
  })

  test('a checkpoint that was changed', async () => {
    expect(
      await rewritten((data, index) => (index === 3 ? data.replace('2026', '2027') : data)),
    ).toEqual(['signature checkpoint 1', 'unlinked checkpoint 2'])
  })

  test('a run that was cut off', async () => {
    expect(
      await rewritten((data, index) => data.replace('"length":3', `"length":${index}`)),
    ).toContain('changed checkpoint 2')
  })
})

function methods(given: EventStore): EventStore {
  return {
    append: (...args) => given.append(...args),
    readStream: (...args) => given.readStream(...args),
    subscribeStream: (...args) => given.subscribeStream(...args),
    subscribeAll: (...args) => given.subscribeAll(...args),
    ping: () => given.ping(),
    close: () => given.close(),
  }
}
