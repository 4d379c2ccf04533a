import fc from 'fast-check'
import { expect, test } from 'vitest'
import { fold } from '../../src/domain/evolve.ts'
import { type RunStatus, statusAfter, statusOf } from '../../src/domain/state.ts'
import { validRun } from '../support/run-records.ts'

test('the status after each record is the status of the folded records', () => {
  const seen = new Set<RunStatus>()
  fc.assert(
    fc.property(validRun(), (records) => {
      let status: RunStatus | null = null
      for (const [index, record] of records.entries()) {
        // A claim ends the wait for a server, but no other wait.
        if (record.kind === 'run_claimed' && status === 'queued') status = 'running'
        status = statusAfter(record) ?? status
        const state = fold(records.slice(0, index + 1))
        expect(status).toBe(state === null ? null : statusOf(state))
        if (status !== null) seen.add(status)
      }
    }),
    { numRuns: 200 },
  )
  expect(seen.size).toBe(6)
})
