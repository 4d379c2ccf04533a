import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Readable } from 'node:stream'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { exportRun } from '../../../src/audit/bundle/export-run.ts'
import { importRun } from '../../../src/audit/bundle/import-run.ts'
import { packed, unpacked } from '../../../src/audit/bundle/tar.ts'
import type { Keys } from '../../../src/audit/proofs/keyring.ts'
import { NO_ANCHORS } from '../../../src/audit/proofs/public-keys.ts'
import { proveRun } from '../../../src/audit/proofs/statements.ts'
import { verifyBundle } from '../../../src/audit/verify/verify-bundle.ts'
import { verifyLog } from '../../../src/audit/verify/verify-log.ts'
import type { RunRecord } from '../../../src/domain/records.ts'
import { recordJsonOf } from '../../../src/http/live/record-json.ts'
import { decode } from '../../../src/log/codec.ts'
import { copyLog } from '../../../src/log/copy-log.ts'
import { streamOf } from '../../../src/log/run-log.ts'
import { REDACTIONS } from '../../../src/redaction/redaction-ledger.ts'
import { openEmbeddedStore } from '../../../src/store/embedded/embedded-store.ts'
import { openReadableLog } from '../../../src/store/embedded/existing-log.ts'
import { isMissing } from '../../support/missing.ts'
import { validRun } from '../../support/run-records.ts'
import { newSigning } from '../../support/signing.ts'
import {
  asVersion,
  checksummed,
  contentOf,
  eventsOf,
  exported,
  NOW,
  newKeys,
  partsOf,
  recordsPart,
  replaced,
  withTaken,
} from '../support.ts'
import { someTexts } from '../taken.ts'

/** Other texts for the same value, or texts that another reader may read as another value. */
const alterations: Readonly<Record<string, (json: string) => string>> = {
  'a second payload before the real one': (json) =>
    json.replace('"payload":', '"payload":{"message":"forged"},"payload":'),
  'a name twice in the payload': (json) =>
    json.replace('"payload":{', '"payload":{"node":"act","node":"plan",'),
  'a second kind': (json) => json.replace('{"kind":', '{"kind":"error","kind":'),
  'white space': (json) => json.replace('":', '": '),
  'white space after it': (json) => `${json}\n`,
  'an escape without need': (json) => json.replace('"kind"', '"\\u006bind"'),
  'a number with a fraction': (json) => json.replace(/"iteration":(\d+)/, '"iteration":$1.0'),
  'a number with an exponent': (json) => json.replace(/"iteration":(\d+)/, '"iteration":$1e0'),
  'a negative zero': (json) => json.replace('"iteration":0', '"iteration":-0'),
}
const ofMetadata: Readonly<Record<string, (json: string) => string>> = {
  'a second principal': (json) =>
    json
      .replace('{"schema"', '{"principal":"eve","schema"')
      .replace('"principal":"eve"', '"command_id":"eve"'),
  'white space in the metadata': (json) => `${json} `,
  'another number in the metadata': (json) => json.replace('"schema":1', '"schema":1.0'),
  'another escape in the metadata': (json) => json.replace('"hash"', '"\\u0068ash"'),
}

let folder: string
let file: string
let keys: Keys
let records: RunRecord[]
const runId = () => records[0]?.run_id ?? ''
/** The first record, whose iteration is 0. */
const SEQ = 0

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'retrai-altered-'))
  keys = await newKeys()
  records = fc.sample(
    validRun().filter((each) => each.length > 8),
    { numRuns: 1, seed: 5 },
  )[0] as RunRecord[]
})
afterAll(() => rm(folder, { recursive: true }))

let logs = 0
beforeEach(async () => {
  logs += 1
  file = join(folder, `log-${logs}.sqlite`)
  const store = (await openEmbeddedStore({ file }))._unsafeUnwrap()
  const events = eventsOf(records)
  const expectedRevision = 'no_stream'
  const all = withTaken(events, someTexts(events, 0.3))
  for (const stream of [streamOf(runId()), REDACTIONS.stream]) {
    const own = all.filter((event) => event.stream === stream)
    const bare = own.map(({ id, type, data, metadata }) => ({ id, type, data, metadata }))
    ;(await store.append(stream, bare, { expectedRevision }))._unsafeUnwrap()
  }
  await store.close()
})

/** Changes the file directly, as somebody with access to it can, without a server. */
function alter(stream: string, column: 'data' | 'metadata', change: (json: string) => string) {
  const db = new DatabaseSync(file)
  const where = 'stream_id = (SELECT id FROM streams WHERE name = ?) AND revision = ?'
  const row = db.prepare(`SELECT ${column} AS text FROM events WHERE ${where}`).get(stream, SEQ)
  const before = String(row?.text)
  const after = change(before)
  expect(after).not.toBe(before)
  db.prepare(`UPDATE events SET ${column} = ? WHERE ${where}`).run(after, stream, SEQ)
  db.close()
}

const NO_ARTIFACTS = { read: async () => null }

async function verifiedFolder() {
  const log = (await openReadableLog(file))._unsafeUnwrap()
  const report = (await verifyLog(log.pages(), NO_ARTIFACTS, []))._unsafeUnwrap()
  await log.close()
  return report.findings
}

