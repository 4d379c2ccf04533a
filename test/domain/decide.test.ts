import { describe, expect, test } from 'vitest'
import type { RunCommand } from '../../src/domain/commands.ts'
import type { RunRecord } from '../../src/domain/records.ts'
import type { RunState } from '../../src/domain/state.ts'
import { by, check, claim, create, given, queue, reply, result, usageOf } from './support.ts'

const respond = (decision: 'approve' | 'abort', answers: number | null = null) =>
  ({ type: 'respond', decision, reason: null, answers }) as const
const abort = { type: 'abort', reason: 'enough' } as const
const message = (text: string) => ({ type: 'send_message', text }) as const

describe('one iteration', () => {
  test('a run begins with its configuration and nothing else', () => {
    given().when(create()).gives('0 run_created')
  })

  test('the first claim begins the first iteration', () => {
    given(create()).when(claim()).gives('0 run_claimed', '1 step_start plan')
  })

  test('a reply with calls starts the act step, and the first call is recorded before it runs', () => {
    given(create(), claim())
      .when(reply(['file_read', 'bash_exec']))
      .gives('1 llm_usage', '1 assistant_message', '1 step_start act', '1 tool_call c0')
  })

  test('after a reply without calls, the goal is checked', () => {
    given(create(), claim())
      .when(reply())
      .gives('1 llm_usage', '1 assistant_message', '1 step_start evaluate')
  })

  test('calls run one after the other, then the goal is checked', () => {
    const acting = [create(), claim(), reply(['file_read', 'bash_exec'])]
    given(...acting)
      .when(result('c0', 'file_read'))
      .gives('1 tool_result c0 ok', '1 tool_call c1')
    given(...acting, result('c0', 'file_read'))
      .when(result('c1', 'bash_exec'))
      .gives('1 tool_result c1 ok', '1 step_start evaluate')
  })

  test('a goal that is not reached leads to the next iteration', () => {
    given(create(), claim(), reply())
      .when(check(false))
      .gives('1 goal_check', '1 iteration_complete', '2 step_start plan')
  })

  test('a goal that is reached ends the run, with its totals', () => {
    const [, , end] = given(create(), claim(), reply([], 120, 0.5))
      .when(check(true))
      .gives('1 goal_check', '1 iteration_complete', '1 run_end achieved')
    expect(end?.payload).toEqual({
      achieved: true,
      iterations: 1,
      total_tokens: 120,
      estimated_cost_usd: 0.5,
      status: 'achieved',
      reason: 'All passed',
    })
  })
})

describe('people', () => {
  const waiting = [create({ hitl_enabled: true }), claim(), reply(), check(false)]

  test('are asked after an iteration that did not reach the goal', () => {
    given(...waiting.slice(0, 3))
      .when(check(false))
      .gives(
        '1 goal_check',
        '1 iteration_complete',
        '1 step_start human_check',
        '1 human_check_required',
      )
  })

  test('are not asked after the last iteration, or when the goal is reached', () => {
    const last = [create({ hitl_enabled: true, max_iterations: 1 }), claim(), reply()]
    given(...last)
      .when(check(false))
      .gives('1 goal_check', '1 iteration_complete', '1 run_end failed')
    given(...last)
      .when(check(true))
      .gives('1 goal_check', '1 iteration_complete', '1 run_end achieved')
  })

  test('approve, and the process that works on the run continues', () => {
    given(...waiting)
      .when(respond('approve'))
      .gives('1 human_check_response')
    given(...waiting, respond('approve'))
      .when(by('p1', { type: 'proceed' }))
      .gives('2 step_start plan')
  })

  test('abort at a human check, which ends the run at once', () => {
    given(...waiting)
      .when(respond('abort'))
      .gives('1 human_check_response', '1 run_end aborted')
  })

  test('cannot answer without a question, or an older question, or twice', () => {
    given(create(), claim()).when(respond('approve')).refused({ type: 'not_awaiting_human' })
    const open = given(...waiting).state?.seq ?? 0
    given(...waiting)
      .when(respond('approve', 3))
      .refused({ type: 'stale_decision', open, answered: 3 })
    given(...waiting)
      .when(respond('approve', open))
      .gives('1 human_check_response')
    given(...waiting, respond('approve'))
      .when(respond('approve'))
      .refused({ type: 'not_awaiting_human' })
  })

  test('abort at any time, and the open call gets a result first', () => {
    given(create()).when(abort).gives('0 run_end aborted')
    given(create(), claim()).when(abort).gives('1 run_end aborted')
    given(...waiting)
      .when(abort)
      .gives('1 run_end aborted')
    const [result] = given(create(), claim(), reply(['bash_exec']))
      .when(abort)
      .gives('1 tool_result c0 aborted', '1 run_end aborted')
    expect(result?.payload).toMatchObject({ killed_by: 'abort' })
  })

  test('change the configuration for the steps to come', () => {
    const changes = { max_iterations: 1, hitl_enabled: true } as const
    given(create(), claim(), reply())
      .when({ type: 'configure', changes })
      .gives('1 run_config_changed')
    given(create(), claim(), reply(), { type: 'configure', changes })
      .when(check(false))
      .gives('1 goal_check', '1 iteration_complete', '1 run_end failed')
  })
})

