import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { advance } from '../../src/domain/advance.ts'
import { evolve, fold } from '../../src/domain/evolve.ts'
import { nextStep } from '../../src/domain/next-step.ts'
import type { RunConfig } from '../../src/domain/run-config.ts'
import { statusAfter, statusOf } from '../../src/domain/state.ts'
import { validRun } from '../support/run-records.ts'
import {
  abort,
  altered,
  begun,
  by,
  change,
  check,
  claim,
  claimAfterCrash,
  configure,
  given,
  look,
  proceed,
  record,
  reply,
  respond,
  result,
  say,
  story,
  usageOf,
  verified,
  working,
} from './support.ts'

const pausing = (changes: Partial<RunConfig> = {}) => working({ on_limit: 'pause', ...changes })
/** The agent changes something, and says that it is done. */
const done = [...change, reply()]
const RESUMED = '1 run_config_changed, run_resumed'

describe('a limit that is reached', () => {
  test('between two calls pauses the run, which continues with the next call', () => {
    const reason = 'Stopped by max_tokens: 200 of 200 tokens are used'
    story(
      [...pausing({ max_tokens: 200 }), ...change],
      [
        reply(['bash_exec', 'file_read']),
        '1 llm_usage, assistant_message, step_start act, run_paused',
        { by: 'max_tokens', reason },
      ],
      [configure({ max_tokens: 500 }, 'It is worth it'), RESUMED],
      [proceed, '1 tool_call c0'],
    )
  })

  test('after a turn pauses it, and the next turn follows without a check', () => {
    story(
      [...pausing({ max_seconds: 5.5 }), reply(['bash_exec'])],
      [
        { command: result('c0', 'bash_exec'), at: 7 },
        '1 tool_result c0 ok, run_paused',
        { by: 'max_seconds' },
      ],
      [configure({ max_seconds: 60 }), RESUMED],
      [proceed, '1 step_start plan'],
    )
  })

  test('before a request pauses it, and the request is sent after that', () => {
    const failed = by('p1', { type: 'record_retry', reason: 'HTTP 529', delayMs: 1_000 })
    const steps = [...pausing({ max_seconds: 4.5 }), failed]
    const reason =
      'Stopped by max_seconds: 5.0 of 4.5 seconds are used. Its model is away: HTTP 529'
    const late = { command: proceed, at: 6 }
    given(...steps).each([late, '1 run_paused', { by: 'max_seconds', reason }])
    const raised = { command: configure({ max_seconds: null }), at: 7 }
    const { state } = given(...steps, late, raised)
    expect(state?.phase).toEqual({ type: 'planning', failures: 0 })
  })

  test('before an iteration pauses it, and the next iteration follows, also if people are asked after each', () => {
    const reason = 'Stopped by max_iterations: the goal was not reached in 1'
    story(
      [...pausing({ max_iterations: 1, hitl_enabled: true }), ...done],
      [
        check(false),
        '1 goal_check, iteration_complete, run_paused',
        { by: 'max_iterations', reason },
      ],
      [configure({ max_iterations: 2 }), RESUMED],
      [proceed, '2 step_start plan'],
    )
  })

  test('at the first check pauses it before its first iteration', () => {
    story(
      [...begun({ on_limit: 'pause', max_cost_usd: 0 }), check(false)],
      [look, '0 project_context, run_paused'],
      [configure({ max_cost_usd: 1 }), '0 run_config_changed, run_resumed'],
      [proceed, '1 step_start plan'],
    )
  })

  test('by the price of the next request pauses it, until the configuration is changed', () => {
    const reason = 'Stopped by max_cost_usd: $0.0000 of $1 are spent, and the next may cost $2'
    const stop = by('p1', { type: 'stop_at_limit', reason })
    given(...pausing({ max_cost_usd: 1 })).each([stop, '1 run_paused'])
    given(...pausing({ max_cost_usd: 1 }), stop).each(
      [respond('approve'), { type: 'limit_reached', limit: 'max_cost_usd', reason }],
      [configure({ max_cost_usd: 3 }), RESUMED],
      [configure({ model_name: 'gpt-5-mini' }), RESUMED],
    )
  })

  test('does not pause a run that should end, or one that has reached its goal', () => {
    given(...working({ max_tokens: 100, on_limit: 'end' })).each([
      reply(['bash_exec']),
      '1 llm_usage, assistant_message, step_start act, run_ending',
    ])
    given(...pausing({ max_iterations: 1, max_tokens: 200 }), ...done).each([
      check(true),
      '1 goal_check, iteration_complete, run_end achieved',
    ])
  })

  test('pauses a run that has reached its goal, and has not read all messages', () => {
    given(...pausing({ max_iterations: 1 }), ...done, say('And the docs?')).each([
      check(true),
      '1 goal_check, iteration_complete, run_paused',
      { reason: 'Stopped by max_iterations: all are used: 1' },
    ])
  })
})

