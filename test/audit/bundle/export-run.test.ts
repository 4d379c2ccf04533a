import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { ResultAsync } from 'neverthrow'
import { expect, onTestFinished, test, vi } from 'vitest'
import type { ArtifactSource } from '../../../src/artifacts/artifacts.ts'
import { exportRun, proveRun } from '../../../src/audit/audit.ts'
import { recordsPath } from '../../../src/audit/bundle/bundle-format.ts'
import { unpacked } from '../../../src/audit/bundle/unpack.ts'
import { verifyBundle } from '../../../src/audit/verify/verify-bundle.ts'
import { CHECKPOINT_STREAM, checkpointEvent } from '../../../src/checkpoints/checkpoint-stream.ts'
import type { RunRecord } from '../../../src/domain/records.ts'
import { sha256 } from '../../../src/lib/sha256.ts'
import type { StreamReader } from '../../../src/log/stream-pages.ts'
import type { RecordedEvent } from '../../../src/store/event-store.ts'
import { createdRecord } from '../../support/run-records.ts'
import { within } from '../../support/within.ts'
import {
  checkpointOver,
  collected,
  eventsOf,
  exported,
  NOW,
  newKeys,
  type Part,
  partsOf,
  readerOf,
  sampleRun,
  withTaken,
} from '../support.ts'

const RUN_ID = '550e8400-e29b-41d4-a716-446655440000'

/** A run of some megabytes, which do not compress. */
function longRun(count = 1000): RunRecord[] {
  const common = { run_id: RUN_ID, iteration: 0, ts: 1_770_000_001 }
  return [
    createdRecord(RUN_ID),
    ...Array.from({ length: count }, (_, index): RunRecord => {
      const reason = randomBytes(2_500).toString('hex')
      return { ...common, kind: 'llm_retry', payload: { attempt: index + 1, reason, delay_ms: 1 } }
    }),
  ]
}

const keys = await newKeys()
const events = eventsOf(longRun())

const NONE: ArtifactSource = { read: async () => null }

async function exportFrom(store: StreamReader, artifacts = NONE) {
  const proof = (await proveRun(store, RUN_ID, keys.signer, NOW))._unsafeUnwrap()
  return exportRun({ store, artifacts, keys, now: NOW }, proof)
}

const partsFrom = async (store: StreamReader) =>
  collected(unpacked((await exportFrom(store))._unsafeUnwrap()))

test('an export reads each record once, splits the records into files, and ends with its manifest', async () => {
  const read: number[] = []
  const parts = await partsFrom({
    readStream: (stream, options) =>
      readerOf(events)
        .readStream(stream, options)
        .map((page) => {
          if (stream.startsWith('run-') && options.direction === 'forward') {
            read.push(...page.map(({ revision }) => revision))
          }
          return page
        }),
  })
  // The proof names the policy of the first record.
  expect(read).toEqual([0, ...events.map(({ revision }) => revision)])
  const paths = parts.map(({ path }) => path)
  expect(paths.slice(0, 3)).toEqual(['README.txt', 'keys.json', 'proof.json'])
  expect(paths.at(-1)).toBe('manifest.json')
  const records = parts.slice(3, -1)
  expect(records.length).toBeGreaterThan(2)
  let seq = 0
  for (const { path, content } of records) {
    expect(path).toBe(recordsPath(seq))
    seq += content.toString().split('\n').length - 1
  }
  expect(await verifyBundle(partsOf(parts))).toMatchObject({ holds: true, verified: events.length })
})

test('if a file of an export is missing or in another place, the first bad record is named', async () => {
  const parts = await partsFrom(readerOf(events))
  const at = 4
  const next = 5
  const one = parts[at] as Part
  const two = parts[next] as Part
  const first = Number(one.path.slice('records/'.length, -'.ndjson'.length))
  const changed = [
    parts.toSpliced(at, 1),
    parts.with(at, two).with(next, one),
    parts.with(at, { ...one, content: two.content }).with(next, { ...two, content: one.content }),
    parts.with(at, { ...two, content: one.content }).with(next, { ...one, content: two.content }),
    parts.toSpliced(at, 0, one),
    parts.slice(0, at),
  ]
  for (const each of changed) {
    const report = await verifyBundle(partsOf(each))
    expect(report.holds).toBe(false)
    expect(report.first_bad_seq ?? first).toBeGreaterThanOrEqual(first)
    expect(report.findings.length).toBeGreaterThan(0)
  }
})

