import { describe, expect, test } from 'vitest'
import {
  abort,
  begun,
  change,
  check,
  claim,
  create,
  given,
  look,
  proceed,
  record,
  reply,
  respond,
  result,
  story,
  working,
} from './support.ts'

const cannotCheck = record({
  goal_check: {
    achieved: false,
    reason: 'pytest is not installed',
    details: '',
    duration_ms: 1,
    verdict: 'cannot_check',
  },
})
const read = [reply(['file_read']), result('c0', 'file_read')]
const LIMITED = '1 llm_usage, assistant_message, step_start act, run_ending'

describe('before the first call of a model', () => {
  test('the goal is checked, and the project is read', () => {
    story(
      begun().slice(0, 1),
      [claim(), '0 run_claimed, step_start evaluate'],
      [check(false), '0 goal_check'],
      [look, '0 project_context, 1 step_start plan'],
    )
  })

  test('a goal that is reached already, or cannot be checked, ends the run without a token', () => {
    const totals = { iterations: 0, total_tokens: 0, reason: 'All passed' }
    const reason = 'The goal cannot be checked: pytest is not installed'
    given(...begun()).each(
      [check(true), '0 goal_check, run_end achieved', totals],
      [cannotCheck, '0 goal_check, run_end failed', { reason }],
    )
  })

  test('a run of an earlier version begins with its first iteration, as before', () => {
    given(create()).each([claim(), '0 run_claimed, 1 step_start plan'])
  })
})

describe('an iteration', () => {
  test('has one turn of the model after another, until a reply without calls, and counts their tokens', () => {
    story(
      [...working(), reply(['bash_exec'])],
      [result('c0', 'bash_exec'), '1 tool_result c0 ok, step_start plan'],
      [reply([], 50), '1 llm_usage, assistant_message, step_start evaluate'],
      [
        check(false),
        '1 goal_check, iteration_complete',
        { tokens: 150, cost_usd: 0.02 },
        '2 step_start plan',
      ],
    )
  })

  test('ends after the greatest number of turns that it may have', () => {
    given(...working(), ...change, ...change, reply(['bash_exec'])).each([
      result('c0', 'bash_exec', 'other'),
      '1 tool_result c0 ok, step_start evaluate',
    ])
  })

  test('in which only reading calls ran ends without a check, because it would find the same', () => {
    given(...working(), ...read).each([
      reply(),
      '1 llm_usage, assistant_message, iteration_complete, 2 step_start plan',
    ])
    given(...working(), ...read, ...read, reply(['file_read'])).each([
      result('c0', 'file_read', 'other'),
      '1 tool_result c0 ok, iteration_complete, 2 step_start plan',
    ])
  })

  test('checks the goal after a person answered, because they may have changed the project', () => {
    given(...working({ hitl_enabled: true }), reply(), respond('approve'), proceed).each([
      reply(),
      '2 llm_usage, assistant_message, step_start evaluate',
    ])
  })

  test('has one chance to repair a check that has become impossible', () => {
    const broken = [...working(), ...change, reply()]
    given(...broken).each([cannotCheck, '1 goal_check, iteration_complete, 2 step_start plan'])
    given(...broken, cannotCheck, ...change, reply()).each([
      cannotCheck,
      '2 goal_check, iteration_complete, run_ending',
    ])
  })
})

test('a limit that is reached between two turns ends the work, and what was changed before is still checked', () => {
  given(...working({ max_tokens: 150 }), ...read).each([reply(['file_read']), LIMITED])
  const spent = [...working({ max_tokens: 150 }), ...change]
  given(...spent).each([
    reply(['bash_exec']),
    '1 llm_usage, assistant_message, step_start act, step_start evaluate',
  ])
  given(...spent, reply(['bash_exec'])).each(
    [check(false), '1 goal_check, iteration_complete, run_ending'],
    [check(true), '1 goal_check, iteration_complete, run_end achieved'],
  )
})

describe('a run that ends without its goal', () => {
  const ending = [...working({ max_iterations: 1 }), ...change, reply(), check(false)]
  const run_summary = { text: 'I changed a file.', source: 'log' } as const
  const summary = record({ run_summary })

  test('is summarized for people before its end, with the reason that was found first', () => {
    const reason = 'Stopped by max_iterations: the goal was not reached in 1'
    expect(given(...ending).state?.phase).toEqual({ type: 'ending', reason, isSummarized: false })
    given(...ending).each([summary, '1 run_summary, run_end failed', { reason }])
    expect(given(...ending, summary).state?.summary).toEqual(run_summary)
  })

  test('is summarized only then, and can be taken over and aborted before that', () => {
    given(...begun()).each([
      summary,
      { type: 'out_of_step', command: 'record', phase: 'evaluating' },
    ])
    given(...ending).each([claim('p2', 'p1'), '1 run_claimed'], [abort, '1 run_end aborted'])
  })

  test('has no summary if it has not worked, or is of an earlier version', () => {
    given(...working({ max_tokens: 1 })).each([reply(['bash_exec']), LIMITED])
    given(...begun({ max_seconds: 1 })).each([{ command: check(false), at: 9 }, '0 goal_check'])
    given(create({ max_iterations: 1 }), claim(), reply()).each([
      check(false),
      '1 goal_check, iteration_complete, run_end failed',
    ])
  })
})
