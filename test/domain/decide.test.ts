import { describe, expect, test } from 'vitest'
import type { RunCommand } from '../../src/domain/commands.ts'
import type { RunState } from '../../src/domain/state.ts'
import {
  abort,
  by,
  check,
  claim,
  configure,
  create,
  given,
  proceed,
  queue,
  reply,
  respond,
  result,
  type Step,
  say,
  story,
  usageOf,
} from './support.ts'

test('a run calls tools one after the other, checks its goal after each iteration, and ends with its totals', () => {
  story(
    [],
    [create(), '0 run_created'],
    [claim(), '0 run_claimed, 1 step_start plan'],
    [
      reply(['file_read', 'bash_exec']),
      '1 llm_usage, assistant_message, step_start act, tool_call c0',
    ],
    [result('c0', 'file_read'), '1 tool_result c0 ok, tool_call c1'],
    [result('c1', 'bash_exec'), '1 tool_result c1 ok, step_start evaluate'],
    [check(false), '1 goal_check, iteration_complete, 2 step_start plan'],
    [reply([], 20, 0.5), '2 llm_usage, assistant_message, step_start evaluate'],
    [
      check(true),
      '2 goal_check, iteration_complete, run_end achieved',
      {
        achieved: true,
        status: 'achieved',
        reason: 'All passed',
        iterations: 2,
        total_tokens: 120,
        estimated_cost_usd: 0.51,
      },
    ],
  )
})

const iterated = (changes: Parameters<typeof create>[0] = {}) => [create(changes), claim(), reply()]
const waiting = [...iterated({ hitl_enabled: true }), check(false)]
const acting = [create(), claim(), reply(['bash_exec'])]

describe('people', () => {
  test('are asked after an iteration that did not reach the goal', () => {
    const summary = expect.stringContaining('make failed: 1 of 3 failed. 100 tokens used so far')
    given(...iterated({ hitl_enabled: true })).each([
      // The question quotes the last check as a part of a sentence.
      check(false, 'make failed: 1 of 3 failed, '),
      '1 goal_check, iteration_complete, step_start human_check, human_check_required',
      { summary },
    ])
  })

  test('are not asked after the last iteration, or when the goal is reached', () => {
    given(...iterated({ hitl_enabled: true, max_iterations: 1 })).each(
      [check(false), '1 goal_check, iteration_complete, run_end failed'],
      [check(true), '1 goal_check, iteration_complete, run_end achieved'],
    )
  })

  test('approve, and the process that works on the run continues; or abort, which ends it', () => {
    story(waiting, [respond('approve'), '1 human_check_response'], [proceed, '2 step_start plan'])
    given(...waiting).each([respond('abort'), '1 human_check_response, run_end aborted'])
  })

  test('cannot answer without a question, or an older question, or twice', () => {
    given(create(), claim()).each([respond('approve'), { type: 'not_awaiting_human' }])
    const open = given(...waiting).state?.seq ?? 0
    story(
      waiting,
      [respond('approve', 3), { type: 'stale_decision', open, answered: 3 }],
      [respond('approve', open), '1 human_check_response'],
      [respond('approve'), { type: 'not_awaiting_human' }],
    )
  })

  test('abort at any time, and the open call gets a result first', () => {
    given(create()).each([abort, '0 run_end aborted'])
    given(create(), claim()).each([abort, '1 run_end aborted'])
    given(...waiting).each([abort, '1 run_end aborted'])
    const result = { killed_by: 'abort' }
    given(...acting).each([abort, '1 tool_result c0 aborted', result, '1 run_end aborted'])
  })

  test('change the configuration for the steps to come', () => {
    story(
      iterated(),
      [configure({ max_iterations: 1, hitl_enabled: true }), '1 run_config_changed'],
      [check(false), '1 goal_check, iteration_complete, run_end failed'],
    )
  })
})

test.each([abort, respond('approve'), reply(), claim('p2', 'p1')])(
  'after run_end, $type is refused',
  (late) => {
    given(create(), claim(), abort).each([late, { type: 'run_ended', status: 'aborted' }])
  },
)

test('a run that does not exist takes no commands, and one that exists is created only by the same request', () => {
  const named = (sha: string) =>
    ({ ...create(), idempotency: { key: 'k', request_sha256: sha } }) as RunCommand
  given().each([abort, { type: 'run_not_found' }])
  given(create()).each([create(), { type: 'run_exists' }], [named('a'), { type: 'key_reused' }])
  given(named('a')).each(
    [named('a'), { type: 'already_created' }],
    [named('b'), { type: 'key_reused' }],
  )
})

test('another process repeats only a call that reads, and excludes the one before it', () => {
  given(create(), claim(), reply(['bash_exec', 'file_read'])).each([
    claim('p2', 'p1'),
    '1 run_claimed, tool_result c0 unknown, tool_call c1',
  ])
  given(create(), claim(), reply(['file_read'])).each([claim('p2', 'p1'), '1 run_claimed'])
  story(
    [create(), claim()],
    [claim('p2', null), { type: 'claim_lost', claimant: 'p1' }],
    [claim('p2', 'p1'), '1 run_claimed'],
    [reply(), { type: 'claim_lost', claimant: 'p2' }],
  )
})

test('an outcome that does not fit is refused', () => {
  const outOfStep = { type: 'out_of_step', command: 'record' } as const
  given(...acting).each([result('c9', 'bash_exec'), { ...outOfStep, phase: 'acting' }])
  given(create(), claim()).each([check(true), { ...outOfStep, phase: 'planning' }])
})

