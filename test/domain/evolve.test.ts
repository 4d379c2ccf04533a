import fc from 'fast-check'
import { expect, test } from 'vitest'
import { BrokenInvariant } from '../../src/domain/errors.ts'
import { evolve, fold } from '../../src/domain/evolve.ts'
import { nextStep } from '../../src/domain/next-step.ts'
import { RunRecord } from '../../src/domain/records.ts'
import { type RunStatus, statusAfter, statusOf } from '../../src/domain/state.ts'
import { validRun } from '../support/run-records.ts'

const EFFECTS = [
  'call_model',
  'run_tool',
  'review_call',
  'check_goal',
  'read_context',
  'await_human',
  'summarize',
  'end',
  'proceed',
]

test('for all valid runs: the state is plain JSON, each prefix has a next step and a status that its last records give, and the records add up', () => {
  const seen = new Set<RunStatus>()
  fc.assert(
    fc.property(validRun(), fc.nat(), (records, n) => {
      const cut = n % (records.length + 1)
      expect(fold(records.slice(cut), fold(records.slice(0, cut)))).toEqual(fold(records))
      let status: RunStatus | null = null
      records.reduce<ReturnType<typeof fold>>((before, record, index) => {
        expect(RunRecord.parse(record)).toEqual(record)
        const state = evolve(before, record)
        expect(state.seq).toBe(index)
        expect(JSON.parse(JSON.stringify(state))).toEqual(state)
        expect(EFFECTS).toContain(nextStep(state).type)
        // A claim ends the wait for a server, but no other wait.
        if (record.kind === 'run_claimed' && status === 'queued') status = 'running'
        status = statusAfter(record) ?? status
        expect(status).toBe(statusOf(state))
        if (status !== null) seen.add(status)
        return state
      }, null)
      checkCalls(records)
      checkEnd(records)
      const named = records.flatMap((record) =>
        record.kind === 'tool_result' ? (record.payload.folder ?? []) : [],
      )
      expect(fold(records)?.shellFolder).toBe(named.at(-1))
    }),
    { numRuns: 200 },
  )
  expect(seen.size).toBe(7)
})

/** A call has at most one result, which comes after it, and exactly one at the end of the run. */
function checkCalls(records: readonly RunRecord[]): void {
  const open = new Set<string>()
  for (const { kind, payload, iteration } of records) {
    const key = 'call_id' in payload ? `${iteration} ${payload.call_id}` : ''
    if (kind === 'tool_call') {
      expect(open.has(key)).toBe(false)
      open.add(key)
    }
    if (kind === 'tool_result') expect(open.delete(key)).toBe(true)
  }
  expect(open.size).toBeLessThanOrEqual(records.at(-1)?.kind === 'run_end' ? 0 : 1)
}

/** run_end is the last record, holds the sums of the others, and none is accepted after it. */
function checkEnd(records: readonly RunRecord[]): void {
  const state = fold(records)
  const [first] = records
  const end = records.find(({ kind }) => kind === 'run_end')
  if (state === null || first === undefined) throw new Error('a run has at least one record')
  expect(['running', 'queued', 'awaiting_human', 'paused'].includes(statusOf(state))).toBe(
    end === undefined,
  )
  if (end?.kind !== 'run_end') return
  expect(records.at(-1)).toBe(end)
  expect(() => evolve(state, first)).toThrow(BrokenInvariant)
  const tokens = records.reduce((sum, { kind, payload }) => {
    if (kind === 'tool_result') return sum + (payload.subagent?.tokens ?? 0)
    return kind === 'llm_usage' ? sum + payload.input_tokens + payload.output_tokens : sum
  }, 0)
  expect(end.payload.total_tokens).toBe(tokens)
  const plans = records.filter((r) => r.kind === 'step_start' && r.payload.node === 'plan')
  expect(end.payload.iterations).toBe(new Set(plans.map((r) => r.iteration)).size)
}

/** Of more than its first record. */
const longRun = validRun().filter(({ length }) => length > 1)

test('a log that does not begin with run_created, or begins twice, is refused', () => {
  const [created, ...rest] = fc.sample(longRun, { numRuns: 1, seed: 7 })[0] ?? []
  if (created === undefined) throw new Error('no run')
  expect(() => fold(rest)).toThrow(BrokenInvariant)
  expect(() => fold([created, created])).toThrow(BrokenInvariant)
})

test('sums of costs have no rounding errors of binary fractions', () => {
  const [created] = fc.sample(longRun, { numRuns: 1, seed: 7 })[0] ?? []
  if (created === undefined) throw new Error('no run')
  const { run_id } = created
  const usage = (cost_usd: number): RunRecord => ({
    kind: 'llm_usage',
    run_id,
    iteration: 1,
    ts: 1,
    payload: {
      input_tokens: 1,
      output_tokens: 1,
      cost_usd,
      model_name: 'priced',
      duration_ms: 1,
      omitted_turns: 0,
    },
  })
  const { total, thisIteration } = fold([created, usage(0.1), usage(0.2)]) ?? {}
  expect([total?.costUsd, thisIteration?.costUsd]).toEqual([0.3, 0.3])
})

test('records with unknown fields or kinds are refused', () => {
  const run_id = '550e8400-e29b-41d4-a716-446655440000'
  const record = { kind: 'step_start', run_id, iteration: 1, ts: 1, payload: { node: 'plan' } }
  const isValid = (more: object) => RunRecord.safeParse({ ...record, ...more }).success
  expect(isValid({})).toBe(true)
  const extra = [{ extra: 1 }, { payload: { node: 'plan', extra: 1 } }]
  const unknown = [{ payload: { node: 'nap' } }, { kind: 'nap' }, { iteration: -1 }]
  expect([...extra, ...unknown].filter(isValid)).toEqual([])
})
