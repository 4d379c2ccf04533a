import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import type { RunProof } from '../../../src/api/audit.ts'
import type { Version } from '../../../src/audit/bundle/bundle-format.ts'
import type { BundleReport } from '../../../src/audit/verify/report.ts'
import { verifyBundle } from '../../../src/audit/verify/verify-bundle.ts'
import type { Keys } from '../../../src/checkpoints/keyring.ts'
import { knownKeys } from '../../../src/checkpoints/public-keys.ts'
import { bundleLines } from '../../../src/cli/terminal/report-lines.ts'
import { type IsolationDifference, otherwiseIsolated } from '../../../src/domain/isolation.ts'
import type { RunRecord } from '../../../src/domain/records.ts'
import { validRun } from '../../support/run-records.ts'
import {
  asVersion,
  contentOf,
  eventsOf,
  exported,
  isolated,
  newKeys,
  type Part,
  POLICY,
  partsOf,
  recordsPart,
  replaced,
  withTaken,
} from '../support.ts'
import { forgedRedactions, someTexts } from '../taken.ts'

const OUTPUT = Buffer.from('a whole output\n'.repeat(100))
const ARTIFACT = createHash('sha256').update(OUTPUT).digest('hex')
const ARTIFACTS = new Map([[ARTIFACT, OUTPUT]])

/** Runs in which every other tool result names an artifact. */
const run = validRun(undefined, { maxMoves: 25 }).map((records) =>
  records.map((record, index): RunRecord => {
    if (record.kind !== 'tool_result' || index % 2 === 0) return record
    return { ...record, payload: { ...record.payload, truncated: true, sha256: ARTIFACT } }
  }),
)

const longRun = run.filter((records) => records.length > 8)

let keys: Keys
beforeAll(async () => {
  keys = await newKeys()
})