describe('a paused run', () => {
  const spent = [...pausing({ max_tokens: 100, max_cost_usd: 0.01 }), reply(['bash_exec'])]
  const open = given(...spent).records.length - 1

  test('at two limits names the other one when the first is raised', () => {
    story(
      spent,
      [
        configure({ max_tokens: 1_000 }),
        '1 run_config_changed, run_paused',
        { by: 'max_cost_usd' },
      ],
      [configure({ max_cost_usd: null }), RESUMED],
    )
    given(...spent).each(
      [configure({ max_tokens: 1_000, max_cost_usd: 1 }), RESUMED],
      [configure({ max_cost_usd: 1 }), '1 run_config_changed'],
    )
  })

  test('answers its last pause, with the hash that the person was shown', () => {
    const raised = [...spent, configure({ max_tokens: 1_000 })]
    const answers = given(...raised).records.length - 1
    const fromLog = { hashes: new Map([[answers, 'a'.repeat(64)]]) }
    const reason = 'It is worth it'
    given(...raised).each([
      { command: configure({ max_cost_usd: 1 }, reason), fromLog },
      RESUMED,
      { reason, answers, shown_sha256: 'a'.repeat(64) },
    ])
  })

  test('is not resumed in an altered log, with another pause or hash', () => {
    const raised = configure({ max_tokens: 500, max_cost_usd: 1 })
    const { records } = given(...spent, raised)
    verified(records)
    expect(() => altered(records, 'run_resumed', { answers: 3 })).toThrow('run_resumed answers')
    const fromLog = { hashes: new Map([[open, 'a'.repeat(64)]]) }
    const wrong = given(...spent, { command: raised, fromLog })
    expect(() => verified(wrong.records)).toThrow('names the hash')
    expect(() => verified([...records, ...given(...spent).records.slice(-1)])).not.toThrow()
    expect(() => verified([...records, ...records.slice(-1)])).toThrow('run_resumed answers')
  })

  test('is not approved at a limit, and a decision on another pause is outdated', () => {
    const reason = 'Stopped by max_tokens: 100 of 100 tokens are used'
    given(...spent).each(
      [respond('approve'), { type: 'limit_reached', limit: 'max_tokens', reason }],
      [respond('abort', 3), { type: 'stale_decision', open, answered: 3 }],
    )
  })

  test('can be aborted', () => {
    given(...spent).each(
      [respond('abort'), '1 run_end aborted', { reason: 'Aborted while it was paused' }],
      [abort, '1 run_end aborted'],
    )
  })

  test('keeps messages until it continues, and waits meanwhile', () => {
    const { state } = given(...spent, say('Hurry'))
    expect(state?.messages).toEqual({ sent: 1, read: 0 })
    expect(state && statusOf(state)).toBe('paused')
    expect(state && nextStep(state)).toEqual({ type: 'await_human' })
    given(...spent, say('Hurry')).each(
      [claim('p2', 'p1'), '1 run_claimed'],
      [proceed],
      [
        record({ snapshot: {} as never }),
        { type: 'out_of_step', command: 'record', phase: 'paused' },
      ],
    )
  })

  test('does not work: the time until it continues does not count', () => {
    const steps = [...pausing({ max_seconds: 5.5 }), reply(['bash_exec'])]
    const paused = [...steps, { command: result('c0', 'bash_exec'), at: 7 }]
    const raised = { command: configure({ max_seconds: 7 }), at: 10_000 }
    story(paused, [raised, RESUMED], [{ command: proceed, at: 10_001 }, '1 step_start plan'])
    const { state } = given(...paused, raised)
    expect(state).toMatchObject({ waitingSince: null, waitedSeconds: 9_993, awaitsTurn: true })
  })

  const tooLow = (...problems: [field: string, used: string][]) => ({
    type: 'limits_used',
    problems: problems.map(([field, used]) => {
      return { field, message: `${field} is too low: the run has used ${used}.` }
    }),
  })

  test('gets no limit at or below what it has used', () => {
    const seconds: [string, string] = ['max_seconds', '6.0 seconds']
    given(...pausing({ max_iterations: 1 }), ...done, check(false)).each(
      [configure({ max_iterations: 1 }), tooLow(['max_iterations', 'one iteration'])],
      [configure({ max_tokens: 200 }), tooLow(['max_tokens', '200 tokens'])],
      [configure({ max_cost_usd: 0.02 }), tooLow(['max_cost_usd', '$0.0200'])],
      [configure({ max_seconds: 6 }), tooLow(seconds)],
      [configure({ max_tokens: 1, max_seconds: 1 }), tooLow(['max_tokens', '200 tokens'], seconds)],
      [configure({ max_iterations: 2, max_tokens: 201, max_seconds: 6.1 }), RESUMED],
    )
  })

  test('at work may end with the present iteration, but not before it', () => {
    const lower = configure({ max_iterations: 1 })
    const second = [...pausing({ max_iterations: 9 }), ...done, check(false)]
    given(...second).each([lower, '2 run_config_changed'])
    given(...second, ...done, check(false)).each([
      lower,
      tooLow(['max_iterations', '2 iterations']),
    ])
  })

  test('has no limit of cost that cannot be kept, because a price is not known', () => {
    given(...pausing(), reply([], 100, null)).each([
      configure({ max_cost_usd: 5 }),
      tooLow(['max_cost_usd', 'calls without a known price']),
    ])
  })
})

