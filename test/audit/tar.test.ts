import { Readable } from 'node:stream'
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
