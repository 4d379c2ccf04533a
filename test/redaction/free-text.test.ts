import fc from 'fast-check'
import { expect, test } from 'vitest'
import { fold } from '../../src/domain/evolve.ts'
import { RunRecord } from '../../src/domain/records.ts'
import { statusOf } from '../../src/domain/state.ts'
import { mapStrings } from '../../src/log/commitment.ts'
import { isFreeText, neededFor } from '../../src/redaction/free-text.ts'
import { stringsOf } from '../../src/redaction/places.ts'
import { verified } from '../domain/support.ts'
import { validRun } from '../support/run-records.ts'

/** The record with all its free texts redacted. */
const withoutTexts = (record: RunRecord): RunRecord => {
  const payload = mapStrings(record.payload, (text, pointer) =>
    isFreeText(record.kind, pointer) ? '[redacted]' : text,
  )
  return RunRecord.parse({ ...record, payload })
}

test('without its free texts, a run is still valid and in the same state', () => {
  fc.assert(
    fc.property(validRun(), (records) => {
      verified(records.map(withoutTexts))
      const [whole, rest] = [fold(records), fold(records.map(withoutTexts))]
      if (whole === null || rest === null) throw new Error('there is no run')
      expect(statusOf(rest)).toBe(statusOf(whole))
      expect(rest.phase.type).toBe(whole.phase.type)
      const { runId, seq, iteration, total, claimant, endedAt } = whole
      expect(rest).toMatchObject({ runId, seq, iteration, total, claimant, endedAt })
    }),
  )
})

test.each([
  ['tool_call', '/args/command', true],
  ['tool_call', '/args/nested/0/deep', true],
  ['tool_call', '/args', false],
  ['tool_call', '/tool', false],
  ['assistant_message', '/tool_calls/12/args/a~1b', true],
  ['assistant_message', '/tool_calls/0/call_id', false],
  ['assistant_message', '/finish_reason', false],
  ['assistant_message', '/notice', true],
  ['assistant_message', '/provider_items/items/0/content/1/text', true],
  ['assistant_message', '/provider_items/model', false],
  ['run_created', '/config/cwd', true],
  ['run_created', '/config/goal', false],
  ['run_created', '/idempotency/key', false],
  ['run_claimed', '/claimant', false],
  ['human_check_response', '/decision', false],
  ['tool_result', '/sha256', false],
] as const)('in a %s, %s can be redacted: %s', (kind, pointer, free) => {
  expect(isFreeText(kind, pointer)).toBe(free)
})

test('the texts of unfinished work are needed, and after the end of the run no text is', () => {
  fc.assert(
    fc.property(validRun(), (records) => {
      const state = fold(records)
      if (state === null) throw new Error('there is no run')
      const needed = records.filter((record) => neededFor(record, state) !== null)
      if (state.phase.type === 'ended') {
        expect(needed).toEqual([])
        return
      }
      expect(needed[0]?.kind).toBe('run_created')
      const calls = state.phase.type === 'acting' ? state.phase.pending.length : 0
      const open = state.phase.type === 'acting' && state.phase.open !== null ? 1 : 0
      if (calls + open > 0)
        expect(needed.at(-1)?.kind).toMatch(/^(tool_call|assistant_message|subagent_started)$/)
      expect(needed.flatMap(({ payload }) => stringsOf(payload)).length).toBeGreaterThan(0)
    }),
  )
})
