import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import type { Checkpoint, LogProof } from '../../../src/api/audit.ts'
import { LOG_PROOF } from '../../../src/audit/bundle/bundle-format.ts'
import type { TrustedWitnesses } from '../../../src/audit/verify/log-check.ts'
import { verifyBundle } from '../../../src/audit/verify/verify-bundle.ts'
import { verifyStore } from '../../../src/audit/verify/verify-store.ts'
import { checkWitnesses, shownByLog } from '../../../src/audit/verify/witness-check.ts'
import { knownKeys } from '../../../src/checkpoints/public-keys.ts'
import { proveInLog } from '../../../src/checkpoints/witness/log-proofs.ts'
import type { RunRecord } from '../../../src/domain/records.ts'
import { readNoteKey } from '../../../src/lib/signed-note.ts'
import { LOG_ID_STREAM } from '../../../src/log/log-identity.ts'
import { logPages } from '../../../src/log/stream-pages.ts'
import { Checkpointing, untilSeen } from '../../checkpoints/witness/support.ts'
import { append as appendTo, readAll } from '../../store/contract/support.ts'
import { append, prepare } from '../../support/append-records.ts'
import { memoryStore } from '../../support/memory-store.ts'
import { isMissing } from '../../support/missing.ts'
import { SpecWitness } from '../../support/spec-witness.ts'
import { flipped } from '../not-one.ts'
import { inPython } from '../python.ts'
import {
  archived,
  artifactsOf,
  contentOf,
  exportedFrom,
  listedAgain,
  type Part,
  partsOf,
  replaced,
  sampleRun,
} from '../support.ts'

const records = sampleRun(7, ({ length }) => length > 8)
const runId = records[0]?.run_id ?? ''
/** The run as somebody would like to have it. */
const rewritten = records.map(
  (record, seq): RunRecord => (seq === 1 ? { ...record, ts: record.ts + 0.25 } : record),
)

let witness: SpecWitness
let trusted: TrustedWitnesses
beforeEach(async () => {
  witness = await SpecWitness.open()
  onTestFinished(() => witness.close())
  trusted = { keys: [readNoteKey(witness.key, 'cosignature')._unsafeUnwrap()], quorum: 1 }
})

/** A server whose newest checkpoint, over the run, the witness has seen. */
async function seenServer(): Promise<Checkpointing> {
  const server = await Checkpointing.open()
  witness.logs = [await server.key()]
  await server.checkpointOver(records)
  const witnesses = server.witnesses([witness])
  await untilSeen(witnesses, 1, 1)
  await witnesses.stop()
  return server
}

/** A log with the same id, keys and server as another one, and some of its streams. */
async function forgedFrom(server: Checkpointing, ...streams: string[]): Promise<Checkpointing> {
  const store = memoryStore()
  for (const stream of [LOG_ID_STREAM, ...streams]) {
    await appendTo(store, stream, await readAll(server.store, stream), 'no_stream')
  }
  return Checkpointing.open(store, server.keyring)
}

async function verified({ store, keyring }: Checkpointing) {
  const shown = (await shownByLog(store))._unsafeUnwrap()
  const { findings, kept, seen } = checkWitnesses(shown, trusted)
  const keys = knownKeys((await keyring.load())._unsafeUnwrap().published)
  const whole = {
    reader: store,
    pages: () => logPages(store),
    artifacts: artifactsOf(),
    keys,
    projected: null,
  }
  const report = (await verifyStore(whole, { kept }))._unsafeUnwrap()
  return { ofLog: report.findings, findings, seen, kept }
}

