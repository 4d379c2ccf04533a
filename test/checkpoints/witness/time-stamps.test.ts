import { X509Certificate } from 'node:crypto'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { LOG_PROOF, STAMP } from '../../../src/audit/bundle/bundle-format.ts'
import { bundleLines } from '../../../src/audit/verify/report-lines.ts'
import { verifyBundle } from '../../../src/audit/verify/verify-bundle.ts'
import { NO_ANCHORS } from '../../../src/checkpoints/public-keys.ts'
import {
  proveInLog,
  proveStamp,
  type StampProof,
} from '../../../src/checkpoints/witness/log-proofs.ts'
import { stampInAnswer, TimeStamps } from '../../../src/checkpoints/witness/time-stamps.ts'
import { fetchUpTo } from '../../../src/models/patient-fetch.ts'
import { inPython } from '../../audit/python.ts'
import { archived, exportedFrom, type Part, partsOf, sampleRun } from '../../audit/support.ts'
import { isMissing } from '../../support/missing.ts'
import { until } from '../../support/site.ts'
import { openNote } from '../../support/spec-witness.ts'
import { TestAuthority } from '../../support/stamp-authority.ts'
import { Checkpointing } from './support.ts'

const records = sampleRun(7, ({ length }) => length > 8)
const runId = records[0]?.run_id ?? ''

let authority: TestAuthority
let server: Checkpointing
beforeEach(async () => {
  authority = await TestAuthority.open()
  onTestFinished(() => authority.close())
  server = await Checkpointing.open()
})

function stampsOf(everyMs = 0): TimeStamps {
  const { ownLog, store, log } = server
  const stamps = new TimeStamps({
    ownLog,
    store,
    fetch: fetchUpTo(64 * 1024),
    everyMs,
    retryMs: [5, 50],
    authority: { url: authority.url, certificates: authority.ca },
    log,
  })
  onTestFinished(() => stamps.stop())
  return stamps
}

const untilState = (stamps: TimeStamps, is: (state: ReturnType<TimeStamps['state']>) => boolean) =>
  until(async () => stamps.state(), is, 20_000)

/** A server with a run that a stamped checkpoint covers, and a later one. */
async function stampedRun(): Promise<StampProof> {
  await server.write(2)
  await server.checkpointOver(records)
  await server.write(2)
  const stamps = stampsOf()
  await untilState(stamps, ({ size }) => size === 5)
  await server.write(9)
  stamps.notice()
  await untilState(stamps, ({ size }) => size === 14)
  await stamps.stop()
  // What a new process knows.
  server.restart()
  await server.head()
  const found = await proveStamp(server.ownLog, server.store, runId)
  const proof = found._unsafeUnwrap()
  if (proof === null) throw new Error('no stamp')
  return proof
}

async function exportedWith(stamped: StampProof): Promise<Part[]> {
  const { store, keyring, ownLog } = server
  const keys = (await keyring.load())._unsafeUnwrap()
  const log = (await proveInLog(ownLog, runId))._unsafeUnwrap()
  return exportedFrom(store, runId, keys, undefined, {}, { log, stamped })
}

