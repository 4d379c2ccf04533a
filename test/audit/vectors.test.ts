import { execFile } from 'node:child_process'
import { createReadStream } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { Checkpoint, InclusionProof, PublishedKeys, type RunProof } from '../../src/api/audit.ts'
import { unpacked } from '../../src/audit/bundle/unpack.ts'
import { sealProblem } from '../../src/audit/verify/redaction-check.ts'
import { verifyBundle } from '../../src/audit/verify/verify-bundle.ts'
import { leafOf, merkleRoot, proveInclusion } from '../../src/checkpoints/merkle.ts'
import { checkpointHash, checkSeal, knownKeys } from '../../src/checkpoints/public-keys.ts'
import { sha256 } from '../../src/lib/sha256.ts'
import { readMeta, recordHash, uuidOfHash } from '../../src/log/chain.ts'
import { canonicalText, committed } from '../../src/log/commitment.ts'
import { REDACTIONS } from '../../src/redaction/redaction-index.ts'
import { isMissing } from '../support/missing.ts'
import { validRun } from '../support/run-records.ts'
import { includes } from './inclusion.ts'
import { withMalformed } from './malformed.ts'
import { NOT_ONE } from './not-one.ts'
import { inPython, VERIFIER } from './python.ts'
import {
  archived,
  archiveOf,
  asVersion,
  contentOf,
  eventsOf,
  exported,
  forAll,
  isolated,
  newKeys,
  partsOf,
  recordsPart,
  replaced,
  sampleRun,
  withTaken,
} from './support.ts'
import { forgedRedactions, someTexts } from './taken.ts'
import vectors from './vectors/vectors.json' with { type: 'json' }

const FOLDER = join(import.meta.dirname, 'vectors')
const VECTORS = join(FOLDER, 'vectors.json')
/** Of both versions of exports. */
const EXAMPLES = ['example.tar.gz', 'example-v2.tar.gz'].map((name) => join(FOLDER, name))
const REDACTED = ['redacted.tar.gz', 'redacted-v2.tar.gz'].map((name) => join(FOLDER, name))

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'retrai-vectors-'))
})
afterAll(() => rm(folder, { recursive: true }))

const Proven = z.object({ checkpoints: z.array(Checkpoint), inclusions: z.array(InclusionProof) })

test('records and entries have the hashes and ids of the committed vectors, so logs of all versions stay verifiable', () => {
  const { numbers, commitment, records, redacted_records, redactions, sealed_entry } = vectors
  for (const { number, canonical } of numbers) expect(canonicalText([number])).toBe(canonical)
  const { payload, salt } = commitment
  expect(JSON.parse(committed(payload, salt))).toEqual(commitment.committed)
  for (const stream of ['run-x', REDACTIONS.stream]) {
    const ofRuns = [...records, ...redacted_records]
    const all = stream === 'run-x' ? ofRuns : [...redactions, sealed_entry]
    for (const { seq, data, metadata, canonical, hash, id } of all) {
      const { hash: named, ...meta } = readMeta(metadata, stream)
      expect(recordHash(seq, data, meta)).toBe(hash)
      expect([named, sha256(canonical), uuidOfHash(hash)]).toEqual([hash, hash, id])
    }
  }
})

test('signatures, trees and inclusions are those of the committed vectors', async () => {
  const { seal, merkle, sealed_entry } = vectors
  const known = knownKeys(PublishedKeys.parse(vectors.keys))
  const { statement, canonical, signature } = seal
  expect(canonicalText(statement)).toBe(canonical)
  expect(checkSeal({ ...statement, signature }, known)).toBe('good')
  const { seq } = sealed_entry
  const meta = readMeta(sealed_entry.metadata, REDACTIONS.stream)
  expect(meta.seal).toBeDefined()
  expect(sealProblem('redactions', { seq, meta }, known)).toBeNull()
  const { heads, leaves, roots } = merkle
  const { checkpoints, inclusions } = Proven.parse(merkle)
  expect(heads.map((head) => leafOf(head).toString('hex'))).toEqual(leaves)
  for (const [count, root] of roots.entries()) {
    expect((await merkleRoot(heads.slice(0, count).map(leafOf))).toString('hex')).toBe(root)
  }
  for (const checkpoint of checkpoints) expect(checkSeal(checkpoint, known)).toBe('good')
  const [first, second] = checkpoints
  if (first === undefined || second === undefined) throw new Error('there are two checkpoints')
  expect(second.previous).toBe(checkpointHash(first))
  const byId = new Map(heads.map((head) => [head.run_id, head]))
  for (const proof of inclusions) {
    const log = { checkpoint: second, heads: byId }
    expect(await proveInclusion(log, proof.leaf.run_id)).toEqual(proof)
    expect(includes(proof)).toBe(true)
  }
})

