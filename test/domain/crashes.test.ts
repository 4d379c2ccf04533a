import { describe, expect, test } from 'vitest'
import { nextStep } from '../../src/domain/next-step.ts'
import {
  by,
  check,
  claim,
  claimAfterCrash,
  configure,
  create,
  given,
  reply,
  respond,
  story,
} from './support.ts'

const checking = [create(), claim(), reply()]
const reading = [create(), claim(), reply(['file_read', 'file_read'])]
const crashes = (count: number) =>
  Array.from({ length: count }, (_, n) => claimAfterCrash(`p${n + 2}`, `p${n + 1}`))
const fifth = claimAfterCrash('p6', 'p5')

describe('work that is interrupted by a crash', () => {
  test('a check is repeated after four crashes, and after the fifth, the run waits for a person, who has the reason', () => {
    const summary = 'The server crashed 5 times while the goal was checked'
    story(checking, ...crashes(4).map((crash) => [crash, '1 run_claimed'] as const), [
      fifth,
      '1 run_claimed, human_check_required',
      { summary: expect.stringContaining(summary) },
    ])
    expect(given(...checking, ...crashes(4)).state?.crashes).toBe(4)
  })

  test('if the person approves, the goal is checked again, with five more tries', () => {
    const { state } = given(...checking, ...crashes(5), respond('approve'))
    if (state === null) throw new Error('there is no run')
    expect(nextStep(state)).toEqual({ type: 'check_goal' })
    expect(state).toMatchObject({ crashes: 0, iteration: 1 })
    given(...checking, ...crashes(5), respond('approve')).each([
      claimAfterCrash('p7', 'p6'),
      '1 run_claimed',
    ])
  })

  test('a call that only reads is not repeated after five crashes: it has a result, and the next call follows', () => {
    given(...reading, ...crashes(4)).each([
      fifth,
      '1 run_claimed, tool_result c0 aborted, human_check_required',
    ])
    const waiting = [...reading, ...crashes(5)]
    given(...waiting).each([respond('abort'), '1 human_check_response, run_end aborted'])
    given(...waiting, respond('approve')).each([by('p6', { type: 'proceed' }), '1 tool_call c1'])
  })

  test('neither a stop, nor a lease that ran out, nor a claim of an earlier version counts as a crash', () => {
    const expired = by('p4', {
      type: 'claim',
      expected: 'p3',
      pid: 1,
      host: 'host',
      after: 'lease_expired',
    })
    const { state, records } = given(...checking, claim('p2', 'p1'), claim('p3', 'p2'), expired)
    expect(state?.crashes).toBe(0)
    expect(records.at(-1)?.payload).toEqual({
      claimant: 'p4',
      pid: 1,
      host: 'host',
      after: 'lease_expired',
    })
    expect(given(...checking, ...crashes(2), claim('p4', 'p3')).state?.crashes).toBe(2)
  })

  test('a change of the configuration does not reset the count of crashes', () => {
    given(...checking, ...crashes(4), configure({ max_iterations: 5 })).each([
      fifth,
      '1 run_claimed, human_check_required',
    ])
  })

  test('an outcome resets the count of crashes', () => {
    const failing = { achieved: false, reason: '3 failing', details: '', duration_ms: 1 }
    const next = by('p3', { type: 'record', made: { goal_check: failing } })
    expect(given(...checking, ...crashes(2), next).state?.crashes).toBe(0)
  })

  test('a crash does not count against the wait for a model or for a person', () => {
    const planning = given(create(), claim(), ...crashes(4))
    expect(planning.state?.crashes).toBe(0)
    planning.each([fifth, '1 run_claimed'])
    const waiting = [create({ hitl_enabled: true }), claim(), reply(), check(false)]
    given(...waiting, ...crashes(4)).each([fifth, '1 run_claimed'])
  })
})
