import { execFile } from 'node:child_process'
import { createReadStream } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { promisify } from 'node:util'
import { gunzipSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { packed, unpacked } from '../../src/audit/bundle/tar.ts'
import { verifyBundle } from '../../src/audit/verify/verify-bundle.ts'
import type { RunRecord } from '../../src/domain/records.ts'
import { isMissing } from '../support/missing.ts'
import { validRun } from '../support/run-records.ts'
import { withMalformed } from './malformed.ts'
import {
  archiveOf,
  asVersion,
  contentOf,
  eventsOf,
  exported,
  isolated,
  NOW,
  newKeys,
  type Part,
  partsOf,
  recordsPart,
  replaced,
  withTaken,
} from './support.ts'
import { forgedRedactions, someTexts } from './taken.ts'
import { FOLDER, makeVectors } from './vectors/make.ts'

const VERIFIER = join(import.meta.dirname, 'verify.py')
const VECTORS = join(FOLDER, 'vectors.json')
/** Of both versions of exports. */
const EXAMPLES = ['example.tar.gz', 'example-v2.tar.gz'].map((name) => join(FOLDER, name))
const REDACTED = ['redacted.tar.gz', 'redacted-v2.tar.gz'].map((name) => join(FOLDER, name))

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'retrai-vectors-'))
})
afterAll(() => rm(folder, { recursive: true }))

test('the formats match the committed vectors, so logs and exports of all versions stay verifiable', async () => {
  const { vectors } = await makeVectors()
  expect(JSON.parse(JSON.stringify(vectors))).toEqual(JSON.parse(await readFile(VECTORS, 'utf8')))
  for (const file of EXAMPLES) {
    expect(await verifyBundle(unpacked(createReadStream(file)))).toMatchObject({
      holds: true,
      complete: true,
      verified: vectors.records.length,
      artifacts: 1,
    })
  }
  for (const file of REDACTED) {
    expect(await verifyBundle(unpacked(createReadStream(file)))).toMatchObject({
      holds: true,
      verified: vectors.records.length,
      artifacts: 0,
      redacted: { strings: 3, records: 2, artifacts: 1 },
    })
  }
})

const python = (...args: string[]) => promisify(execFile)('python3', [VERIFIER, ...args])
const hasPython = !isMissing('python3')

const Answer = z.object({
  holds: z.boolean(),
  first_bad_seq: z.number().nullable(),
  findings: z.array(z.string()),
})

/** The output and exit code of the verifier in Python. */
async function inPython(archive: Buffer, ...args: string[]) {
  const file = join(folder, 'export.tar.gz')
  await writeFile(file, archive)
  const done = await python(file, '--json', ...args).then(
    ({ stdout }) => ({ stdout, code: 0 }),
    ({ stdout, code }: { stdout: string; code: number }) => ({ stdout, code }),
  )
  return { ...Answer.parse(JSON.parse(done.stdout)), code: done.code }
}

/** What the verifier in Python finds in each of several archives, by one process. */
async function allInPython(archives: readonly Buffer[]): Promise<string[][]> {
  const files = archives.map((_, index) => join(folder, `export-${index}.tar.gz`))
  await Promise.all(files.map((file, index) => writeFile(file, archives[index] ?? '')))
  const program = `
import json, sys, verify
for file in sys.argv[1:]:
    bundle = verify.Bundle()
    bundle.read(file)
    bundle.check()
    print(json.dumps(list(map(str, bundle.findings))))`
  const env = { ...process.env, PYTHONPATH: import.meta.dirname, PYTHONDONTWRITEBYTECODE: '1' }
  const { stdout } = await promisify(execFile)('python3', ['-c', program, ...files], { env })
  return stdout
    .trim()
    .split('\n')
    .map((line) => z.array(z.string()).parse(JSON.parse(line)))
}

const repacked = async (parts: readonly Part[]): Promise<Buffer> =>
  Buffer.concat(await packed(partsOf(parts), NOW).toArray())