async function exportedFromFile(): Promise<Buffer> {
  const log = (await openReadableLog(file))._unsafeUnwrap()
  const proof = (await proveRun(log, null, runId(), keys.signer, NOW))._unsafeUnwrap()
  const deps = { store: log, artifacts: NO_ARTIFACTS, keys, now: NOW }
  const archive = (await exportRun(deps, proof))._unsafeUnwrap()
  const content = Buffer.concat(await archive.toArray())
  await log.close()
  return content
}

async function inPython(archive: Buffer): Promise<{ first_bad_seq: number | null }> {
  const target = join(folder, 'export.tar.gz')
  await writeFile(target, archive)
  const verifier = join(import.meta.dirname, '..', 'verify.py')
  const { stdout } = await promisify(execFile)('python3', [verifier, '--json', target]).catch(
    (failed: { stdout: string }) => failed,
  )
  return JSON.parse(stdout)
}

describe('a row of the log with', () => {
  const ways = [
    ...Object.entries(alterations).map(([name, change]) => [name, 'data', change] as const),
    ...Object.entries(ofMetadata).map(([name, change]) => [name, 'metadata', change] as const),
  ]
  test.each(ways)('%s is not served, and is reported', async (_name, column, change) => {
    expect(await verifiedFolder()).toEqual([])
    alter(streamOf(runId()), column, change)
    const found = {
      where: `run ${runId()}`,
      seq: SEQ,
      message: expect.stringContaining('its text'),
    }
    expect(await verifiedFolder()).toContainEqual(expect.objectContaining(found))

    const store = (await openEmbeddedStore({ file }))._unsafeUnwrap()
    const page = { from: 0, direction: 'forward', limit: 100 } as const
    const read = (await store.readStream(streamOf(runId()), page))._unsafeUnwrap()
    expect(read.map(({ altered = false }) => altered)).toEqual(read.map((_, seq) => seq === SEQ))
    const [event] = read
    if (event === undefined) throw new Error('it is there')
    expect(decode(event).isErr()).toBe(true)
    for (const projected of [true, false]) {
      expect(recordJsonOf(event, projected)).toMatchObject({ type: 'damage', seq: SEQ })
    }
    await store.close()

    const archive = await exportedFromFile()
    const report = await verifyBundle(unpacked(Readable.from([archive])))
    expect(report).toMatchObject({ holds: false, first_bad_seq: SEQ })
    if (!isMissing('python3')) expect((await inPython(archive)).first_bad_seq).toBe(SEQ)
  })

  test('another text is found by a server that has already read the row', async () => {
    const store = (await openEmbeddedStore({ file }))._unsafeUnwrap()
    const page = { from: SEQ, direction: 'forward', limit: 1 } as const
    const read = async () => (await store.readStream(streamOf(runId()), page))._unsafeUnwrap()
    for (const _ of [1, 2]) expect((await read())[0]?.altered).toBeUndefined()
    alter(streamOf(runId()), 'data', (json) => json.replace('{"kind"', '{"kind":"x","kind"'))
    for (const _ of [1, 2]) expect((await read())[0]?.altered).toBe(true)
    await store.close()
  })

  test('another text is not copied into another store', async () => {
    alter(streamOf(runId()), 'data', (json) => `${json} `)
    const log = (await openReadableLog(file))._unsafeUnwrap()
    const store = (await openEmbeddedStore({ file: join(folder, 'copy.sqlite') }))._unsafeUnwrap()
    const copied = await copyLog(log.pages(), store)
    expect(copied._unsafeUnwrapErr().message).toContain(`revision ${SEQ} of ${streamOf(runId())}`)
    await Promise.all([log.close(), store.close()])
  })

  test('another text in a ledger is reported', async () => {
    alter(REDACTIONS.stream, 'data', (json) => json.replace('{"kind"', '{"kind":"made","kind"'))
    const found = { where: 'ledger redactions', seq: SEQ }
    expect(await verifiedFolder()).toContainEqual(expect.objectContaining(found))
  })
})

describe('a line of an export with', () => {
  const each = ([1, 2] as const).flatMap((version) =>
    Object.entries(alterations).map(([name, change]) => ({ version, name, change })),
  )
  test.each(each)('$name is reported, and not imported (version $version)', async (altering) => {
    const { version, change } = altering
    const parts = asVersion(version, await exported(eventsOf(records), keys), keys)
    const file = recordsPart(version)
    const lines = contentOf(parts, file).toString().split('\n')
    const text = (lines[SEQ] ?? '').replace(/^\{"crc32":"\w{8}",/, '{')
    const changed = change(text)
    expect(changed).not.toBe(text)
    const line = changed.replaceAll('\n', ' ')
    const altered = lines.with(SEQ, version === 1 ? checksummed(line) : line).join('\n')
    const bad = replaced(parts, file, altered)
    const report = await verifyBundle(partsOf(bad))
    expect(report).toMatchObject({ holds: false, first_bad_seq: SEQ, verified: SEQ })
    const archive = Buffer.concat(await packed(partsOf(bad), NOW).toArray())
    if (!isMissing('python3')) expect((await inPython(archive)).first_bad_seq).toBe(SEQ)
    const store = (
      await openEmbeddedStore({ file: join(folder, 'imports.sqlite') })
    )._unsafeUnwrap()
    const { sign } = newSigning()
    const markers = join(folder, 'm')
    const deps = { store, sign, putArtifact: async () => {}, markers, now: () => 0 }
    const imported = await importRun(deps, () => partsOf(bad), NO_ANCHORS)
    expect(imported._unsafeUnwrapErr().type).toBe('refused')
    await store.close()
  })
})
