import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { RunProof } from '../../../src/api/audit.ts'
import type { Version } from '../../../src/audit/bundle/bundle-format.ts'
import type { BundleReport } from '../../../src/audit/verify/report.ts'
import { bundleLines } from '../../../src/audit/verify/report-lines.ts'
import { verifyBundle } from '../../../src/audit/verify/verify-bundle.ts'
import { knownKeys } from '../../../src/checkpoints/public-keys.ts'
import { type IsolationDifference, otherwiseIsolated } from '../../../src/domain/isolation.ts'
import type { RunRecord } from '../../../src/domain/records.ts'
import { sha256 } from '../../../src/lib/sha256.ts'
import type { RecordedEvent } from '../../../src/store/event-store.ts'
import { validRun } from '../../support/run-records.ts'
import {
  asVersion,
  contentOf,
  eventsOf,
  exported,
  forAll,
  isolated,
  listedAgain,
  newKeys,
  type Part,
  POLICY,
  partsOf,
  recordsPart,
  replaced,
  sampleRun,
  withTaken,
} from '../support.ts'
import { forgedRedactions, someTexts } from '../taken.ts'

const OUTPUT = Buffer.from('a whole output\n'.repeat(100))
const ARTIFACT = sha256(OUTPUT)
const ARTIFACTS = new Map([[ARTIFACT, OUTPUT]])

/** Runs in which every other tool result names an artifact. */
const run = validRun(undefined, { maxMoves: 25 }).map((records) =>
  records.map((record, index): RunRecord => {
    if (record.kind !== 'tool_result' || index % 2 === 0) return record
    return { ...record, payload: { ...record.payload, truncated: true, sha256: ARTIFACT } }
  }),
)

const isLong = ({ length }: readonly RunRecord[]) => length > 8
const longRun = run.filter(isLong)
const namesArtifact = ({ kind, payload }: RunRecord) =>
  kind === 'tool_result' && payload.sha256 === ARTIFACT

const keys = await newKeys()

const verify = (parts: readonly Part[]): Promise<BundleReport> => verifyBundle(partsOf(parts))
/** Any run's export, and a place in it: between 0 and 1. */
const place = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
const at = (where: number, count: number): number => Math.floor(where * count)
const RUNS = 30

