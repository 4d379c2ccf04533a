import { describe, expect, test } from 'vitest'
import { Leases } from '../../../src/agent/supervisor/leases.ts'
import type { Kind, PayloadOf, RunRecord } from '../../../src/domain/records.ts'

const RUN = '550e8400-e29b-41d4-a716-446655440000'
const LEASE = 100

const event = <K extends Kind>(kind: K, payload: PayloadOf<K>) =>
  ({ kind, run_id: RUN, iteration: 1, ts: 1, payload }) as RunRecord
const claim = (claimant: string) => event('run_claimed', { claimant, pid: 1, host: 'h' })
const step = event('step_start', { node: 'plan' })
const asked = event('human_check_required', { iteration: 1, summary: 's' })
const answered = event('human_check_response', { decision: 'approve', reason: null, answers: 1 })
const paused = event('run_paused', { by: 'provider', reason: 'away' })
const resumed = event('run_resumed', { reason: null, answers: 1 })
const changed = event('run_config_changed', { changes: { max_iterations: 9 } })
const ended = event('run_end', {
  achieved: true,
  iterations: 1,
  total_tokens: 0,
  estimated_cost_usd: null,
  status: 'achieved',
  reason: 'done',
})

/** Leases that have seen these events, one every 60 ms from 0 on. */
function having(...events: readonly RunRecord[]): Leases {
  const leases = new Leases(LEASE, null)
  for (const [n, each] of events.entries()) note(leases, each, n * 60)
  return leases
}
const note = (leases: Leases, each: RunRecord, now: number) =>
  leases.note(RUN, each.kind, each, now)
const leftBehind = [{ runId: RUN, claimant: 'x', pool: null, resting: false }]

describe('a lease', () => {
  test('expires when its holder has been silent for its full length, not earlier', () => {
    const leases = having(claim('x'))
    expect(leases.orphaned('me', 99)).toEqual([])
    expect(leases.orphaned('me', 100)).toEqual(leftBehind)
  })

  test('is renewed by every record of the holder, on any of its runs', () => {
    const leases = having(claim('x'), step)
    leases.hold({ runId: 'another', claimant: 'x', pool: null, resting: false }, 60)
    expect(leases.orphaned('me', 159)).toEqual([])
    expect(leases.orphaned('me', 160)).toHaveLength(2)
  })

  test.each([changed, event('user_message', { text: 'Hurry up.' })])(
    'is renewed by a heartbeat, not by records of people',
    (record) => {
      const leases = having(claim('x'), record)
      expect(leases.orphaned('me', 100)).toEqual(leftBehind)
      leases.heard('x', 150)
      expect(leases.orphaned('me', 249)).toEqual([])
    },
  )

  test('ends when its run ends, or when another process claims the run', () => {
    expect(having(claim('x'), ended).orphaned('me', 1_000)).toEqual([])
    const taken = having(claim('x'), claim('y'))
    expect(taken.orphaned('me', 1_000)).toEqual([{ ...leftBehind[0], claimant: 'y' }])
  })

  test('never expires for the process itself', () => {
    expect(having(claim('me')).orphaned('me', 1_000)).toEqual([])
  })

  test.each([
    [asked, answered],
    [paused, resumed],
  ])(
    'does not expire while the run waits for a person, and restarts with the answer',
    (asks, answers) => {
      const resting = having(claim('x'), asks)
      expect(resting.orphaned('me', 1_000)).toEqual([])
      note(resting, answers, 1_000)
      expect(resting.orphaned('me', 1_099)).toEqual([])
      expect(resting.orphaned('me', 1_100)).toEqual(leftBehind)
    },
  )

  test('ends at once when the holder announces that it leaves', () => {
    const leases = having(claim('x'))
    leases.left('x')
    expect(leases.orphaned('me', 1)).toEqual(leftBehind)
    // Its claim arrives only now.
    note(leases, claim('x'), 2)
    expect(leases.orphaned('me', 3)).toEqual(leftBehind)
  })

  test('is renewed after a time in which no record could be received', () => {
    const leases = having(claim('x'))
    leases.renewAll(500)
    expect(leases.orphaned('me', 599)).toEqual([])
    expect(leases.orphaned('me', 600)).toEqual(leftBehind)
  })
})
