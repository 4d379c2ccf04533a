import { describe, expect, test } from 'vitest'
import { by, check, claim, create, given, look, reply, result } from './support.ts'

const begun = (changes: Parameters<typeof create>[0] = {}) => [
  create({ max_turns_per_iteration: 3, ...changes }),
  claim(),
]
const working = [...begun(), check(false), look]
const cannotCheck = by('p1', {
  type: 'record',
  made: {
    goal_check: {
      achieved: false,
      reason: 'pytest is not installed',
      details: '',
      duration_ms: 1,
      verdict: 'cannot_check',
    },
  },
})
const read = [reply(['file_read']), result('c0', 'file_read')]
const change = [reply(['bash_exec']), result('c0', 'bash_exec')]

describe('before the first call of a model', () => {
  test('the goal is checked', () => {
    given(begun()[0] as never).each([claim(), '0 run_claimed, step_start evaluate'])
    given(...begun()).each([check(false), '0 goal_check'])
    given(...begun(), check(false)).each([look, '0 project_context, 1 step_start plan'])
  })

  test('a goal that is reached already ends the run without a token', () => {
    const [, end] = given(...begun())
      .when(check(true))
      .gives('0 goal_check, run_end achieved')
    expect(end?.payload).toMatchObject({ iterations: 0, total_tokens: 0, reason: 'All passed' })
  })

  test('a goal that cannot be checked ends the run, with the reason', () => {
    const [, end] = given(...begun())
      .when(cannotCheck)
      .gives('0 goal_check, run_end failed')
    expect(end?.payload).toMatchObject({
      reason: 'The goal cannot be checked: pytest is not installed',
    })
  })

  test('a run of an earlier version begins with its first iteration, as before', () => {
    given(create()).each([claim(), '0 run_claimed, 1 step_start plan'])
  })
})

describe('an iteration', () => {
  test('has one turn of the model after another, until a reply without calls', () => {
    given(...working, reply(['bash_exec'])).each([
      result('c0', 'bash_exec'),
      '1 tool_result c0 ok, step_start plan',
    ])
    given(...working, ...change, ...read).each([
      reply(),
      '1 llm_usage, assistant_message, step_start evaluate',
    ])
  })

  test('ends after the greatest number of turns that it may have', () => {
    given(...working, ...change, ...change, reply(['bash_exec'])).each([
      result('c0', 'bash_exec', 'other'),
      '1 tool_result c0 ok, step_start evaluate',
    ])
  })

  test('counts the tokens of all its turns', () => {
    const [, complete] = given(...working, ...change, ...change, reply([], 50))
      .when(check(false))
      .gives('1 goal_check, iteration_complete, 2 step_start plan')
    expect(complete?.payload).toMatchObject({ tokens: 250, cost_usd: 0.03 })
  })

  test('in which only reading calls ran ends without a check, because it would find the same', () => {
    given(...working, ...read).each([
      reply(),
      '1 llm_usage, assistant_message, iteration_complete, 2 step_start plan',
    ])
    given(...working, ...read, ...read, reply(['file_read'])).each([
      result('c0', 'file_read', 'other'),
      '1 tool_result c0 ok, iteration_complete, 2 step_start plan',
    ])
  })

  test('checks the goal after a person answered, because they may have changed the project', () => {
    const answered = [
      ...begun({ hitl_enabled: true }),
      check(false),
      look,
      reply(),
      { type: 'respond', decision: 'approve', reason: null, answers: null } as const,
      by('p1', { type: 'proceed' }),
    ]
    given(...answered).each([reply(), '2 llm_usage, assistant_message, step_start evaluate'])
  })

  test('has one chance to repair a check that has become impossible', () => {
    const broken = [...working, ...change, reply()]
    given(...broken).each([cannotCheck, '1 goal_check, iteration_complete, 2 step_start plan'])
    given(...broken, cannotCheck, ...change, reply()).each([
      cannotCheck,
      '2 goal_check, iteration_complete, run_ending',
    ])
  })
})

describe('between two turns', () => {
  test('a limit that is reached ends the work', () => {
    given(...begun({ max_tokens: 150 }), check(false), look, ...read).each([
      reply(['file_read']),
      '1 llm_usage, assistant_message, step_start act, run_ending',
    ])
  })

  test('what was changed before a limit was reached is still checked', () => {
    const spent = [...begun({ max_tokens: 150 }), check(false), look, ...change]
    given(...spent).each([
      reply(['bash_exec']),
      '1 llm_usage, assistant_message, step_start act, step_start evaluate',
    ])
    given(...spent, reply(['bash_exec'])).each(
      [check(false), '1 goal_check, iteration_complete, run_ending'],
      [check(true), '1 goal_check, iteration_complete, run_end achieved'],
    )
  })
})

describe('a run that ends without its goal', () => {
  const ending = [
    ...begun({ max_iterations: 1 }),
    check(false),
    look,
    ...change,
    reply(),
    check(false),
  ]
  const summary = by('p1', {
    type: 'record',
    made: { run_summary: { text: 'I changed a file.', source: 'log' } },
  })

  test('is summarized for people before its end, with the reason that was found first', () => {
    const { state } = given(...ending)
    const reason = 'Stopped by max_iterations: the goal was not reached in 1'
    expect(state?.phase).toEqual({ type: 'ending', reason, isSummarized: false })
    const [, end] = given(...ending)
      .when(summary)
      .gives('1 run_summary, run_end failed')
    expect(end?.payload).toMatchObject({ reason })
    expect(given(...ending, summary).state?.summary).toEqual({
      text: 'I changed a file.',
      source: 'log',
    })
  })

  test('is not summarized twice, and can be taken over and aborted before that', () => {
    given(...begun()).each([
      summary,
      {
        type: 'out_of_step',
        command: 'record',
        phase: 'evaluating',
      },
    ])
    given(...ending).each(
      [claim('p2', 'p1'), '1 run_claimed'],
      [{ type: 'abort', reason: null }, '1 run_end aborted'],
    )
  })

  test('has no summary if it has not worked, or is of an earlier version', () => {
    given(...begun({ max_tokens: 1 }), check(false), look).each([
      reply(['bash_exec']),
      '1 llm_usage, assistant_message, step_start act, run_ending',
    ])
    given(...begun({ max_seconds: 1 })).each([{ command: check(false), at: 9 }, '0 goal_check'])
    given(create({ max_iterations: 1 }), claim(), reply()).each([
      check(false),
      '1 goal_check, iteration_complete, run_end failed',
    ])
  })
})