describe('after run_end', () => {
  const ended = [create(), claim(), abort]
  test.each([abort, respond('approve'), reply(), claim('p2', 'p1')])('$type is refused', (late) => {
    given(...ended)
      .when(late)
      .refused({ type: 'run_ended', status: 'aborted' })
  })
})

describe('a run that does not exist, or exists already', () => {
  test('takes no commands', () => given().when(abort).refused({ type: 'run_not_found' }))
  test('is not created twice', () => given(create()).when(create()).refused({ type: 'run_exists' }))
  test('is returned if the same request with the same key created it', () => {
    const named = (sha: string) =>
      ({ ...create(), idempotency: { key: 'k', request_sha256: sha } }) as RunCommand
    given(named('a')).when(named('a')).refused({ type: 'already_created' })
    given(named('a')).when(named('b')).refused({ type: 'key_reused' })
    given(create()).when(named('a')).refused({ type: 'key_reused' })
  })
})

describe('another process', () => {
  test('does not repeat a call that may have had an effect', () => {
    given(create(), claim(), reply(['bash_exec', 'file_read']))
      .when(claim('p2', 'p1'))
      .gives('1 run_claimed', '1 tool_result c0 unknown', '1 tool_call c1')
  })

  test('repeats a call that only reads', () => {
    given(create(), claim(), reply(['file_read']))
      .when(claim('p2', 'p1'))
      .gives('1 run_claimed')
  })

  test('excludes the previous one', () => {
    given(create(), claim(), claim('p2', 'p1'))
      .when(reply())
      .refused({ type: 'claim_lost', claimant: 'p2' })
  })

  test('does not take over a run that has a newer claim', () => {
    given(create(), claim()).when(claim('p2', null)).refused({ type: 'claim_lost', claimant: 'p1' })
  })
})

describe('outcomes that do not fit', () => {
  test('a result for another call', () => {
    given(create(), claim(), reply(['file_read']))
      .when(result('c9', 'file_read'))
      .refused({ type: 'out_of_step', command: 'record', phase: 'acting' })
  })
  test('a goal check while the model is asked', () => {
    given(create(), claim())
      .when(check(true))
      .refused({ type: 'out_of_step', command: 'record', phase: 'planning' })
  })
})

describe('failures', () => {
  const retry = by('p1', { type: 'record_retry', reason: 'HTTP 429', delayMs: 500 })
  test('of the model are counted, and the step continues', () => {
    const [first] = given(create(), claim()).when(retry).gives('1 llm_retry')
    expect(first?.payload).toMatchObject({ attempt: 1 })
    const [second] = given(create(), claim(), retry).when(retry).gives('1 llm_retry')
    expect(second?.payload).toMatchObject({ attempt: 2 })
  })

  test('end the run with an error, and the open call gets a result', () => {
    const fail = by('p1', { type: 'fail', message: 'no key', traceback: '' })
    given(create(), claim()).when(fail).gives('1 error', '1 run_end failed')
    given(create(), claim(), reply(['bash_exec']))
      .when(fail)
      .gives('1 tool_result c0 unknown', '1 error', '1 run_end failed')
  })
})

test('the question whether a run may continue quotes the last check as a part of a sentence', () => {
  const asked = ['1 goal_check', '1 iteration_complete', '1 step_start human_check'] as const
  const records = given(create({ hitl_enabled: true }), claim(), reply())
    .when(check(false, 'make failed: 1 of 3 failed, '))
    .gives(...asked, '1 human_check_required')
  const question = records.find(({ kind }) => kind === 'human_check_required')
  expect(question?.payload).toMatchObject({
    summary: expect.stringContaining('make failed: 1 of 3 failed. 100 tokens used so far'),
  })
})