describe.skipIf(isMissing('openssl'))('a checkpoint', () => {
  test('is stamped, openssl accepts that, and the earliest stamp over a run is in its export', async () => {
    const stamped = await stampedRun()
    const { stamp, proof } = stamped
    const note = openNote(stamp.note)
    expect([note.size, proof.index, proof.leaf.run_id]).toEqual([5, 4, runId])
    expect(await authority.accepts(note.text, Buffer.from(stamp.token, 'base64'))).toBe(true)
    expect(await authority.accepts(`${note.text}\n`, Buffer.from(stamp.token, 'base64'))).toBe(
      false,
    )
    expect(authority.requests).toBe(2)
    const parts = await exportedWith(stamped)
    expect(parts.slice(3, 7).map(({ path }) => path)).toEqual([LOG_PROOF, ...Object.values(STAMP)])
    const report = await verifyBundle(partsOf(parts))
    expect(report.findings).toEqual([])
    const fingerprint = new X509Certificate(authority.ca).fingerprint256
      .replaceAll(':', '')
      .toLowerCase()
    expect(report.stamp).toMatchObject({
      name: 'Test clock',
      at: stamp.at,
      records: records.length,
      fingerprint,
      is_trusted: false,
    })
    expect(Math.abs(Date.parse(stamp.at) - Date.now())).toBeLessThan(60_000)
    expect(bundleLines(report).join('\n')).toContain(`Stamped by Test clock at ${stamp.at}`)
    const anchors = { ...NO_ANCHORS, fingerprints: new Set([fingerprint]) }
    expect((await verifyBundle(partsOf(parts), { anchors })).stamp?.is_trusted).toBe(true)
  }, 60_000)

  test('is stamped only if the last stamp is old enough, also after a restart', async () => {
    const everyMs = 500
    for (const size of [1, 2, 3]) {
      await server.write(1)
      const stamps = stampsOf(everyMs)
      await untilState(stamps, (state) => state.size === size)
      await stamps.stop()
      server.restart()
    }
    const [one = 0, two = 0, three = 0, ...more] = authority.times
    expect(more).toEqual([])
    expect(Math.min(two - one, three - two)).toBeGreaterThanOrEqual(everyMs)
  }, 60_000)

  test('has no stamp while the authority is away, slow or lies, which stops nothing and is said', async () => {
    const other = await TestAuthority.open()
    onTestFinished(() => other.close())
    const { promise: slept, resolve: wake } = Promise.withResolvers<void>()
    await server.write(1)
    authority.lie = (honest) => slept.then(honest)
    const stamps = stampsOf()
    await until(
      async () => authority.requests,
      (count) => count === 1,
    )
    // Nothing waits for it.
    await server.write(3)
    expect(stamps.state()).toEqual({ name: null, size: null, at: null, problem: null })
    wake()
    await untilState(stamps, ({ size }) => size === 1)
    const lies = [
      ['the status 500', async () => 500],
      ['something else than a time stamp', async () => Buffer.from('hello')],
      ['too long', async () => Buffer.alloc(100_000)],
      ['another text', async () => authority.stamp(await authority.query('another text'))],
      ['No valid certificate paths', (_: unknown, query: Buffer) => other.stamp(query)],
      ['no time stamp', () => authority.stamp(Buffer.from('hello'))],
      ['not one for time stamps', (_: unknown, query: Buffer) => authority.forge(query)],
    ] as const
    for (const [why, lie] of lies) {
      authority.lie = lie
      await server.write(1)
      stamps.notice()
      await untilState(stamps, ({ problem }) => problem?.includes(why) === true)
      expect(server.logged.at(-1)?.level).toBe('warn')
    }
    authority.lie = null
    const { size } = await server.head()
    await untilState(stamps, (state) => state.size === size && state.problem === null)
    await authority.close()
    await server.write(1)
    stamps.notice()
    await untilState(stamps, ({ problem }) => problem?.includes('ECONNREFUSED') === true)
  }, 60_000)
})

test.skipIf(isMissing('python3') || isMissing('openssl'))(
  'an export with a time stamp that does not hold is found, by both verifiers',
  async () => {
    const other = await TestAuthority.open()
    onTestFinished(() => other.close())
    const stamped = await stampedRun()
    const { stamp, proof } = stamped
    const { text } = openNote(stamp.note)
    const tokenIn = async (answer: Buffer) =>
      (await stampInAnswer(new Uint8Array(answer).buffer))._unsafeUnwrap().toString('base64')
    const token = Buffer.from(stamp.token, 'base64')
    token[token.indexOf('Z', token.indexOf('20')) - 1] = 0x2f
    const query = await authority.query(text)
    const elsewhere = await authority.stamp(await authority.query('another text'))
    const forged: readonly (readonly [string, StampProof])[] = [
      ['another time', { proof, stamp: { ...stamp, token: token.toString('base64') } }],
      ['another text', { proof, stamp: { ...stamp, token: await tokenIn(elsewhere) } }],
      ['another authority', { proof, stamp: { ...stamp, chain: other.ca } }],
      ['no token', { proof, stamp: { ...stamp, token: '' } }],
      ['no certificate', { proof, stamp: { ...stamp, chain: '' } }],
      [
        'a certificate for something else',
        {
          proof,
          stamp: { ...stamp, token: await tokenIn(await authority.forge(query)) },
        },
      ],
      ['another run', { stamp, proof: { ...proof, run_index: proof.run_index + 1 } }],
      ['another note', { stamp, proof: { ...proof, note: await server.note() } }],
    ]
    const archives = [await archived(await exportedWith(stamped))]
    for (const [name, one] of forged) {
      const parts = await exportedWith(one)
      const { findings, stamp: shown } = await verifyBundle(partsOf(parts))
      const places = new Set(findings.map(({ where }) => where.split('/')[0]))
      expect([name, [...places]]).toEqual([name, ['stamps']])
      expect([name, shown?.at]).toEqual([name, name === 'another run' ? stamp.at : undefined])
      archives.push(await archived(parts))
    }
    const found = await inPython(archives)
    expect(found.map(({ holds }) => holds)).toEqual([true, ...forged.map(() => false)])
    for (const { findings } of found) {
      for (const one of findings) expect(one).toMatch(/^stamps\//)
    }
  },
  60_000,
)