test('a redaction during an export breaks it off; if one was recorded but not carried out, verifying the export finds it', async () => {
  const taken = [{ seq: 0, pointer: '/system_prompt' }]
  const ledger = withTaken(events, taken).slice(events.length)
  let all: readonly RecordedEvent[] = events
  const reader = readerOf(() => all)
  const redacted = Promise.withResolvers<void>()
  const slow: StreamReader = {
    readStream: (stream, options) => {
      if (typeof options.from !== 'number' || options.from < 500) {
        return reader.readStream(stream, options)
      }
      return ResultAsync.fromSafePromise(redacted.promise).andThen(() =>
        reader.readStream(stream, options),
      )
    },
  }
  const begun = (await exportFrom(slow))._unsafeUnwrap()
  all = [...events, ...ledger]
  redacted.resolve()
  await expect(begun.toArray()).rejects.toThrow('redacted_meanwhile')
  const parts = await partsFrom(readerOf(() => all))
  const report = await verifyBundle(partsOf(parts))
  expect(report).toMatchObject({ holds: false, first_bad_seq: 0 })
  expect(report.findings).toMatchObject([{ problem: 'redaction', where: 'redactions.ndjson' }])
})

test('an artifact that is redacted while a run is exported is not reported as lost', async () => {
  const run = runNaming(OUTPUT)
  const seq = run.length - 1
  const redacted = withTaken(run, [{ seq, pointer: '/output', artifact: sha256(OUTPUT) }])
  let all: readonly RecordedEvent[] = run
  const artifacts = {
    read: async () => {
      all = redacted
      return null
    },
  }
  const reader = readerOf(() => all)
  const refused = await exportFrom(reader, artifacts)
  expect(refused._unsafeUnwrapErr()).toMatchObject({ type: 'redacted_meanwhile' })
  const archive = await exportFrom(reader, artifacts)
  expect(await verifyBundle(unpacked(archive._unsafeUnwrap()))).toMatchObject({
    holds: true,
    redacted: { artifacts: 1 },
  })
})

test('an artifact is closed if the reader of the export leaves while it is sent', async () => {
  const bytes = 64 * 1024 * 1024
  const read = () => stream.push(randomBytes(64 * 1024))
  const stream = new Readable({ read })
  const closed = new Promise((resolve) => stream.once('close', resolve))
  const artifacts = { read: async () => ({ bytes, stream }) }
  const archive = await exportFrom(readerOf(runNaming(OUTPUT)), artifacts)
  archive._unsafeUnwrap().destroy()
  await within(closed, () => 'the artifact to be closed')
})

test('an archive whose beginning takes long is handed out before a client gives up, and is whole in the end', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  onTestFinished(() => void vi.useRealTimers())
  const [asked, slow] = [Promise.withResolvers<void>(), Promise.withResolvers<null>()]
  const read = () => {
    asked.resolve()
    return slow.promise
  }
  const making = exportFrom(readerOf(runNaming(OUTPUT)), { read })
  await asked.promise
  await vi.advanceTimersByTimeAsync(29_000)
  const archive = (await making)._unsafeUnwrap()
  vi.useRealTimers()
  slow.resolve(null)
  const report = await verifyBundle(unpacked(archive))
  expect(report.findings).toMatchObject([
    { problem: 'missing', where: `artifacts/${sha256(OUTPUT)}` },
  ])
})

const OUTPUT = 'a whole output'

/** A run up to a result whose whole output is an artifact. */
function runNaming(output: string): RecordedEvent[] {
  const isResult = ({ kind }: RunRecord) => kind === 'tool_result'
  const records = sampleRun(3, (each) => each.some(isResult))
  const upToResult = records.slice(0, records.findIndex(isResult) + 1)
  const named = upToResult.map((record): RunRecord => {
    const own = { ...record, run_id: RUN_ID }
    if (own.kind !== 'tool_result') return own
    return { ...own, payload: { ...own.payload, truncated: true, sha256: sha256(output) } }
  })
  return eventsOf(named)
}

test('holds the keys of other servers of the log that have signed its redactions', async () => {
  const other = await newKeys()
  const run = eventsOf(longRun(1))
  const taken = withTaken(run, [{ seq: 1, pointer: '/reason' }], other.signer)
  const place = { stream: CHECKPOINT_STREAM, revision: 0, position: 'c', created: 0 }
  const published = {
    ...checkpointEvent(await checkpointOver(other), other.published.keys),
    ...place,
  }
  const parts = await exported([...taken, published], keys)
  const report = await verifyBundle(partsOf(parts))
  expect(report).toMatchObject({
    holds: true,
    redacted: { redactions: [{ key: other.signer.key }] },
  })
  const anchors = { keys: new Map(), fingerprints: new Set([keys.signer.key]) }
  expect((await verifyBundle(partsOf(parts), { anchors })).trust).toBe('not_trusted')
  const unpublished = await verifyBundle(partsOf(await exported(taken, keys)))
  expect(unpublished.findings.map(({ message }) => message)).toContainEqual(
    expect.stringContaining('is not published'),
  )
})
