import { describe, expect, test } from 'vitest'
import { proveRun } from '../../../src/audit/audit.ts'
import { inTotoStatement } from '../../../src/audit/bundle/in-toto.ts'
import type { PayloadOf, RunRecord } from '../../../src/domain/records.ts'
import type { RunVerdict } from '../../../src/domain/verdict.ts'
import { statementIn } from '../../support/in-toto.ts'
import { validRun } from '../../support/run-records.ts'
import { eventsOf, NOW, newKeys, readerOf, sampleRun } from '../support.ts'

const hasAll = (run: readonly RunRecord[]): boolean =>
  ['snapshot', 'run_end'].every((wanted) => run.some(({ kind }) => kind === wanted))
const records = sampleRun(3, hasAll, validRun(undefined, { maxMoves: 40 }))
const TREE = 'd'.repeat(64)

const keys = await newKeys()
const pem = Object.fromEntries(
  keys.published.keys.map(({ fingerprint, public_key }) => [fingerprint, public_key]),
)

async function stated(run: readonly RunRecord[]) {
  const store = readerOf(eventsOf(run))
  const runId = run[0]?.run_id ?? ''
  const proof = (await proveRun(store, runId, keys.signer, NOW))._unsafeUnwrap()
  return inTotoStatement(store, keys.signer, proof, null)
}

const endedWith = (end: Partial<PayloadOf<'run_end'>>): RunRecord[] =>
  records.map((record): RunRecord => {
    if (record.kind !== 'run_end') return record
    const { verdict: _, ...rest } = record.payload
    return { ...record, payload: { ...rest, ...end } }
  })

const honest: RunVerdict = {
  as_is: 'achieved',
  original_checks: 'achieved',
  accept: 'achieved',
  tampering: [],
  dependencies: 'same',
  tree: TREE,
}
const tampering = [{ path: 'test.py', change: 'modified' }] as const

describe('the result of a run as a statement of in-toto', () => {
  test.each<[string, Partial<PayloadOf<'run_end'>>, string, string[][]]>([
    [
      'reached honestly',
      { status: 'achieved', verdict: honest },
      'PASSED',
      [['as_is', 'original_checks', 'accept'], [], []],
    ],
    [
      'reached with other tests than at the start',
      {
        status: 'achieved',
        verdict: { ...honest, original_checks: 'not_achieved', accept: null, tampering },
      },
      'WARNED',
      [['as_is'], ['protected_files'], ['original_checks']],
    ],
    [
      'reached with other packages',
      { status: 'achieved', verdict: { ...honest, dependencies: 'changed' } },
      'WARNED',
      [['as_is', 'original_checks', 'accept'], ['dependencies'], []],
    ],
    ['reached, and nobody looked', { status: 'achieved' }, 'WARNED', [[], [], []]],
    [
      'refused by the hidden check',
      { status: 'failed', verdict: { ...honest, accept: 'not_achieved' } },
      'FAILED',
      [['as_is', 'original_checks'], [], ['accept']],
    ],
    ['aborted', { status: 'aborted' }, 'FAILED', [[], [], []]],
  ])('%s', async (_name, end, result, [passed, warned, failed]) => {
    const text = (await stated(endedWith(end)))._unsafeUnwrap()
    const { subject, predicate } = statementIn(text, pem)
    const last = records.findLast(({ kind }) => kind === 'snapshot')?.payload
    const { tree = (last as PayloadOf<'snapshot'>).tree } = end.verdict ?? {}
    expect(subject).toEqual([{ name: 'files', digest: { gitTree: tree } }])
    const bare = (names: readonly string[]) => names.map((name) => name.replace(/^.*\//, ''))
    const { passedTests, warnedTests, failedTests } = predicate
    expect(predicate.result).toBe(result)
    expect([passedTests, warnedTests, failedTests].map(bare)).toEqual([passed, warned, failed])
    const [run] = predicate.configuration
    expect(run).toMatchObject({ name: 'run', uri: `urn:uuid:${records[0]?.run_id}` })
    const forged = text.replace('"payload":"eyJ', '"payload":"eyK')
    expect(() => statementIn(forged, pem)).toThrow()
  })

  test('needs a run that has ended, with a snapshot', async () => {
    const before = records.slice(
      0,
      records.findIndex(({ kind }) => kind === 'run_end'),
    )
    expect((await stated(before))._unsafeUnwrapErr()).toMatchObject({ why: 'run_not_ended' })
    const bare = endedWith({ status: 'achieved' }).filter(({ kind }) => kind !== 'snapshot')
    expect((await stated(bare))._unsafeUnwrapErr()).toMatchObject({ why: 'snapshot_not_found' })
  })
})
