import fc from 'fast-check'
import { expect, test } from 'vitest'
import { fold } from '../../src/domain/evolve.ts'
import { ALL_KINDS, RunRecord } from '../../src/domain/records.ts'
import { validRun } from './run-records.ts'

test('random runs are valid records that fold', () => {
  fc.assert(
    fc.property(validRun(), (records) => {
      for (const record of records) expect(RunRecord.parse(record)).toEqual(record)
      expect(fold(records)?.seq).toBe(records.length - 1)
    }),
  )
})

test('random runs hold every kind of record and every end', () => {
  const runs = fc.sample(validRun(), { numRuns: 400, seed: 1 })
  const kinds = new Set(runs.flat().map((record) => record.kind))
  expect([...kinds].sort()).toEqual([...ALL_KINDS].sort())
  const last = runs.map((run) => run.at(-1))
  const ends = last.map((record) => (record?.kind === 'run_end' ? record.payload.status : 'open'))
  expect(new Set(ends)).toEqual(new Set(['achieved', 'failed', 'aborted', 'open']))
})
