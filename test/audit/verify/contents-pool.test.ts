import fc from 'fast-check'
import { ok } from 'neverthrow'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { BundlePart } from '../../../src/audit/bundle/bundle-format.ts'
import type { Keys } from '../../../src/audit/proofs/keyring.ts'
import { ContentsPool } from '../../../src/audit/verify/contents-pool.ts'
import { verifyBundle } from '../../../src/audit/verify/verify-bundle.ts'
import { verifyLog } from '../../../src/audit/verify/verify-log.ts'
import type { LogPages } from '../../../src/log/stream-pages.ts'
import type { RecordedEvent } from '../../../src/store/event-store.ts'
import { validRun } from '../../support/run-records.ts'
import {
  asVersion,
  contentOf,
  eventsOf,
  exported,
  newKeys,
  partsOf,
  recordsPart,
  replaced,
  withTaken,
} from '../support.ts'
import { someTexts } from '../taken.ts'

const pool = new ContentsPool(2)
const NO_ARTIFACTS = { read: async () => null }
let keys: Keys

beforeAll(async () => {
  keys = await newKeys()
  await pool.start()
})
afterAll(() => pool[Symbol.dispose]())

async function* pagesOf(events: readonly RecordedEvent[]): LogPages {
  const page = 7
  for (let from = 0; from < events.length; from += page) yield ok(events.slice(from, from + page))
}

const run = validRun(undefined, { maxMoves: 25 })
const place = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
const version = fc.constantFrom(1 as const, 2 as const)

test("whatever byte of an export's records is changed, threads find the same as one thread", async () => {
  const property = fc.asyncProperty(
    run,
    version,
    place,
    fc.integer({ min: 0, max: 255 }),
    async (records, version, where, flip) => {
      const events = eventsOf(records)
      const whole = await exported(withTaken(events, someTexts(events, where)), keys)
      const parts = asVersion(version, whole, keys)
      const content = Buffer.from(contentOf(parts, recordsPart(version)))
      const index = Math.floor(where * content.length)
      content[index] = (content[index] ?? 0) ^ flip
      const changed = replaced(parts, recordsPart(version), content)
      const alone = await verifyBundle(partsOf(changed), { pool: new ContentsPool(0) })
      expect(await verifyBundle(partsOf(changed), { pool })).toEqual(alone)
    },
  )
  await fc.assert(property, { numRuns: 60 })
})

test('whatever record of a log is changed or swapped, threads find the same as one thread', async () => {
  const property = fc.asyncProperty(run, place, fc.boolean(), async (records, where, exchanged) => {
    const events = eventsOf(records)
    const at = Math.floor(where * events.length)
    const other = events[exchanged ? (at + 1) % events.length : at] ?? events[0]
    const changed = events.map((event, index) => {
      return index === at && other !== undefined
        ? { ...event, data: other.data.replace('"iteration":', '"iteration":1') }
        : event
    })
    const verify = (options: { readonly pool?: ContentsPool }) =>
      verifyLog(pagesOf(changed), NO_ARTIFACTS, [], options)
    expect(await verify({ pool })).toEqual(await verify({}))
  })
  await fc.assert(property, { numRuns: 60 })
})

test('what was read before a log or an export broke off is verified, and the threads can be used again', async () => {
  const runs = fc.sample(validRun(undefined, { maxMoves: 120 }), { numRuns: 200, seed: 3 })
  const [records = []] = runs.toSorted((one, other) => other.length - one.length)
  const events = eventsOf(records)
  async function* broken(): LogPages {
    yield* pagesOf(events.slice(0, 21))
    throw new Error('the disk is gone')
  }
  const parts = await exported(events, keys)
  async function* cutOff(): AsyncGenerator<BundlePart> {
    for await (const part of partsOf(parts)) {
      yield part.path === recordsPart(2) ? { ...part, body: mostOf(part.body) } : part
    }
  }
  const alone = await verifyBundle(cutOff(), { pool: new ContentsPool(0) })
  expect(alone.findings).toContainEqual(expect.objectContaining({ message: 'it is cut off' }))
  // Some records came before the end, and were verified.
  expect(alone.verified).toBeGreaterThan(0)
  expect(alone.verified).toBeLessThan(events.length)
  for (let round = 0; round < 3; round += 1) {
    await expect(verifyLog(broken(), NO_ARTIFACTS, [], { pool })).rejects.toThrow(
      'the disk is gone',
    )
    expect(await verifyBundle(cutOff(), { pool })).toEqual(alone)
  }
})

async function* mostOf(body: BundlePart['body']): BundlePart['body'] {
  for await (const chunk of body) {
    for (let from = 0; from < chunk.length * 0.8; from += 900)
      yield chunk.subarray(from, from + 900)
  }
  throw new Error('it is cut off')
}

test('the caller checks the work of threads that died', async () => {
  const lost = new ContentsPool(2)
  await lost.start()
  const [records = []] = fc.sample(run, { numRuns: 1, seed: 3 })
  const parts = await exported(eventsOf(records), keys)
  const report = verifyBundle(partsOf(parts), { pool: lost })
  lost[Symbol.dispose]()
  expect(await report).toEqual(await verifyBundle(partsOf(parts)))
})
