import { createHash, randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { gunzipSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import type { Keys } from '../../src/audit/keyring.ts'
import { unpacked } from '../../src/audit/tar.ts'
import { verifyBundle } from '../../src/audit/verify-bundle.ts'
import type { RunRecord } from '../../src/domain/records.ts'
import { validRun } from '../support/run-records.ts'
import { archiveOf, eventsOf, newKeys } from './support.ts'

let keys: Keys
let archive: Buffer
let records: RunRecord[]
beforeAll(async () => {
  keys = await newKeys()
  records = fc.sample(validRun(), { numRuns: 1, seed: 11 })[0] as RunRecord[]
  archive = await archiveOf(eventsOf(records), keys)
})

/** In chunks of some bytes, as they may come over a network. */
const verify = (content: Buffer, chunk = 997) => {
  const chunks = Array.from({ length: Math.ceil(content.length / chunk) }, (_, index) =>
    content.subarray(index * chunk, (index + 1) * chunk),
  )
  return verifyBundle(unpacked(Readable.from(chunks)))
}

test('an archive holds, however it arrives', async () => {
  for (const chunk of [1, 13, 512, 1_000_000]) {
    expect(await verify(archive, chunk)).toMatchObject({ holds: true, verified: records.length })
  }
})

test('an archive that breaks off anywhere before its checksum is incomplete', async () => {
  const lengths = fc.integer({ min: 0, max: archive.length - 100 })
  await fc.assert(
    fc.asyncProperty(lengths, async (length) => {
      const report = await verify(archive.subarray(0, length))
      expect(report.holds).toBe(false)
      expect(report.first_bad_seq).toBeLessThanOrEqual(records.length)
      expect(report.findings.map(({ problem }) => problem)).toContain('missing')
    }),
    { numRuns: 60 },
  )
})

test('what is no archive is refused, and says so', async () => {
  const report = await verify(Buffer.from('this is no archive'))
  expect(report).toMatchObject({ holds: false, run_id: null, verified: 0 })
  expect(report.findings[0]).toMatchObject({ problem: 'incomplete', where: 'archive' })
})

/** The archive without compression, so that a changed byte of it is one of its contents. */
const stored = () => gzipSync(gunzipSync(archive), { level: 0 })

test('any bit of a record changed in the archive names that record, whatever the checksum says', async () => {
  const uncompressed = stored()
  const lines = records.map((_, seq) => uncompressed.indexOf(`"seq":${seq},"id"`))
  const places = fc.record({
    seq: fc.nat({ max: records.length - 1 }),
    at: fc.nat({ max: 60 }),
    bit: fc.nat({ max: 7 }),
  })
  await fc.assert(
    fc.asyncProperty(places, async ({ seq, at, bit }) => {
      const line = lines[seq] ?? -1
      // Where a block of the archive ends within these bytes.
      fc.pre(line >= 0)
      const changed = Buffer.from(uncompressed)
      changed.writeUInt8(changed.readUInt8(line + at) ^ (1 << bit), line + at)
      const report = await verify(changed)
      expect(report).toMatchObject({ holds: false, verified: seq, first_bad_seq: seq })
    }),
    { numRuns: 60 },
  )
})

test('a checksum that is wrong is told, and no record is blamed for it', async () => {
  const wrong = Buffer.from(archive)
  wrong.writeUInt8(wrong.readUInt8(wrong.length - 6) ^ 1, wrong.length - 6)
  const report = await verify(wrong)
  expect(report).toMatchObject({ holds: false, verified: records.length, first_bad_seq: null })
  expect(report.findings).toMatchObject([{ problem: 'incomplete', where: 'archive' }])
  expect(report.findings[0]?.message).toContain('incorrect data check')
})

test('what stands behind the end of the archive is found', async () => {
  const report = await verify(Buffer.concat([archive, Buffer.from('behind the end')]))
  expect(report.holds).toBe(false)
  expect(report.findings[0]?.message).toContain('incorrect header check')
})

test('an archive that breaks off in an artifact names the record that needs it', async () => {
  const whole = randomBytes(50_000)
  const sha256 = createHash('sha256').update(whole).digest('hex')
  const isResult = ({ kind }: RunRecord) => kind === 'tool_result'
  const [run = []] = fc.sample(
    validRun().filter((each) => each.some(isResult)),
    { numRuns: 1, seed: 3 },
  )
  const withArtifact = run.map((record) =>
    record.kind === 'tool_result' ? { ...record, payload: { ...record.payload, sha256 } } : record,
  )
  const artifacts = new Map([[sha256, whole]])
  const content = await archiveOf(eventsOf(withArtifact), keys, artifacts)
  expect(await verify(content)).toMatchObject({ holds: true, artifacts: 1 })
  const report = await verify(content.subarray(0, -20_000))
  expect(report).toMatchObject({ holds: false, verified: run.length })
  expect(report.first_bad_seq).toBe(run.findIndex(isResult))
})
