import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { gunzipSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { unpacked } from '../../../src/audit/bundle/unpack.ts'
import { verifyBundle } from '../../../src/audit/verify/verify-bundle.ts'
import type { RunRecord } from '../../../src/domain/records.ts'
import { sha256 } from '../../../src/lib/sha256.ts'
import { flipped, NOT_ONE } from '../not-one.ts'
import { archiveOf, eventsOf, forAll, newKeys, sampleRun } from '../support.ts'

const keys = await newKeys()
const records = sampleRun(11)
const archive = await archiveOf(eventsOf(records), keys)

/** In chunks of some bytes, as they may come over a network. */
const verify = (content: Buffer, chunk = 997) => {
  const chunks = Array.from({ length: Math.ceil(content.length / chunk) }, (_, index) =>
    content.subarray(index * chunk, (index + 1) * chunk),
  )
  return verifyBundle(unpacked(Readable.from(chunks)))
}

test('an archive holds, in whatever pieces it arrives', async () => {
  for (const chunk of [1, 13, 512, 1_000_000]) {
    expect(await verify(archive, chunk)).toMatchObject({ holds: true, verified: records.length })
  }
})

test('if an archive cannot be read to its end, all that was read is verified', async () => {
  async function* breakingOff() {
    // Without the bytes of the checksum, and of the parts after the records.
    yield gzipSync(gunzipSync(archive), { level: 0 }).subarray(0, -2048).fill(0, 8, 9)
    throw new Error('the connection was closed')
  }
  const { verified, findings } = await verifyBundle(unpacked(Readable.from(breakingOff())))
  expect(verified).toBe(records.length)
  const [first] = findings
  expect(first?.message).toBe('the rest cannot be read: the connection was closed')
})

test.each([
  ['is not an archive', 'this is no archive'],
  ['was unpacked', 'README.txt\0\0'],
  ['another program has packed again', Buffer.from('1f8b0808000000000003', 'hex')],
])('a file that %s is refused, with advice', async (_, content) => {
  const report = await verify(Buffer.from(content as string))
  expect(report).toMatchObject({ holds: false, run_id: null, verified: 0 })
  expect(report.findings[0]).toMatchObject({ problem: 'incomplete', where: 'archive' })
  expect(report.findings[0]?.message).toContain('Get it as the server exported it')
})

/** The archive without compression, so that a changed byte of it is one of its contents. */
const stored = () => {
  const content = gzipSync(gunzipSync(archive), { level: 0 })
  // The header of gzip names the level of compression; that of an export does not.
  content.writeUInt8(0, 8)
  return content
}

test('a changed bit of a record in the archive names that record, even if the checksum fits', async () => {
  const uncompressed = stored()
  const lines = records.map((_, seq) => uncompressed.indexOf(`"seq":${seq},"id"`))
  const places = fc.record({
    seq: fc.nat({ max: records.length - 1 }),
    at: fc.nat({ max: 60 }),
    bit: fc.nat({ max: 7 }),
  })
  await forAll(40, places, async ({ seq, at, bit }) => {
    const line = lines[seq] ?? -1
    // A block of the archive may end within these bytes.
    fc.pre(line >= 0)
    const report = await verify(flipped(uncompressed, line + at, 1 << bit))
    expect(report).toMatchObject({ holds: false, verified: seq, first_bad_seq: seq })
  })
})

test.each(Object.entries(NOT_ONE))(
  'an archive with %s does not hold, and no record that was read is blamed',
  async (_, change) => {
    const report = await verify(change(archive))
    const first_bad_seq = report.verified === records.length ? null : report.verified
    expect(report).toMatchObject({ holds: false, first_bad_seq })
    expect(report.findings).toContainEqual(
      expect.objectContaining({ problem: 'incomplete', where: 'archive' }),
    )
  },
)

test('an archive that is changed, cut, extended or doubled anywhere does not hold', async () => {
  const at = fc.nat({ max: archive.length - 1 })
  const bytes = fc.uint8Array({ minLength: 1, maxLength: 40 }).map((each) => Buffer.from(each))
  const change = fc.oneof(
    fc.tuple(at, fc.nat({ max: 7 })).map(([place, bit]) => flipped(archive, place, 1 << bit)),
    at.map((place) => archive.subarray(0, Math.min(place, archive.length - 100))),
    at.map((place) => archive.subarray(place + 1)),
    bytes.map((more) => Buffer.concat([archive, more])),
    bytes.map((more) => Buffer.concat([more, archive])),
    fc.tuple(at, bytes).map(([place, more]) => {
      return Buffer.concat([archive.subarray(0, place), more, archive.subarray(place)])
    }),
    fc.tuple(at, at).map(([from, to]) => {
      return Buffer.concat([
        archive.subarray(0, Math.max(from, to)),
        archive.subarray(Math.min(from, to)),
      ])
    }),
    fc.tuple(at, fc.integer({ min: 1, max: 600 })).map(([place, count]) => {
      return Buffer.concat([archive.subarray(0, place), archive.subarray(place + count)])
    }),
  )
  await forAll(80, fc.tuple(change, fc.constantFrom(61, 4096)), async ([changed, chunk]) => {
    fc.pre(!isSameArchive(changed))
    const report = await verify(changed, chunk)
    expect(report.holds).toBe(false)
    expect(report.findings.length).toBeGreaterThan(0)
    if (!archive.subarray(0, changed.length).equals(changed)) return
    expect(report.first_bad_seq ?? report.verified).toBeLessThanOrEqual(records.length)
    expect(report.findings.map(({ problem }) => problem)).toContain('incomplete')
  })
})

/**
 * DEFLATE has some bits without a meaning, and the gzip header names an operating system. An archive that differs
 * only in these is the same archive.
 */
function isSameArchive(changed: Buffer): boolean {
  try {
    return changed.length === archive.length && gunzipSync(changed).equals(gunzipSync(archive))
  } catch {
    return false
  }
}

test('an archive that breaks off in an artifact names the record that needs it', async () => {
  const whole = randomBytes(50_000)
  const name = sha256(whole)
  const isResult = ({ kind }: RunRecord) => kind === 'tool_result'
  const run = sampleRun(3, (each) => each.some(isResult))
  const withArtifact = run.map((record) =>
    record.kind === 'tool_result'
      ? { ...record, payload: { ...record.payload, sha256: name } }
      : record,
  )
  const artifacts = new Map([[name, whole]])
  const content = await archiveOf(eventsOf(withArtifact), keys, artifacts)
  expect(await verify(content)).toMatchObject({ holds: true, artifacts: 1 })
  const report = await verify(content.subarray(0, -20_000))
  expect(report).toMatchObject({ holds: false, verified: run.length })
  expect(report.first_bad_seq).toBe(run.findIndex(isResult))
})