const verify = (parts: readonly Part[]): Promise<BundleReport> => verifyBundle(partsOf(parts))
/** Any run's export, and a place in it: between 0 and 1. */
const place = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
const at = (where: number, count: number): number => Math.floor(where * count)
const RUNS = { numRuns: 30 }

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
  const [records = []] = fc.sample(run, { numRuns: 1, seed: 7 })
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
    const words = (checks: number, otherwise: number) =>
      bundleLines({ ...report, isolated_checks: checks, isolated_otherwise: otherwise }).join()
    expect(words(2, 0)).toContain('checks: as the commands, with a home of their own')
    expect(words(2, 0)).not.toContain('another way')
    expect(words(0, 1)).toContain('Isolated in another way, as recorded: 1 result')
  })

  test('must be that of the first record if the signature names one', async () => {
    for (const run of [records, isolated(records)]) {
      expect(await verifyWith(run, { policy_sha256: 'f'.repeat(64) })).toMatchObject({
        ...{ holds: false, first_bad_seq: 0 },
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
    await fc.assert(
      fc.asyncProperty(anyVersion, run, async (version, records) => {
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
      }),
      RUNS,
    )
  })

  test('with any byte of its records changed names the record', async () => {
    await fc.assert(
      fc.asyncProperty(anyVersion, run, change, async (version, records, how) => {
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
      }),
      { numRuns: 80 },
    )
  })

  test('with any byte of any other part changed does not hold', async () => {
    await fc.assert(
      fc.asyncProperty(anyVersion, run, place, change, async (version, records, which, how) => {
        const all = await exportOf(version, records)
        const parts = all.filter(({ path }) => path !== recordsPart(version))
        const part = parts[at(which, parts.length)]
        if (part === undefined) throw new Error('no part')
        const { changed } = withChange(part.content, how)
        const report = await verify(replaced(all, part.path, changed))
        expect(report.holds).toBe(false)
        expect(namedBy(report)).toContain(part.path)
        if (part.path.startsWith('artifacts/')) {
          const first = records.findIndex(
            ({ kind, payload }) => kind === 'tool_result' && payload.sha256 === ARTIFACT,
          )
          expect(report.first_bad_seq).toBe(first)
        }
      }),
      { numRuns: 80 },
    )
  })

  test('with any record removed, added, swapped or cut off names the first bad one', async () => {
    await fc.assert(
      fc.asyncProperty(anyVersion, run, place, place, async (version, records, one, other) => {
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
      }),
      RUNS,
    )
  })

  test('with a part removed, added or moved names the part', async () => {
    await fc.assert(
      fc.asyncProperty(anyVersion, run, place, async (version, records, where) => {
        const parts = await exportOf(version, records)
        const i = at(where, parts.length)
        const part = parts[i] as Part
        expect(namedBy(await verify(parts.toSpliced(i, 1)))).toContain(part.path)
        const extra = { path: `artifacts/${'0'.repeat(64)}`, content: Buffer.from('x') }
        expect(namedBy(await verify([...parts, extra]))).toContain(extra.path)
        expect((await verify([...parts, part])).holds).toBe(false)
        if (i > 0) expect((await verify([part, ...parts.toSpliced(i, 1)])).holds).toBe(false)
      }),
      RUNS,
    )
  })
})

describe('a redaction', () => {
  test('is reported with its author and reason; the chain is the same as before', async () => {
    await fc.assert(
      fc.asyncProperty(anyVersion, longRun, place, async (version, records, where) => {
        const events = eventsOf(records)
        const taken = someTexts(events, where)
        const before = await verify(await exportedAs(version, events, keys, ARTIFACTS))
        const redacted = withTaken(events, taken)
        const after = await verify(await exportedAs(version, redacted, keys, ARTIFACTS))
        expect(after.findings).toEqual([])
        expect(after).toMatchObject({ holds: true, head: before.head, verified: before.verified })
        const { strings, redactions } = after.redacted
        expect(strings).toBe(taken.length)
        expect(redactions.map(({ seq, pointers: [pointer] }) => ({ seq, pointer }))).toEqual(taken)
        expect(new Set(redactions.map((each) => `${each.principal}: ${each.reason}`))).toEqual(
          new Set(['alice: a password']),
        )
      }),
      RUNS,
    )
  })

  test('is found if it is not recorded, was recorded but not carried out, or is about another text', async () => {
    await fc.assert(
      fc.asyncProperty(anyVersion, longRun, place, async (version, records, where) => {
        const events = eventsOf(records)
        const redacted = withTaken(events, someTexts(events, where))
        const forgeries = forgedRedactions(await exportedAs(version, redacted, keys, ARTIFACTS))
        expect(forgeries.length).toBeGreaterThan(3)
        for (const forged of forgeries) expect((await verify(forged)).holds).toBe(false)
      }),
      { numRuns: 20 },
    )
  })
})

describe.each([1, 2] as const)('version %i of exports', (version) => {
  const file = recordsPart(version)

  describe('a forger without the key', () => {
    const example = () => fc.sample(run, { numRuns: 1, seed: 7 })[0] as RunRecord[]

    test('a whole invented history in place of the signed one', async () => {
      const records = example()
      const whole = (all: RunRecord[]) => exportedAs(version, eventsOf(all), keys, ARTIFACTS)
      const parts = await whole(records)
      const forged = await whole(records.map((record) => ({ ...record, ts: record.ts + 1 })))
      const report = await verify(replaced(parts, file, contentOf(forged, file)))
      expect(report).toMatchObject({ holds: false, first_bad_seq: records.length - 1 })
      expect(report.findings.map(({ message }) => message).join()).toContain('were rewritten')
    })

    test('a proof and a manifest signed by another key are distinguished from those of the server', async () => {
      const forger = await newKeys()
      const parts = await exportedAs(version, eventsOf(example()), forger, ARTIFACTS)
      const anchors = { keys: knownKeys(keys.published), fingerprints: new Set<string>() }
      const report = await verifyBundle(partsOf(parts), { anchors })
      expect(report).toMatchObject({ holds: true, trust: 'not_trusted', key: forger.signer.key })
      const genuine = await verifyBundle(partsOf(await exportOf(version, example())), { anchors })
      expect(genuine).toMatchObject({ holds: true, trust: 'trusted' })
      const fingerprints = new Set([keys.signer.key])
      const byFingerprint = await verifyBundle(partsOf(await exportOf(version, example())), {
        anchors: { keys: new Map(), fingerprints },
      })
      expect(byFingerprint).toMatchObject({ holds: true, trust: 'trusted' })
    })

    test('another key listed under the fingerprint of the server', async () => {
      const forger = await newKeys()
      const published = {
        keys: forger.published.keys.map((key) => ({ ...key, fingerprint: keys.signer.key })),
      }
      const parts = await exportedAs(
        version,
        eventsOf(example()),
        { ...forger, published },
        ARTIFACTS,
      )
      const report = await verify(parts)
      expect(report.holds).toBe(false)
      expect(report.findings.map(({ where }) => where)).toContain('keys.json')
    })
  })

  describe('a redaction', () => {
    test('is compared even if the server itself signed the wrong export', async () => {
      const records = fc.sample(longRun, { numRuns: 1, seed: 4 })[0] as RunRecord[]
      const events = eventsOf(records)
      const taken = someTexts(events, 0.3)
      const [first] = taken
      const all = withTaken(events, taken)
      const ledger = all.slice(records.length)
      const unrecorded = await verify(
        await exportedAs(version, all.slice(0, records.length), keys, ARTIFACTS),
      )
      expect(unrecorded).toMatchObject({ holds: false, first_bad_seq: first?.seq })
      expect(unrecorded.findings[0]).toMatchObject({ problem: 'redaction', where: file })
      const undone = await verify(
        await exportedAs(version, [...events, ...ledger], keys, ARTIFACTS),
      )
      expect(undone).toMatchObject({ holds: false, first_bad_seq: first?.seq })
      expect(undone.findings[0]).toMatchObject({ problem: 'redaction', where: 'redactions.ndjson' })
    })

    test('that deleted an artifact does not report it as lost', async () => {
      const isLong = ({ kind, payload }: RunRecord) =>
        kind === 'tool_result' && payload.sha256 === ARTIFACT
      const records = fc.sample(
        run.filter((each) => each.some(isLong)),
        { numRuns: 1, seed: 3 },
      )[0] as RunRecord[]
      const seq = records.findIndex(isLong)
      const taken = [{ seq, pointer: '/output', artifact: ARTIFACT }]
      const report = await verify(
        await exportedAs(version, withTaken(eventsOf(records), taken), keys),
      )
      expect(report).toMatchObject({ holds: true, artifacts: 0, redacted: { artifacts: 1 } })
    })
  })

  test('an artifact that the server has lost is named, with the record that needs it', async () => {
    const records = fc.sample(
      run.filter((each) =>
        each.some(({ kind, payload }) => kind === 'tool_result' && payload.sha256 !== null),
      ),
      { numRuns: 1, seed: 3 },
    )[0] as RunRecord[]
    const report = await verify(await exportedAs(version, eventsOf(records), keys))
    const seq = records.findIndex(
      ({ kind, payload }) => kind === 'tool_result' && payload.sha256 !== null,
    )
    expect(report).toMatchObject({ holds: false, first_bad_seq: seq })
  })
})