describe.skipIf(!hasPython)(
  'a verifier in another language, written from the documentation',
  () => {
    test('agrees with all vectors', async () => {
      expect((await python('--vectors', VECTORS)).stdout).toContain('all other vectors fit')
      for (const file of EXAMPLES) {
        expect((await python(file)).stdout).toContain('holds: 12 records')
      }
      for (const file of REDACTED) {
        expect((await python(file)).stdout).toContain('redacted, as recorded: record 7, /output')
      }
    })

    test.each(EXAMPLES)(
      'reads an archive to its checksum, and finds what follows it: %s',
      async (file) => {
        const good = await readFile(file)
        const wrong = Buffer.from(good)
        wrong.writeUInt8(wrong.readUInt8(wrong.length - 6) ^ 1, wrong.length - 6)
        const tar = gunzipSync(good)
        for (const archive of [
          wrong,
          good.subarray(0, -1),
          good.subarray(0, -8),
          Buffer.concat([good, Buffer.from('more')]),
          Buffer.concat([good, Buffer.from([0x1f])]),
          Buffer.concat([good, Buffer.alloc(700)]),
          Buffer.concat([good, good]),
          gzipSync(Buffer.concat([tar, tar])),
          gzipSync(Buffer.concat([tar, Buffer.alloc(512)])),
        ]) {
          expect(await inPython(archive)).toMatchObject({
            holds: false,
            code: 1,
            first_bad_seq: null,
          })
        }
      },
    )

    test('checks that the signature names the recorded policy of isolation', async () => {
      const keys = await newKeys()
      const [records = []] = fc.sample(validRun(), { numRuns: 1, seed: 7 })
      const events = eventsOf(isolated(records))
      expect(await inPython(await archiveOf(events, keys))).toMatchObject({ holds: true })
      const forged = await archiveOf(events, keys, undefined, {
        policy_sha256: 'f'.repeat(64),
      })
      expect(await inPython(forged)).toMatchObject({
        ...{ holds: false, first_bad_seq: 0 },
        findings: ['it has another policy of isolation than was signed'],
      })
    })

    test.each([1, 2] as const)(
      'agrees on exports of any run, and on what is wrong with changed ones, version %i',
      async (version) => {
        const file = recordsPart(version)
        const keys = await newKeys()
        const place = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
        await fc.assert(
          fc.asyncProperty(validRun(undefined, { maxMoves: 25 }), place, async (records, where) => {
            const events = eventsOf(records)
            const whole = await exported(withTaken(events, someTexts(events, where)), keys)
            const parts = asVersion(version, whole, keys)
            const good = await inPython(await repacked(parts))
            expect(good).toMatchObject({ findings: [], holds: true, code: 0 })
            const lines = contentOf(parts, file)
              .toString()
              .split(/(?<=\n)/)
            const index = Math.floor(where * lines.length)
            const changed = [
              lines.toSpliced(index, 1),
              lines.toSpliced(index, 0, lines[index] ?? ''),
              lines.slice(0, index),
              lines.with(index, (lines[index] ?? '').replace(/"ts":1/, '"ts":2')),
            ]
            for (const each of changed) {
              const bad = replaced(parts, file, each.join(''))
              const report = await verifyBundle(partsOf(bad))
              const { first_bad_seq } = report
              expect(report.holds).toBe(false)
              expect(await inPython(await repacked(bad))).toMatchObject({ code: 1, first_bad_seq })
            }
            for (const forged of forgedRedactions(parts)) {
              const { holds, first_bad_seq } = await verifyBundle(partsOf(forged))
              expect(holds).toBe(false)
              expect(await inPython(await repacked(forged))).toMatchObject({
                code: 1,
                first_bad_seq,
              })
            }
          }),
          { numRuns: 4 },
        )
      },
    )

    test('finds what is malformed in a signed statement, as retrai verify does', async () => {
      const keys = await newKeys()
      const [records = []] = fc.sample(validRun(), { numRuns: 1, seed: 5 })
      const all = withMalformed(await exported(eventsOf(records), keys), keys)
      const archives = await Promise.all(all.map(({ parts }) => repacked(parts)))
      const others = await allInPython(archives)
      for (const [index, { path, parts }] of all.entries()) {
        const { findings } = await verifyBundle(partsOf(parts))
        const what = `${path}, ${contentOf(parts, path)}`
        expect(
          findings.map(({ where }) => where),
          what,
        ).toContain(path)
        expect(others[index], what).toContainEqual(expect.stringContaining(`${path}: `))
      }
    })

    test('compares the kind of the last record with the signed one', async () => {
      const keys = await newKeys()
      const [records = []] = fc.sample(validRun(), { numRuns: 1, seed: 5 })
      const archive = await archiveOf(eventsOf(records), keys, undefined, { last_kind: 'step' })
      const report = await verifyBundle(unpacked(Readable.from([archive])))
      const first_bad_seq = records.length - 1
      expect(report).toMatchObject({ holds: false, first_bad_seq })
      expect(await inPython(archive)).toMatchObject({ holds: false, first_bad_seq })
    })

    test('distinguishes known keys from others, whole archives from cut ones, and real statements from forged ones', async () => {
      const keys = await newKeys()
      const records = fc.sample(validRun(), { numRuns: 1, seed: 5 })[0] as RunRecord[]
      const parts = await exported(eventsOf(records), keys)
      const archive = await repacked(parts)
      expect((await inPython(archive, '--fingerprint', keys.signer.key)).code).toBe(0)
      expect((await inPython(archive, '--fingerprint', '0'.repeat(64))).code).toBe(2)
      expect((await inPython(archive.subarray(0, archive.length / 2))).code).toBe(1)
      const proof = contentOf(parts, 'proof.json').toString()
      const later = replaced(parts, 'proof.json', proof.replace('"2026-', '"2027-'))
      const { findings } = await inPython(await repacked(later))
      expect(findings.join()).toContain('proof.json: its signature is not good')
    })
  },
)