describe('a log', () => {
  test('whose newest checkpoint a witness has seen holds', async () => {
    const { ofLog, findings, seen, kept } = await verified(await seenServer())
    expect([...ofLog, ...findings]).toEqual([])
    expect(kept).toMatchObject({ number: 0 })
    expect(seen).toEqual([{ name: witness.name, at: expect.any(String), number: 0, newest: 0 }])
  })

  test('that extends what a witness has seen holds for a minute', async () => {
    const server = await seenServer()
    server.now = Date.now() + 50_000
    await server.write(1)
    expect((await verified(server)).findings).toEqual([])
    server.now = Date.now() + 70_000
    await server.write(1)
    const { findings } = await verified(server)
    expect(findings).toMatchObject([{ problem: 'unwitnessed' }])
    expect(findings[0]?.message).toContain(witness.name)
  })

  test('that was rewritten whole with the true key is found by one cosignature', async () => {
    const server = await seenServer()
    const forged = await forgedFrom(server)
    await forged.checkpointOver(rewritten)
    const one = await server.head()
    const two = await forged.head()
    expect([one.origin, one.size]).toEqual([two.origin, two.size])
    expect(one.root.equals(two.root)).toBe(false)
    const alone = await verified(forged)
    // Without the witness, nothing is wrong with it.
    expect(alone.ofLog).toEqual([])
    expect(alone.findings).toMatchObject([{ problem: 'unwitnessed' }])
    // The witness does not sign it, either.
    const witnesses = forged.witnesses([witness])
    await witnesses.stop()
    expect(witness.seen.size).toBe(1)
    expect((await verified(forged)).findings).toMatchObject([{ problem: 'unwitnessed' }])
    expect((await verified(server)).findings).toEqual([])
  })

  test('that was rewritten, with the cosignatures of the true one, is found', async () => {
    const forged = await forgedFrom(await seenServer(), 'retrai-cosignatures')
    await forged.checkpointOver(rewritten)
    const { findings } = await verified(forged)
    expect(findings).toMatchObject([{ problem: 'changed' }, { problem: 'unwitnessed' }])
    expect(findings[0]?.message).toContain(`${witness.name} has seen other checkpoints`)
  })

  test('of which only runs were rewritten, under a checkpoint that follows the one that was seen, is found', async () => {
    const server = await seenServer()
    const forged = await forgedFrom(server, 'retrai-checkpoints', 'retrai-cosignatures')
    const prepared = prepare(runId, null, rewritten, { commandId: 'test' })
    const { head } = (await append(forged.store, prepared))._unsafeUnwrap()
    forged.runs.set(runId, { run_id: runId, length: records.length + 1, head })
    const { ofLog } = await verified(forged)
    expect(ofLog.map(({ message }) => message).join()).toContain('all of it was rewritten')
  })

  test('that lost its last checkpoints is found', async () => {
    const server = await seenServer()
    const forged = await forgedFrom(server, 'retrai-cosignatures')
    const { findings } = await verified(forged)
    expect(findings[0]?.message).toContain('has seen 1 checkpoints')
  })
})

/** The parts of an export of the run. */
async function exportOf(
  { store, keyring, ownLog }: Checkpointing,
  change: (log: LogProof) => LogProof | null = (log) => log,
): Promise<Part[]> {
  const keys = (await keyring.load())._unsafeUnwrap()
  const log = (await proveInLog(ownLog, runId))._unsafeUnwrap()
  return exportedFrom(store, runId, keys, undefined, {}, { log: log && change(log) })
}

const findingsOf = async (parts: readonly Part[], witnesses: TrustedWitnesses | null = trusted) => {
  const report = await verifyBundle(partsOf(parts), { witnesses })
  return { report, about: report.findings.filter(({ where }) => where === LOG_PROOF) }
}