describe('a fault', () => {
  const pause = by('p1', {
    type: 'pause',
    by: 'provider',
    reason: 'HTTP 529',
    usage: usageOf(9, 1),
  })

  test('of the provider pauses the run until a person approves, whatever is changed meanwhile', () => {
    story(
      pausing(),
      [pause, '1 llm_usage, run_paused'],
      [configure({ model_name: 'gpt-5-mini', max_cost_usd: 3 }), '1 run_config_changed'],
      [respond('approve'), '1 run_resumed'],
    )
    const { state } = given(...pausing(), pause, respond('approve'))
    expect(state?.phase).toEqual({ type: 'planning', failures: 0 })
    const reason = 'Stopped by max_cost_usd: $1.0000 of $0.5 are spent'
    given(...pausing({ max_cost_usd: 0.5 }), pause).each([
      respond('approve'),
      { type: 'limit_reached', limit: 'max_cost_usd', reason },
    ])
  })

  test('is reported only while the run asks its model or checks its goal', () => {
    given(...pausing(), ...done).each([pause, '1 llm_usage, run_paused'])
    given(...pausing(), reply(['bash_exec'])).each([
      pause,
      { type: 'out_of_step', command: 'pause', phase: 'acting' },
    ])
  })

  test('five crashes pause it, and it tries again after an approval', () => {
    const crashes = [2, 3, 4, 5].map((n) => claimAfterCrash(`p${n}`, `p${n - 1}`))
    const fifth = claimAfterCrash('p6', 'p5')
    const crashed = [...pausing(), ...done, ...crashes]
    given(...crashed).each([fifth, '1 run_claimed, run_paused', { by: 'crashes' }])
    const { state } = given(...crashed, fifth, respond('approve'))
    expect(state?.phase).toEqual({ type: 'evaluating' })
    given(...pausing(), reply(['file_read']), ...crashes).each([
      fifth,
      '1 run_claimed, tool_result c0 aborted, run_paused',
    ])
  })
})

describe('random runs', () => {
  test('that pause continue exactly where they stopped', () => {
    let pauses = 0
    fc.assert(
      fc.property(validRun(undefined, { maxMoves: 60 }), (records) => {
        verified(records)
        let state = fold(records.slice(0, 1))
        let at: typeof state = null
        for (const record of records.slice(1)) {
          if (state === null) return
          if (record.kind === 'run_paused' && state.phase.type !== 'paused') at = state
          const next = evolve(state, record)
          if (record.kind === 'run_paused') expect(statusAfter(record)).toBe(statusOf(next))
          if (record.kind === 'run_resumed' && at !== null) {
            pauses += 1
            const { type } = at.phase
            expect(next.phase.type).toBe(type === 'iterated' ? 'ready' : type)
            expect(next).toMatchObject({ turns: at.turns, iteration: at.iteration, goal: at.goal })
            const [first] = advance(next, new Set(), next.lastAt)
            expect(['run_paused', 'run_ending', 'human_check_required']).not.toContain(first?.kind)
          }
          state = next
        }
      }),
      { numRuns: 400 },
    )
    expect(pauses).toBeGreaterThan(5)
  })
})
