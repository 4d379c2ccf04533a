import fc from 'fast-check'
import { expect, test } from 'vitest'
import { fold } from '../../src/domain/evolve.ts'
import { ALL_KINDS, type Kind, RunRecord } from '../../src/domain/records.ts'
import { AFTER_THE_END } from '../../src/domain/state.ts'
import { validRun } from './run-records.ts'

test('random runs are valid records that fold', () => {
  fc.assert(
    fc.property(validRun(), (records) => {
      for (const record of records) expect(RunRecord.parse(record)).toEqual(record)
      expect(fold(records)?.seq).toBe(records.length - 1)
    }),
  )
})

/** What people do with the files of a run has tests of its own: test/carry. */
const OF_FILES: ReadonlySet<Kind> = new Set(['project_copied', ...AFTER_THE_END])

test('random runs hold every other kind of record, and every end', () => {
  const runs = fc.sample(validRun(), { numRuns: 400, seed: 1 })
  const kinds = new Set(runs.flat().map((record) => record.kind))
  expect(kinds).toEqual(new Set(ALL_KINDS.filter((kind) => !OF_FILES.has(kind))))
  const last = runs.map((run) => run.at(-1))
  const ends = last.map((record) => (record?.kind === 'run_end' ? record.payload.status : 'open'))
  expect(new Set(ends)).toEqual(new Set(['achieved', 'failed', 'aborted', 'open']))
})