describe('an export', () => {
  test('says which checkpoint covers the run, and which witnesses have seen that', async () => {
    const server = await seenServer()
    const parts = await exportOf(server)
    expect(parts.map(({ path }) => path).slice(0, 4)).toEqual([
      'README.txt',
      'keys.json',
      'proof.json',
      LOG_PROOF,
    ])
    const { report } = await findingsOf(parts)
    expect(report.findings).toEqual([])
    const { origin } = await server.head()
    expect(report.log).toEqual({
      origin,
      checkpoint: 0,
      records: records.length,
      seen_by: [{ name: witness.name, at: expect.any(String) }],
    })
    const other = await SpecWitness.open('witness.example/other')
    onTestFinished(() => other.close())
    const keys = [...trusted.keys, readNoteKey(other.key, 'cosignature')._unsafeUnwrap()]
    expect((await findingsOf(parts, { keys, quorum: 1 })).about).toEqual([])
    const { about } = await findingsOf(parts, { keys, quorum: 2 })
    expect(about).toMatchObject([{ problem: 'unwitnessed' }])
    expect(about[0]?.message).toMatch(/^witness.example\/other did not sign/)
  })

  test('that does not say it holds, but not for those who ask for witnesses', async () => {
    const parts = await exportOf(await seenServer(), () => null)
    expect((await findingsOf(parts, null)).report).toMatchObject({ holds: true, log: null })
    expect((await findingsOf(parts)).about).toMatchObject([{ problem: 'unwitnessed' }])
  })

  test('of a run that has grown since the checkpoint is compared as far as that covers it', async () => {
    const server = await Checkpointing.open()
    witness.logs = [await server.key()]
    const before = await server.checkpointOver(records.slice(0, -3))
    const more = prepare(runId, before, records.slice(-3), { commandId: 'more' })
    ;(await append(server.store, more))._unsafeUnwrap()
    const { report } = await findingsOf(await exportOf(server), null)
    expect(report).toMatchObject({
      findings: [],
      verified: records.length,
      log: { records: records.length - 3, seen_by: [] },
    })
  })

  const other = 'a'.repeat(64)
  const changes: Readonly<Record<string, (log: LogProof) => LogProof>> = {
    'a text in place of the note': (log) => ({ ...log, note: 'hello' }),
    'a note without the signature of the log': (log) => ({
      ...log,
      note: log.note.replace(/\n— retrai\/[^\n]*/, ''),
    }),
    'a note of another log': (log) => ({ ...log, note: log.note.replace('retrai/', 'retrai/x') }),
    'another place of the checkpoint': (log) => ({ ...log, index: log.index + 1 }),
    'a longer path of the checkpoint': (log) => ({ ...log, inclusion: [other] }),
    'another checkpoint': (log) => ({ ...log, checkpoint: { ...log.checkpoint, number: 5 } }),
    'another place of the run': (log) => ({ ...log, run_index: 3 }),
    'another path of the run': (log) => ({ ...log, run_path: [other] }),
    'another hash of the run': (log) => ({ ...log, leaf: { ...log.leaf, head: other } }),
    'a longer run': (log) => ({ ...log, leaf: { ...log.leaf, length: records.length + 1 } }),
    'a root that was changed': (log) => ({
      ...log,
      checkpoint: { ...log.checkpoint, root: other } satisfies Checkpoint,
    }),
  }

  test.skipIf(isMissing('python3'))(
    'with a part that does not fit is found, by both verifiers',
    async () => {
      const server = await seenServer()
      const names = Object.keys(changes)
      const archives: Buffer[] = []
      for (const [name, change] of Object.entries(changes)) {
        const parts = await exportOf(server, change)
        const { about } = await findingsOf(parts, null)
        expect(about.length, name).toBeGreaterThan(0)
        archives.push(await archived(parts))
      }
      archives.push(await archived(await exportOf(server)))
      const found = await inPython(archives)
      expect(found.map(({ holds }) => holds)).toEqual([...names.map(() => false), true])
    },
  )

  test('with a byte of it changed is found', async () => {
    const server = await seenServer()
    const parts = await exportOf(server)
    const keys = (await server.keyring.load())._unsafeUnwrap()
    const content = contentOf(parts, LOG_PROOF)
    for (let index = 0; index < content.length; index += 37) {
      const changed = replaced(parts, LOG_PROOF, flipped(content, index, 1))
      const { about } = await findingsOf(listedAgain(changed, keys))
      expect(about.length, String(index)).toBeGreaterThan(0)
    }
  })
})
