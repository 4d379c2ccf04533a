import { describe, expect, test } from 'vitest'
import { by, check, claim, claimAfterCrash, create, given, reply } from './support.ts'

const checking = [create(), claim(), reply()]
const reading = [create(), claim(), reply(['file_read'])]
const twice = [claimAfterCrash('p2', 'p1'), claimAfterCrash('p3', 'p2')]

describe('work that is interrupted by a crash', () => {
  test('a check is repeated after one crash and after two', () => {
    given(...checking)
      .when(claimAfterCrash('p2', 'p1'))
      .gives('1 run_claimed')
    given(...checking, claimAfterCrash('p2', 'p1'))
      .when(claimAfterCrash('p3', 'p2'))
      .gives('1 run_claimed')
    expect(given(...checking, ...twice).state?.crashes).toBe(2)
  })

  test('a check is not repeated after three crashes: the run ends, with this reason', () => {
    const records = given(...checking, ...twice)
      .when(claimAfterCrash('p4', 'p3'))
      .gives('1 run_claimed', '1 run_end failed')
    expect(records.at(-1)?.payload).toMatchObject({
      reason: 'The server crashed 3 times while the goal was checked, so it is not tried again',
    })
  })

  test('a call that only reads is not repeated after three crashes either, and has a result', () => {
    const records = given(...reading, ...twice)
      .when(claimAfterCrash('p4', 'p3'))
      .gives('1 run_claimed', '1 tool_result c0 aborted', '1 run_end failed')
    expect(records.at(-1)?.payload).toMatchObject({
      reason: expect.stringContaining('while the call of file_read ran'),
    })
  })

  test('neither a stop nor a claim of an earlier version, which records no crashes, counts as a crash', () => {
    const stops = [claim('p2', 'p1'), claim('p3', 'p2'), claim('p4', 'p3')]
    given(...checking, ...stops)
      .when(claim('p5', 'p4'))
      .gives('1 run_claimed')
    expect(given(...checking, ...twice, claim('p4', 'p3')).state?.crashes).toBe(2)
  })

  test('a change of the configuration does not reset the count of crashes', () => {
    const changed = { type: 'configure', changes: { max_iterations: 5 } } as const
    given(...checking, ...twice, changed)
      .when(claimAfterCrash('p4', 'p3'))
      .gives('1 run_claimed', '1 run_end failed')
  })

  test('an outcome resets the count of crashes', () => {
    const failing = { achieved: false, reason: '3 failing', details: '', duration_ms: 1 }
    const next = by('p3', { type: 'record_goal_check', check: failing })
    expect(given(...checking, ...twice, next).state?.crashes).toBe(0)
  })

  test('a crash does not count against the wait for a model or for a person', () => {
    const planning = given(create(), claim(), ...twice).state
    expect(planning?.crashes).toBe(0)
    given(create(), claim(), ...twice)
      .when(claimAfterCrash('p4', 'p3'))
      .gives('1 run_claimed')
    const waiting = [create({ hitl_enabled: true }), claim(), reply(), check(false)]
    given(...waiting, ...twice)
      .when(claimAfterCrash('p4', 'p3'))
      .gives('1 run_claimed')
  })
})