describe('limits', () => {
  const endReason = (records: readonly RunRecord[]) => {
    const last = records.at(-1)
    return last?.kind === 'run_end' ? last.payload.reason : undefined
  }

  test('max_iterations that was lowered below the present iteration', () => {
    const changes = { max_iterations: 1 } as const
    const records = given(create({ max_iterations: 3 }), claim(), reply(), check(false), reply(), {
      type: 'configure',
      changes,
    })
      .when(check(false))
      .gives('2 goal_check', '2 iteration_complete', '2 run_end failed')
    expect(endReason(records)).toBe(
      'Stopped by max_iterations: the goal was not reached in 2, and the limit is 1 now',
    )
  })

  test('max_tokens stops before the next tool call', () => {
    const records = given(create({ max_tokens: 100 }), claim())
      .when(reply(['bash_exec'], 100))
      .gives('1 llm_usage', '1 assistant_message', '1 step_start act', '1 run_end failed')
    expect(endReason(records)).toBe('Stopped by max_tokens: 100 of 100 tokens are used')
  })

  test('max_cost_usd, also if a price is not known', () => {
    const spent = given(create({ max_cost_usd: 0.5 }), claim())
      .when(reply(['bash_exec'], 10, 0.5))
      .gives('1 llm_usage', '1 assistant_message', '1 step_start act', '1 run_end failed')
    expect(endReason(spent)).toContain('max_cost_usd: $0.5000 of $0.5')
    const unknown = given(create({ max_cost_usd: 0.5 }), claim())
      .when(reply(['bash_exec'], 10, null))
      .gives('1 llm_usage', '1 assistant_message', '1 step_start act', '1 run_end failed')
    expect(endReason(unknown)).toContain('the price of claude-sonnet-4-6 is not known')
  })

  test('max_seconds counts work, not the wait for people or for a turn after their answer', () => {
    const limited = create({ max_seconds: 100, hitl_enabled: true })
    const asked = [
      { command: limited, at: 0 },
      { command: claim(), at: 0 },
      { command: reply(), at: 10 },
      { command: check(false), at: 20 },
    ]
    const proceed = by('p1', { type: 'proceed' })
    const answered = [
      ...[...asked, { command: respond('approve'), at: 5000 }],
      ...[
        { command: message('hi'), at: 6000 },
        { command: proceed, at: 7000 },
      ],
    ]
    const next = ['2 llm_usage', '2 assistant_message', '2 step_start act'] as const
    given(...answered)
      .when(reply(['bash_exec']), 7079)
      .gives(...next, '2 tool_call c0')
    given(...answered)
      .when(reply(['bash_exec']), 7080)
      .gives(...next, '2 run_end failed')
    given(...asked, { command: respond('approve'), at: 5000 })
      .when(claim('p2', 'p1'), 9000)
      .gives('1 run_claimed', '2 step_start plan')
  })

  test('an attempt to get a reply that was paid counts, also if it is the last one', () => {
    const usage = usageOf(60, 0.25)
    const retry = by('p1', { type: 'record_retry', reason: 'No name', delayMs: 9, usage })
    const once = given(create({ max_tokens: 120 }), claim())
    once.when(retry).gives('1 llm_usage', '1 llm_retry')
    const twice = given(create({ max_tokens: 120 }), claim(), retry)
    const spent = twice.when(retry).gives('1 llm_usage', '1 llm_retry', '1 run_end failed')
    expect(endReason(spent)).toBe('Stopped by max_tokens: 120 of 120 tokens are used')
    const fail = by('p1', { type: 'fail', message: 'No name', traceback: '', usage })
    const [, , end] = twice.when(fail).gives('1 llm_usage', '1 error', '1 run_end failed')
    expect(end?.payload).toMatchObject({ total_tokens: 120, estimated_cost_usd: 0.5 })
  })
})

test('max_seconds does not count the time in which no server works on the run', () => {
  const limited = { command: create({ max_seconds: 100 }), at: 0 }
  const turn = { command: claim(), at: 5000 }
  const restarted = { command: claim('p2', 'p1'), at: 9000 }
  const late = { ...reply(['bash_exec']), claimant: 'p2' } as const
  const answered = ['1 llm_usage', '1 assistant_message', '1 step_start act'] as const
  const words = { command: message('hi'), at: 3000 }
  given(limited, words, turn, restarted)
    .when(late, 9099)
    .gives(...answered, '1 tool_call c0')
  given(limited, words, turn, restarted)
    .when(late, 9100)
    .gives(...answered, '1 run_end failed')
})

describe('a run that no server can work on', () => {
  const reasonOf = ({ state }: { readonly state: RunState | null }) => state?.queued

  test('is queued until a server claims it', () => {
    const queued = given(create(), queue('no key'))
    expect(reasonOf(queued)).toBe('no key')
    queued.when(claim()).gives('0 run_claimed', '1 step_start plan')
    expect(reasonOf(given(create(), queue('no key'), claim()))).toBeNull()
  })

  test('stays queued when a person changes it, and a person can abort it', () => {
    const configure = { type: 'configure', changes: { max_iterations: 9 } } as const
    expect(reasonOf(given(create(), queue('no key'), configure))).toBe('no key')
    given(create(), queue('no key')).when(abort).gives('0 run_end aborted')
  })

  test('is queued once for each reason', () => {
    const queued = given(create(), queue('no key'))
    queued.when(queue('no key')).gives()
    queued.when(queue('no folder')).gives('0 run_queued')
    queued.when(queue('no server', null, false)).gives()
  })

  test('is not queued if another server has claimed it, or if it waits for a person', () => {
    given(create(), claim()).when(queue('no key')).refused({ type: 'claim_lost', claimant: 'p1' })
    const waiting = [create({ hitl_enabled: true }), claim(), reply(), check(false)]
    given(...waiting)
      .when(queue('no key', 'p1'))
      .gives()
  })

  test('continues if its own server turns out to be alive', () => {
    given(create(), claim(), queue('silent', 'p1'))
      .when(reply())
      .gives('1 llm_usage', '1 assistant_message', '1 step_start evaluate')
  })
})