/** What the byte at this place of the records is part of. */
function whatIsAt(content: Buffer, index: number): 'time or salt' | 'the rest' {
  const from = content.lastIndexOf(0x0a, index - 1) + 1
  const line = content.subarray(from, content.indexOf(0x0a, from)).toString('latin1')
  const found = [...line.matchAll(/"created":(\d+)|"salt":"(\w+)"/g)]
  const isIn = found.some((match) => {
    const start = from + match.index + match[0].search(/\d+$|\w+"$/)
    return index >= start && index < start + (match[1] ?? match[2] ?? '').length
  })
  return isIn ? 'time or salt' : 'the rest'
}

describe('the policy of isolation', () => {
  const records = sampleRun(7, undefined, run)
  const verifyWith = async (records: readonly RunRecord[], signed?: Partial<RunProof>) =>
    verify(await exported(eventsOf(records), keys, ARTIFACTS, signed))

  test('is named in the signature if the first record names it', async () => {
    const plain = await verifyWith(records)
    expect(plain).toMatchObject({ holds: true, isolation: null, signed_policy: null })
    const report = await verifyWith(isolated(records))
    expect(report).toMatchObject({ holds: true, signed_policy: POLICY })
    expect(bundleLines(report)).toContain(`The signature names the policy ${POLICY} of isolation.`)
  })

  test('of a check that differs only by its home is no alarm; another difference is one', async () => {
    const differing = (kind: 'goal_check' | 'tool_result', more: IsolationDifference = {}) => {
      const writable = ['project', 'empty home', 'report']
      return otherwiseIsolated(kind, { writable, policy_sha256: POLICY, ...more }, policy)
    }
    const [first] = isolated(records)
    const policy = first?.kind === 'run_created' ? first.payload.isolation : undefined
    expect(differing('goal_check')).toBe('check')
    expect(differing('goal_check', { writable: ['project', 'system:/etc'] })).toBe('other')
    expect(differing('goal_check', { level: 'none' })).toBe('other')
    expect(differing('tool_result')).toBe('other')
    const report = await verifyWith(isolated(records))
    const words = (isolated_otherwise: number) =>
      bundleLines({ ...report, isolated_otherwise }).join()
    expect(words(0)).not.toContain('another way')
    expect(words(1)).toContain('Isolated in another way, as recorded: 1 result')
  })

  test('must be that of the first record if the signature names one', async () => {
    for (const run of [records, isolated(records)]) {
      expect(await verifyWith(run, { policy_sha256: 'f'.repeat(64) })).toMatchObject({
        holds: false,
        first_bad_seq: 0,
        findings: [{ problem: 'changed', seq: 0, message: expect.stringContaining('policy') }],
      })
    }
  })
})

const exportedAs = async (version: Version, ...source: Parameters<typeof exported>) =>
  asVersion(version, await exported(...source), source[1])
const anyVersion = fc.constantFrom<Version>(1, 2)

/** In about every second run, some texts are redacted. */
function exportOf(version: Version, records: RunRecord[]): Promise<Part[]> {
  const events = eventsOf(records)
  const taken = records.length % 2 === 0 ? someTexts(events, (records.length % 7) / 7) : []
  return exportedAs(version, withTaken(events, taken), keys, ARTIFACTS)
}
const namedBy = (report: BundleReport): string[] => report.findings.map(({ where }) => where)

/** One byte of a text, and the same text with another byte in its place. */
const change = fc.tuple(place, fc.integer({ min: 1, max: 255 }))
function withChange(content: Buffer, [where, flip]: readonly [number, number]) {
  const index = at(where, content.length)
  const changed = Buffer.from(content)
  changed[index] = (changed[index] ?? 0) ^ flip
  return { index, changed }
}

describe('a signed export', () => {
  test('of any run holds, and is reported correctly', async () => {
    await forAll(RUNS, fc.tuple(anyVersion, run), async ([version, records]) => {
      const report = await verify(await exportOf(version, records))
      expect(report.findings).toEqual([])
      expect(report).toMatchObject({
        holds: true,
        trust: 'not_compared',
        run_id: records[0]?.run_id,
        verified: records.length,
        signed: records.length,
        complete: records.at(-1)?.kind === 'run_end',
        key: keys.signer.key,
        first_bad_seq: null,
      })
    })
  })

  test('with any byte of its records changed names the record', async () => {
    await forAll(80, fc.tuple(anyVersion, run, change), async ([version, records, how]) => {
      const file = recordsPart(version)
      const parts = await exportOf(version, records)
      const content = contentOf(parts, file)
      const { index, changed } = withChange(content, how)
      const seq = content.subarray(0, index).filter((byte) => byte === 0x0a).length
      const report = await verify(replaced(parts, file, changed))
      expect(report.holds).toBe(false)
      const isNamed = report.first_bad_seq === seq && report.verified === seq
      // Only the manifest covers the time at which the store took a record, and the salt of one without strings.
      if (!isNamed) {
        expect([version, whatIsAt(content, index)]).toEqual([2, 'time or salt'])
      }
      expect(namedBy(report)).toContain(file)
    })
  })

  test('with any byte of any other part changed does not hold', async () => {
    await forAll(
      80,
      fc.tuple(anyVersion, run, place, change),
      async ([version, records, which, how]) => {
        const all = await exportOf(version, records)
        const parts = all.filter(({ path }) => path !== recordsPart(version))
        const part = parts[at(which, parts.length)]
        if (part === undefined) throw new Error('no part')
        const { changed } = withChange(part.content, how)
        const report = await verify(replaced(all, part.path, changed))
        expect(report.holds).toBe(false)
        expect(namedBy(report)).toContain(part.path)
        if (part.path.startsWith('artifacts/')) {
          expect(report.first_bad_seq).toBe(records.findIndex(namesArtifact))
        }
      },
    )
  })

  test('with any record removed, added, swapped or cut off names the first bad one', async () => {
    await forAll(
      RUNS,
      fc.tuple(anyVersion, run, place, place),
      async ([version, records, one, other]) => {
        const file = recordsPart(version)
        const parts = await exportOf(version, records)
        const good = contentOf(parts, file).toString().split('\n').slice(0, -1)
        const verifyLines = (changed: readonly string[]) =>
          verify(replaced(parts, file, changed.map((line) => `${line}\n`).join('')))
        const [i, j] = [at(one, good.length), at(other, good.length)]
        const removed = await verifyLines(good.toSpliced(i, 1))
        expect(removed).toMatchObject({ holds: false, first_bad_seq: i })
        const added = await verifyLines(good.toSpliced(i, 0, good[j] ?? ''))
        expect(added).toMatchObject({ holds: false, first_bad_seq: i === j ? i + 1 : i })
        const cut = await verifyLines(good.slice(0, i))
        expect(cut).toMatchObject({ holds: false, first_bad_seq: i, verified: i })
        if (i === j) return
        const swapped = await verifyLines(good.with(i, good[j] ?? '').with(j, good[i] ?? ''))
        expect(swapped).toMatchObject({ holds: false, first_bad_seq: Math.min(i, j) })
      },
    )
  })

  test('with a part removed, added or moved names the part', async () => {
    await forAll(RUNS, fc.tuple(anyVersion, run, place), async ([version, records, where]) => {
      const parts = await exportOf(version, records)
      const i = at(where, parts.length)
      const part = parts[i] as Part
      expect(namedBy(await verify(parts.toSpliced(i, 1)))).toContain(part.path)
      const extra = { path: `artifacts/${'0'.repeat(64)}`, content: Buffer.from('x') }
      expect(namedBy(await verify([...parts, extra]))).toContain(extra.path)
      expect((await verify([...parts, part])).holds).toBe(false)
      if (i > 0) expect((await verify([part, ...parts.toSpliced(i, 1)])).holds).toBe(false)
    })
  })
})

test('an export without records does not hold, even if its manifest lists none', async () => {
  const parts = await exported(eventsOf(sampleRun(7, undefined, run)), keys, ARTIFACTS)
  const without = parts.filter(({ path }) => path !== recordsPart(2))
  const report = await verify(listedAgain(without, keys))
  expect(report).toMatchObject({ holds: false, first_bad_seq: 0 })
})

describe('a redaction', () => {
  test('is reported with its author and reason; the chain is the same as before', async () => {
    await forAll(RUNS, fc.tuple(anyVersion, longRun, place), async ([version, records, where]) => {
      const events = eventsOf(records)
      const taken = someTexts(events, where)
      const before = await verify(await exportedAs(version, events, keys, ARTIFACTS))
      const redacted = withTaken(events, taken)
      const after = await verify(await exportedAs(version, redacted, keys, ARTIFACTS))
      expect(after.findings).toEqual([])
      expect(after).toMatchObject({ holds: true, head: before.head, verified: before.verified })
      const { strings, redactions } = after.redacted
      expect(strings).toBe(taken.length)
      const author = { principal: 'alice', reason: 'a password' }
      expect(redactions).toMatchObject(
        taken.map(({ seq, pointer }) => ({ seq, pointers: [pointer], ...author })),
      )
    })
  })

  test('is found if it is not recorded, was recorded but not carried out, or is about another text', async () => {
    await forAll(20, fc.tuple(anyVersion, longRun, place), async ([version, records, where]) => {
      const events = eventsOf(records)
      const redacted = withTaken(events, someTexts(events, where))
      const forgeries = forgedRedactions(await exportedAs(version, redacted, keys, ARTIFACTS))
      expect(forgeries.length).toBeGreaterThan(3)
      for (const forged of forgeries) expect((await verify(forged)).holds).toBe(false)
    })
  })
})

describe.each([1, 2] as const)('version %i of exports', (version) => {
  const file = recordsPart(version)
  const records = sampleRun(7, undefined, run)
  const exportedAgain = (all: readonly RecordedEvent[], artifacts = ARTIFACTS, by = keys) =>
    exportedAs(version, all, by, artifacts)

  test('does not hold with a whole invented history in place of the signed one', async () => {
    const parts = await exportedAgain(eventsOf(records))
    const other = records.map((record) => ({ ...record, ts: record.ts + 1 }))
    const forged = await exportedAgain(eventsOf(other))
    const report = await verify(replaced(parts, file, contentOf(forged, file)))
    expect(report).toMatchObject({ holds: false, first_bad_seq: records.length - 1 })
    expect(report.findings.map(({ message }) => message).join()).toContain('were rewritten')
  })

  test('is trusted by the keys that the reader has, and by their fingerprints', async () => {
    const forger = await newKeys()
    const forged = await exportedAgain(eventsOf(records), ARTIFACTS, forger)
    const genuine = await exportedAgain(eventsOf(records))
    const byKey = { keys: knownKeys(keys.published), fingerprints: new Set<string>() }
    const byFingerprint = { keys: new Map(), fingerprints: new Set([keys.signer.key]) }
    for (const anchors of [byKey, byFingerprint]) {
      const trustOf = async (parts: readonly Part[]) => {
        const { holds, trust } = await verifyBundle(partsOf(parts), { anchors })
        return { holds, trust }
      }
      expect(await trustOf(forged)).toEqual({ holds: true, trust: 'not_trusted' })
      expect(await trustOf(genuine)).toEqual({ holds: true, trust: 'trusted' })
    }
  })

  test('does not hold with another key under the fingerprint of the server', async () => {
    const forger = await newKeys()
    const own = forger.published.keys.map((key) => ({ ...key, fingerprint: keys.signer.key }))
    const lying = { ...forger, published: { keys: own } }
    const report = await verify(await exportedAgain(eventsOf(records), ARTIFACTS, lying))
    expect(namedBy(report)).toContain('keys.json')
  })

  test('does not hold if the server itself signed it with redactions that are not recorded, or not carried out', async () => {
    const events = eventsOf(sampleRun(4, isLong, run))
    const taken = someTexts(events, 0.3)
    const redacted = withTaken(events, taken)
    const [shown, ledger] = [redacted.slice(0, events.length), redacted.slice(events.length)]
    for (const [all, where] of [
      [shown, file],
      [[...events, ...ledger], 'redactions.ndjson'],
    ] as const) {
      const report = await verify(await exportedAgain(all))
      expect(report).toMatchObject({ holds: false, first_bad_seq: taken[0]?.seq })
      expect(report.findings[0]).toMatchObject({ problem: 'redaction', where })
    }
  })

  test('names an artifact that the server has lost, unless a redaction deleted it', async () => {
    const naming = sampleRun(3, (each) => each.some(namesArtifact), run)
    const seq = naming.findIndex(namesArtifact)
    const lost = await verify(await exportedAgain(eventsOf(naming), new Map()))
    expect(lost).toMatchObject({ holds: false, first_bad_seq: seq })
    const taken = [{ seq, pointer: '/output', artifact: ARTIFACT }]
    const deleted = await verify(await exportedAgain(withTaken(eventsOf(naming), taken), new Map()))
    expect(deleted).toMatchObject({ holds: true, artifacts: 0, redacted: { artifacts: 1 } })
  })
})