test('the committed exports of both versions hold', async () => {
  const verified = vectors.records.length
  for (const file of EXAMPLES) {
    const report = await verifyBundle(unpacked(createReadStream(file)))
    expect(report).toMatchObject({ holds: true, complete: true, verified, artifacts: 1 })
  }
  for (const file of REDACTED) {
    const report = await verifyBundle(unpacked(createReadStream(file)))
    const redacted = { strings: 3, records: 2, artifacts: 1 }
    expect(report).toMatchObject({ holds: true, verified, artifacts: 0, redacted })
  }
})

const python = (...args: string[]) => promisify(execFile)('python3', [VERIFIER, ...args])
/** The exit code of the verifier for an archive. */
async function exitCode(archive: Buffer, ...args: string[]): Promise<number> {
  const file = join(folder, 'export.tar.gz')
  await writeFile(file, archive)
  return python(file, ...args).then(
    () => 0,
    ({ code }: { code: number }) => code,
  )
}
const hasPython = !isMissing('python3')

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
        const archives = Object.values(NOT_ONE).map((change) => change(good))
        const found = await inPython(archives)
        for (const [index, archive] of archives.entries()) {
          const report = await verifyBundle(unpacked(Readable.from([archive])))
          const { first_bad_seq } = report
          const name = Object.keys(NOT_ONE)[index]
          expect(found[index], name).toMatchObject({ holds: false, first_bad_seq })
        }
      },
    )

    test.each<[string, Partial<RunProof>, (length: number) => number]>([
      ['policy of isolation', { policy_sha256: 'f'.repeat(64) }, () => 0],
      ['kind of the last record', { last_kind: 'step' }, (length) => length - 1],
    ])('compares the recorded %s with the signed one', async (_, signed, seqOf) => {
      const keys = await newKeys()
      const events = eventsOf(isolated(sampleRun(7)))
      const forged = await archiveOf(events, keys, undefined, signed)
      const wrong = { holds: false, first_bad_seq: seqOf(events.length) }
      expect(await verifyBundle(unpacked(Readable.from([forged])))).toMatchObject(wrong)
      const archives = [await archiveOf(events, keys), forged]
      expect(await inPython(archives)).toMatchObject([{ holds: true }, wrong])
    })

    test('agrees on exports of any run, and on what is wrong with changed ones', async () => {
      const keys = await newKeys()
      const place = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
      const run = validRun(undefined, { maxMoves: 25 })
      const version = fc.constantFrom(1, 2)
      await forAll(8, fc.tuple(run, place, version), async ([records, where, version]) => {
        const file = recordsPart(version)
        const events = eventsOf(records)
        const whole = await exported(withTaken(events, someTexts(events, where)), keys)
        const parts = asVersion(version, whole, keys)
        const lines = contentOf(parts, file)
          .toString()
          .split(/(?<=\n)/)
        const index = Math.floor(where * lines.length)
        const changed = [
          lines.toSpliced(index, 1),
          lines.toSpliced(index, 0, lines[index] ?? ''),
          lines.slice(0, index),
          lines.with(index, (lines[index] ?? '').replace(/"ts":1/, '"ts":2')),
        ].map((each) => replaced(parts, file, each.join('')))
        const all = [parts, ...changed, ...forgedRedactions(parts)]
        const [good, ...others] = await inPython(
          await Promise.all(all.map((each) => archived(each))),
        )
        expect(good).toMatchObject({ findings: [], holds: true })
        for (const [at, bad] of all.slice(1).entries()) {
          const { holds, first_bad_seq } = await verifyBundle(partsOf(bad))
          expect(holds).toBe(false)
          expect(others[at]).toMatchObject({ holds, first_bad_seq })
        }
      })
    })

    test('finds what is malformed in a signed statement, as retrai verify does', async () => {
      const keys = await newKeys()
      const all = withMalformed(await exported(eventsOf(sampleRun(5)), keys), keys)
      const archives = await Promise.all(all.map(({ parts }) => archived(parts)))
      const others = await inPython(archives)
      for (const [index, { path, parts }] of all.entries()) {
        const { findings } = await verifyBundle(partsOf(parts))
        const what = `${path}, ${contentOf(parts, path)}`
        expect(
          findings.map(({ where }) => where),
          what,
        ).toContain(path)
        expect(others[index]?.findings, what).toContainEqual(expect.stringContaining(`${path}: `))
      }
    })

    test('distinguishes known keys from others, whole archives from cut ones, and real statements from forged ones', async () => {
      const keys = await newKeys()
      const parts = await exported(eventsOf(sampleRun(5)), keys)
      const archive = await archived(parts)
      expect(await exitCode(archive, '--fingerprint', keys.signer.key)).toBe(0)
      expect(await exitCode(archive, '--fingerprint', '0'.repeat(64))).toBe(2)
      expect(await exitCode(archive.subarray(0, archive.length / 2))).toBe(1)
      const proof = contentOf(parts, 'proof.json').toString()
      const later = replaced(parts, 'proof.json', proof.replace('"2026-', '"2027-'))
      const [answer] = await inPython([await archived(later)])
      expect(answer?.findings.join()).toContain('proof.json: its signature is not good')
    })
  },
)
