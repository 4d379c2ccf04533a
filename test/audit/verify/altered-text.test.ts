import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Version } from '../../../src/audit/bundle/bundle-format.ts'
import { importRun } from '../../../src/audit/bundle/import-run.ts'
import { verifyBundle } from '../../../src/audit/verify/verify-bundle.ts'
import { verifyStore } from '../../../src/audit/verify/verify-store.ts'
import { NO_ANCHORS } from '../../../src/checkpoints/public-keys.ts'
import type { RunRecord } from '../../../src/domain/records.ts'
import { recordJsonOf } from '../../../src/http/live/frame.ts'
import { decode } from '../../../src/log/codec.ts'
import { copyLog } from '../../../src/log/copy-log.ts'
import { streamOf } from '../../../src/log/run-log.ts'
import { REDACTIONS } from '../../../src/redaction/redaction-index.ts'
import { openReadableLog, type ReadableLog } from '../../../src/store/embedded/existing-log.ts'
import { append } from '../../store/contract/support.ts'
import { openStore, testFolder } from '../../store/embedded/support.ts'
import { memoryStore } from '../../support/memory-store.ts'
import { isMissing } from '../../support/missing.ts'
import { validRun } from '../../support/run-records.ts'
import { newSigning } from '../../support/signing.ts'
import { inPython } from '../python.ts'
import {
  archived,
  artifactsOf,
  asVersion,
  checksummed,
  contentOf,
  eventsOf,
  exported,
  exportedFrom,
  newKeys,
  type Part,
  partsOf,
  recordsPart,
  replaced,
  sampleRun,
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

/** Records of these kinds name artifacts. */
const NAMES: ReadonlySet<string> = new Set(['snapshot', 'left_out_hashed'])

const keys = await newKeys()
// The logs of these tests hold no artifacts.
const hasNone = (run: readonly RunRecord[]) => run.every(({ kind }) => !NAMES.has(kind))
const records = sampleRun(5, (run) => run.length > 8 && hasNone(run), validRun())
const runId = records[0]?.run_id ?? ''
/** The first record, whose iteration is 0. */
const SEQ = 0

/** Of a log with the run and its redactions, and a copy of that for each test. */
let folder: string
let file: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'retrai-altered-'))
  const store = await openStore(join(folder, 'original'))
  const events = eventsOf(records)
  const all = withTaken(events, someTexts(events, 0.3))
  for (const stream of [streamOf(runId), REDACTIONS.stream]) {
    const own = all.filter((event) => event.stream === stream)
    await append(store, stream, own)
  }
  await store.close()
})
afterAll(() => rm(folder, { recursive: true }))
beforeEach(async () => {
  file = join(await testFolder(), 'log.sqlite')
  await copyFile(join(folder, 'original'), file)
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

/** Reads the log of the file. */
async function reading<T>(use: (log: ReadableLog) => Promise<T>): Promise<T> {
  const log = (await openReadableLog(file))._unsafeUnwrap()
  return use(log).finally(() => log.close())
}

async function findingsIn(log: ReadableLog) {
  const store = { reader: log, pages: () => log.pages(), artifacts: artifactsOf() }
  const verified = await verifyStore({ ...store, keys: new Map(), projected: null })
  return verified._unsafeUnwrap().findings
}

describe('a row of the log with', () => {
  const ways = [
    ...Object.entries(alterations).map(([name, change]) => [name, 'data', change] as const),
    ...Object.entries(ofMetadata).map(([name, change]) => [name, 'metadata', change] as const),
  ]
  test.each(ways)('%s is not served, and is reported', async (_name, column, change) => {
    alter(streamOf(runId), column, change)
    const found = {
      where: `run ${runId}`,
      seq: SEQ,
      message: expect.stringContaining('its text'),
    }
    await reading(async (log) => {
      expect(await findingsIn(log)).toContainEqual(expect.objectContaining(found))
      const page = { from: 0, direction: 'forward', limit: 100 } as const
      const read = (await log.readStream(streamOf(runId), page))._unsafeUnwrap()
      expect(read.map(({ altered = false }) => altered)).toEqual(read.map((_, seq) => seq === SEQ))
      const [event] = read
      if (event === undefined) throw new Error('it is there')
      expect(decode(event).isErr()).toBe(true)
      for (const projected of [true, false]) {
        expect(recordJsonOf(event, projected)).toEqual({ message: expect.any(String) })
      }
      const report = await verifyBundle(partsOf(await exportedFrom(log, runId, keys)))
      expect(report).toMatchObject({ holds: false, first_bad_seq: SEQ })
    })
  })

  test.skipIf(isMissing('python3'))('is found by the verifier in Python, too', async () => {
    const archives: Buffer[] = []
    for (const column of ['data', 'metadata'] as const) {
      alter(streamOf(runId), column, (json) => `${json} `)
      archives.push(await archived(await reading((log) => exportedFrom(log, runId, keys))))
      alter(streamOf(runId), column, (json) => json.trimEnd())
    }
    for (const answer of await inPython(archives)) expect(answer.first_bad_seq).toBe(SEQ)
  })

  test('another text is found by a server that has already read the row', async () => {
    const store = await openStore(file)
    const page = { from: SEQ, direction: 'forward', limit: 1 } as const
    const read = async () => (await store.readStream(streamOf(runId), page))._unsafeUnwrap()
    for (const _ of [1, 2]) expect((await read())[0]?.altered).toBeUndefined()
    alter(streamOf(runId), 'data', (json) => json.replace('{"kind"', '{"kind":"x","kind"'))
    for (const _ of [1, 2]) expect((await read())[0]?.altered).toBe(true)
    await store.close()
  })

  test('another text is not copied into another store', async () => {
    alter(streamOf(runId), 'data', (json) => `${json} `)
    const copied = await reading(async (log) => copyLog(log.pages(), memoryStore()))
    expect(copied._unsafeUnwrapErr().message).toContain(`revision ${SEQ} of ${streamOf(runId)}`)
  })

  test('another text in a ledger is reported', async () => {
    expect(await reading(findingsIn)).toEqual([])
    alter(REDACTIONS.stream, 'data', (json) => json.replace('{"kind"', '{"kind":"made","kind"'))
    const found = { where: 'ledger redactions', seq: SEQ }
    expect(await reading(findingsIn)).toContainEqual(expect.objectContaining(found))
  })
})

describe('a line of an export with', () => {
  const ways = Object.entries(alterations)
  /** An export with a line that was changed in this way. */
  async function altered(version: Version, change: (json: string) => string): Promise<Part[]> {
    const parts = asVersion(version, await exported(eventsOf(records), keys), keys)
    const file = recordsPart(version)
    const lines = contentOf(parts, file).toString().split('\n')
    const text = (lines[SEQ] ?? '').replace(/^\{"crc32":"\w{8}",/, '{')
    const changed = change(text)
    expect(changed).not.toBe(text)
    const line = changed.replaceAll('\n', ' ')
    const all = lines.with(SEQ, version === 1 ? checksummed(line) : line)
    return replaced(parts, file, all.join('\n'))
  }

  test.each(ways)('%s is reported, and not imported', async (_name, change) => {
    const store = memoryStore()
    const { sign } = newSigning()
    const markers = join(folder, 'm')
    const artifacts = { put: async () => '', read: async () => null }
    const deps = { store, sign, artifacts, markers, now: () => 0 }
    for (const version of [1, 2] as const) {
      const bad = await altered(version, change)
      const report = await verifyBundle(partsOf(bad))
      expect(report).toMatchObject({ holds: false, first_bad_seq: SEQ, verified: SEQ })
      const imported = await importRun(deps, () => partsOf(bad), NO_ANCHORS)
      expect(imported._unsafeUnwrapErr().type).toBe('refused')
    }
    await store.close()
  })

  test.skipIf(isMissing('python3'))('each is found by the verifier in Python, too', async () => {
    const archives: Buffer[] = []
    for (const version of [1, 2] as const) {
      for (const [, change] of ways) {
        archives.push(await archived(await altered(version, change)))
      }
    }
    for (const answer of await inPython(archives)) expect(answer.first_bad_seq).toBe(SEQ)
  })
})