describe('failures', () => {
  test('of the model are counted, and the step continues', () => {
    const retry = by('p1', { type: 'record_retry', reason: 'HTTP 429', delayMs: 500 })
    story(
      [create(), claim()],
      [retry, '1 llm_retry', { attempt: 1 }],
      [retry, '1 llm_retry', { attempt: 2 }],
    )
  })

  test('end the run with an error, and the open call gets a result', () => {
    const fail = by('p1', { type: 'fail', message: 'no key', traceback: '' })
    given(create(), claim()).each([fail, '1 error, run_end failed'])
    given(...acting).each([fail, '1 tool_result c0 unknown, error, run_end failed'])
  })
})

describe('limits', () => {
  const acts = '1 llm_usage, assistant_message, step_start act'

  test('max_iterations that was lowered below the present iteration', () => {
    const lowered = configure({ max_iterations: 1 })
    given(...iterated({ max_iterations: 3 }), check(false), reply(), lowered).each([
      check(false),
      '2 goal_check, iteration_complete, run_end failed',
      {
        reason: 'Stopped by max_iterations: the goal was not reached in 2, and the limit is 1 now',
      },
    ])
  })

  test('max_tokens and max_cost_usd stop before the next tool call, also if a price is not known', () => {
    const spent = { reason: 'Stopped by max_tokens: 100 of 100 tokens are used' }
    const ends = `${acts}, run_end failed`
    given(create({ max_tokens: 100 }), claim()).each([reply(['bash_exec'], 100), ends, spent])
    const reason = (what: string) => ({ reason: expect.stringContaining(what) })
    given(create({ max_cost_usd: 0.5 }), claim()).each(
      [reply(['bash_exec'], 10, 0.5), ends, reason('max_cost_usd: $0.5000 of $0.5')],
      [reply(['bash_exec'], 10, null), ends, reason('the price of claude-sonnet-4-6 is not')],
    )
  })

  test('max_seconds counts work, not the wait for people or for a turn after their answer', () => {
    const asked = [
      { command: create({ max_seconds: 100, hitl_enabled: true }), at: 0 },
      { command: claim(), at: 0 },
      { command: reply(), at: 10 },
      { command: check(false), at: 20 },
      { command: respond('approve'), at: 5000 },
    ]
    const began = [...asked, { command: say('hi'), at: 6000 }, { command: proceed, at: 7000 }]
    const next = '2 llm_usage, assistant_message, step_start act'
    given(...began).each(
      [{ command: reply(['bash_exec']), at: 7079 }, next, '2 tool_call c0'],
      [{ command: reply(['bash_exec']), at: 7080 }, next, '2 run_end failed'],
    )
    given(...asked).each([
      { command: claim('p2', 'p1'), at: 9000 },
      '1 run_claimed, 2 step_start plan',
    ])
  })

  test('max_seconds does not count the time in which no server works on the run', () => {
    const late: RunCommand = { ...reply(['bash_exec']), claimant: 'p2' } as RunCommand
    given(
      { command: create({ max_seconds: 100 }), at: 0 },
      { command: say('hi'), at: 3000 },
      { command: claim(), at: 5000 },
      { command: claim('p2', 'p1'), at: 9000 },
    ).each(
      [{ command: late, at: 9099 }, acts, '1 tool_call c0'],
      [{ command: late, at: 9100 }, acts, '1 run_end failed'],
    )
  })

  test('an attempt to get a reply that was paid counts, also if it is the last one', () => {
    const usage = usageOf(60, 0.25)
    const retry = by('p1', { type: 'record_retry', reason: 'No name', delayMs: 9, usage })
    const fail = by('p1', { type: 'fail', message: 'No name', traceback: '', usage })
    const begun = [create({ max_tokens: 120 }), claim()]
    given(...begun).each([retry, '1 llm_usage, llm_retry'])
    const reason = 'Stopped by max_tokens: 120 of 120 tokens are used'
    const sums = { total_tokens: 120, estimated_cost_usd: 0.5 }
    given(...begun, retry).each(
      [retry, '1 llm_usage, llm_retry, run_end failed', { reason }],
      [fail, '1 llm_usage, error, run_end failed', sums],
    )
  })
})

describe('a run that no server can work on', () => {
  const queued: Step[] = [create(), queue('no key')]
  const reasonOf = ({ state }: { readonly state: RunState | null }) => state?.queued

  test('is queued once for each reason, until a server claims it', () => {
    expect(reasonOf(given(...queued))).toBe('no key')
    expect(reasonOf(given(...queued, claim()))).toBeNull()
    given(...queued).each(
      [queue('no key')],
      [queue('no folder'), '0 run_queued'],
      [queue('no server', null, false)],
      [claim(), '0 run_claimed, 1 step_start plan'],
    )
  })

  test('stays queued when a person changes it, and a person can abort it', () => {
    expect(reasonOf(given(...queued, configure({ max_iterations: 9 })))).toBe('no key')
    given(...queued).each([abort, '0 run_end aborted'])
  })

  test('is not queued if another server has claimed it, or if it waits for a person', () => {
    given(create(), claim()).each([queue('no key'), { type: 'claim_lost', claimant: 'p1' }])
    given(...waiting).each([queue('no key', 'p1')])
  })

  test('continues if its own server turns out to be alive', () => {
    given(create(), claim(), queue('silent', 'p1')).each([
      reply(),
      '1 llm_usage, assistant_message, step_start evaluate',
    ])
  })
})
