import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RunDetails, RunSummary } from '../../src/api/runs.ts'
import { fold } from '../../src/domain/evolve.ts'
import type { RunRecord } from '../../src/domain/records.ts'
import type { RunState } from '../../src/domain/state.ts'
import { runRow } from '../../src/projections/read-model.ts'
import { runDetails } from '../../src/queries/run-details.ts'
import { createdRecord, validRun } from '../support/run-records.ts'

const RUN = 'f7c2a5de-2c55-4b5c-8a34-4c1a3c1b2a10'

function stateOf(...records: RunRecord[]): RunState {
  const state = fold([createdRecord(RUN, { ts: 1_771_416_000.1234 }), ...records])
  if (state === null) throw new Error('no records')
  return state
}

const at = { run_id: RUN, iteration: 1 }
const check = {
  ...at,
  kind: 'goal_check' as const,
  ts: 1_771_416_010,
  payload: { achieved: true, reason: 'All 42 tests passed', details: '', duration_ms: 3 },
} satisfies RunRecord
const ended = (status: 'achieved' | 'failed'): RunRecord => ({
  ...at,
  kind: 'run_end',
  ts: 1_771_416_012.5,
  payload: {
    achieved: status === 'achieved',
    iterations: 1,
    total_tokens: 0,
    estimated_cost_usd: 0,
    status,
    reason: 'Stopped by max_tokens',
  },
})

test('details and summaries of every run match their schemas', () => {
  fc.assert(
    fc.property(validRun(), (records) => {
      const state = fold(records)
      if (state === null) throw new Error('no records')
      const details = runDetails(state)
      expect(RunDetails.strict().parse(details)).toEqual(details)
      expect(RunSummary.strict().parse(runRow(state))).toEqual(runRow(state))
      expect(details).toMatchObject(runRow(state))
      const last = records.at(-1)
      expect(details.final_state !== null).toBe(last?.kind === 'run_end')
      expect(details.ended_at !== null).toBe(last?.kind === 'run_end')
      expect(details.progress.seq).toBe(records.length - 1)
    }),
  )
})

describe('a run', () => {
  test('that has just been created', () => {
    expect(runDetails(stateOf())).toMatchObject({
      status: 'running',
      created_at: '2026-02-18T12:00:00.123Z',
      final_state: null,
      workspace: { mode: 'in_place', folder: '/home/ada/project' },
      progress: { iteration: 0, total_tokens: 0, seq: 0, waiting_for: null },
    })
  })

  test('that ended by a limit shows that reason beside the reason of its last check, if there was one', () => {
    const short = { ...check, payload: { ...check.payload, achieved: false, reason: '3 failing' } }
    const details = runDetails(stateOf(short, ended('failed')))
    expect(details.end_reason).toBe('Stopped by max_tokens')
    expect(details.final_state?.goal_reason).toBe('3 failing')
    const { final_state } = runDetails(stateOf(ended('failed')))
    expect(final_state?.goal_reason).toBe('Stopped by max_tokens')
  })

  test('that waits for a person names its question', () => {
    const payload = { iteration: 1, summary: 'Go on?' }
    const asked: RunRecord = { ...at, kind: 'human_check_required', ts: 1_771_416_010, payload }
    const details = runDetails(stateOf(asked))
    expect(details.status).toBe('awaiting_human')
    expect(details.progress.waiting_for).toEqual({
      kind: 'human_check_required',
      seq: 1,
      summary: 'Go on?',
    })
  })
})
