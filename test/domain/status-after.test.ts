import fc from 'fast-check'
import { expect, it } from 'vitest'
import { fold } from '../../src/domain/evolve.ts'
import type { RunStatus } from '../../src/domain/state.ts'
import { statusOf } from '../../src/domain/state.ts'
import { statusAfter } from '../../src/domain/status-after.ts'
import { validRun } from '../support/run-records.ts'

it('tells by the nearest record that says it what the fold of all records says', () => {
  const seen = new Set<RunStatus>()
  fc.assert(
    fc.property(validRun(), (records) => {
      let status: RunStatus | null = null
      for (const [index, record] of records.entries()) {
        status = statusAfter(record) ?? status
        const state = fold(records.slice(0, index + 1))
        expect(status).toBe(state === null ? null : statusOf(state))
        if (status !== null) seen.add(status)
      }
    }),
    { numRuns: 200 },
  )
  expect(seen.size).toBe(5)
})
