import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { errAsync } from 'neverthrow'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type ImportDeps, importRun } from '../../../src/audit/bundle/import-run.ts'
import { verifyBundle } from '../../../src/audit/verify/verify-bundle.ts'
import { NO_ANCHORS } from '../../../src/checkpoints/public-keys.ts'
import type { RunRecord } from '../../../src/domain/records.ts'
import { sha256 } from '../../../src/lib/sha256.ts'
import { streamOf } from '../../../src/log/run-log.ts'
import { type EventStore, type RecordedEvent, storeWith } from '../../../src/store/event-store.ts'
import { testFolder } from '../../store/embedded/support.ts'
import { memoryStore } from '../../support/memory-store.ts'
import { createdRecord } from '../../support/run-records.ts'
import { newSigning } from '../../support/signing.ts'
import {
  asVersion,
  contentOf,
  eventsOf,
  exported,
  newKeys,
  type Part,
  partsOf,
  recordsPart,
  replaced,
} from '../support.ts'

const runId = '550e8400-e29b-41d4-a716-446655440000'
const common = { run_id: runId, iteration: 0, ts: 1_770_000_001 }

/** A run that has ended, so long that it takes several appends. */
const complete: readonly RunRecord[] = [
  createdRecord(runId),
  ...Array.from({ length: 250 }, (_, index): RunRecord => {
    const payload = { attempt: index + 1, reason: 'HTTP 529', delay_ms: 250 }
    return { ...common, kind: 'llm_retry', payload }
  }),
  {
    ...common,
    kind: 'run_end',
    payload: {
      achieved: false,
      iterations: 0,
      total_tokens: 0,
      estimated_cost_usd: 0,
      status: 'failed',
      reason: 'No model',
    },
  },
]

const keys = await newKeys()
const events = eventsOf(complete)
const parts = await exported(events, keys)
let folder: string
let store: EventStore
beforeEach(async () => {
  folder = await testFolder()
  store = memoryStore()
})
afterEach(() => store.close())

const markers = () => join(folder, 'imports')
const pending = () => readdir(markers()).catch(() => [])
const deps = (into = store): ImportDeps => ({
  store: into,
  sign: newSigning().sign,
  artifacts: {
    put: async (content) => sha256(content),
    read: async () => null,
  },
  markers: markers(),
  now: () => 1_770_000_100,
})
const take = (from: readonly Part[], into = store) =>
  importRun(deps(into), () => partsOf(from), NO_ANCHORS)

async function stored(): Promise<RecordedEvent[]> {
  const page = { from: 0, direction: 'forward', limit: 4096 } as const
  const read = await store.readStream(streamOf(runId), page)
  return read.unwrapOr([])
}
const bare = ({ id, type, data, metadata, revision }: RecordedEvent) => {
  return { id, type, data, metadata, revision }
}

test.each([1, 2] as const)(
  'an export of version %i is imported as it is, once',
  async (version) => {
    const ofVersion = asVersion(version, parts, keys)
    const first = (await take(ofVersion))._unsafeUnwrap()
    expect(first).toEqual({ runId, records: complete.length, present: 0, artifacts: 0 })
    expect((await stored()).map(bare)).toEqual(events.map(bare))
    expect((await take(ofVersion))._unsafeUnwrapErr()).toEqual({ type: 'is_here', runId })
    expect(await pending()).toEqual([])
  },
)

test('an import that was interrupted is marked, so that no server continues the run, and can be continued', async () => {
  let appends = 0
  const dead = { type: 'store_unavailable', message: 'dead' } as const
  const dying = storeWith(store, {
    append: (...args) => {
      appends += 1
      return appends > 1 ? errAsync(dead) : store.append(...args)
    },
  })
  expect((await take(parts, dying))._unsafeUnwrapErr().type).toBe('store_unavailable')
  const there = (await stored()).length
  expect(there).toBeGreaterThan(0)
  expect(there).toBeLessThan(complete.length)
  expect(await pending()).toEqual([runId])
  expect((await take(parts))._unsafeUnwrap()).toMatchObject({ present: there })
  expect((await stored()).map(bare)).toEqual(events.map(bare))
  expect(await pending()).toEqual([])
})

test('an export that does not hold, or is not complete, leaves no trace', async () => {
  const broken = replaced(
    parts,
    recordsPart(2),
    contentOf(parts, recordsPart(2)).toString().replace('"ts":1', '"ts":2'),
  )
  expect((await take(broken))._unsafeUnwrapErr()).toMatchObject({
    type: 'refused',
    report: { first_bad_seq: 0 },
  })
  const unfinished = await exported(eventsOf(complete.slice(0, -1)), keys)
  expect((await take(unfinished))._unsafeUnwrapErr().type).toBe('not_complete')
  const other = { keys: new Map(), fingerprints: new Set(['0'.repeat(64)]) }
  const untrusted = await importRun(deps(), () => partsOf(parts), other)
  expect(untrusted._unsafeUnwrapErr()).toMatchObject({
    type: 'refused',
    report: { holds: true, trust: 'not_trusted' },
  })
  expect(await stored()).toEqual([])
  expect(await pending()).toEqual([])
})

test('a record that no server can read is not imported, although its hash and the signatures are right', async () => {
  const changed = complete.map((record, seq): RunRecord => {
    const payload = Object.assign({}, record.payload, { more: 1 })
    return seq === 7 ? Object.assign({}, record, { payload }) : record
  })
  const readable = await exported(eventsOf(changed), keys)
  expect(await verifyBundle(partsOf(readable))).toMatchObject({ holds: true })
  const refused = (await take(readable))._unsafeUnwrapErr()
  expect(refused).toMatchObject({
    type: 'refused',
    report: { holds: false, findings: [{ problem: 'unreadable', seq: 7 }] },
  })
})
