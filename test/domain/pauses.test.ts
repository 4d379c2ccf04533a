import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { advance } from '../../src/domain/advance.ts'
import type { CommandOnRun } from '../../src/domain/commands.ts'
import { evolve, fold } from '../../src/domain/evolve.ts'
import { nextStep } from '../../src/domain/next-step.ts'
import type { RunRecord } from '../../src/domain/records.ts'
import type { ConfigChanges, RunConfig } from '../../src/domain/run-config.ts'
import { statusAfter, statusOf } from '../../src/domain/state.ts'
import { validRun } from '../support/run-records.ts'
import {
  altered,
  by,
  check,
  claim,
  claimAfterCrash,
  create,
  given,
  look,
  reply,
  result,
  type Step,
  usageOf,
  verified,
} from './support.ts'

const begun = (changes: Partial<RunConfig> = {}): Step[] => [
  create({ max_turns_per_iteration: 3, on_limit: 'pause', ...changes }),
  claim(),
]
const working = (changes: Partial<RunConfig>): Step[] => [...begun(changes), check(false), look]
const change = [reply(['bash_exec']), result('c0', 'bash_exec')]
/** The agent changes something, and says that it is done. */
const done = [...change, reply()]
const configure = (changes: ConfigChanges, reason: string | null = null): CommandOnRun => ({
  ...{ type: 'configure', changes, reason },
})
const respond = (decision: 'approve' | 'abort', answers: number | null = null): CommandOnRun => ({
  ...{ type: 'respond', decision, reason: null, answers },
})
const proceed = by('p1', { type: 'proceed' })

const pauseOf = (records: readonly RunRecord[]) => {
  const last = records.at(-1)
  return last?.kind === 'run_paused' ? last.payload : null
}

describe('a limit that is reached', () => {
  test('between two calls pauses the run, which continues with the next call', () => {
    const steps = working({ max_tokens: 200 })
    const two = [...change, reply(['bash_exec', 'file_read'])]
    const records = given(...steps, ...change)
      .when(reply(['bash_exec', 'file_read']))
      .gives('1 llm_usage, assistant_message, step_start act, run_paused')
    expect(pauseOf(records)).toEqual({
      by: 'max_tokens',
      reason: 'Stopped by max_tokens: 200 of 200 tokens are used',
    })
    given(...steps, ...two).each([
      configure({ max_tokens: 500 }, 'Go on'),
      '1 run_config_changed, run_resumed',
    ])
    given(...steps, ...two, configure({ max_tokens: 500 })).each([proceed, '1 tool_call c0'])
  })

  test('after a turn pauses it, and the next turn follows without a check', () => {
    const spent = [...working({ max_seconds: 5.5 }), reply(['bash_exec'])]
    const records = given(...spent)
      .when(result('c0', 'bash_exec'), 7)
      .gives('1 tool_result c0 ok, run_paused')
    expect(pauseOf(records)?.by).toBe('max_seconds')
    given(
      ...spent,
      { command: result('c0', 'bash_exec'), at: 7 },
      configure({ max_seconds: 60 }),
    ).each([proceed, '1 step_start plan'])
  })

  test('before a request pauses it, and the request is sent after that', () => {
    const failed = by('p1', { type: 'record_retry', reason: 'HTTP 529', delayMs: 1_000 })
    const steps = [...working({ max_seconds: 4.5 }), failed]
    const records = given(...steps)
      .when(proceed, 6)
      .gives('1 run_paused')
    expect(pauseOf(records)).toEqual({
      by: 'max_seconds',
      reason: 'Stopped by max_seconds: 5.0 of 4.5 seconds are used. Its model is away: HTTP 529',
    })
    const { state } = given(
      ...steps,
      { command: proceed, at: 6 },
      { command: configure({ max_seconds: null }), at: 7 },
    )
    expect(state?.phase).toEqual({ type: 'planning', failures: 0 })
  })

  test('before an iteration pauses it, and the next iteration follows, also if people are asked after each', () => {
    const steps = [...working({ max_iterations: 1, hitl_enabled: true }), ...done]
    const records = given(...steps)
      .when(check(false))
      .gives('1 goal_check, iteration_complete, run_paused')
    expect(pauseOf(records)).toEqual({
      by: 'max_iterations',
      reason: 'Stopped by max_iterations: the goal was not reached in 1',
    })
    given(...steps, check(false), configure({ max_iterations: 2 })).each([
      proceed,
      '2 step_start plan',
    ])
  })

  test('at the first check pauses it before its first iteration', () => {
    given(...begun({ max_cost_usd: 0 }), check(false)).each([look, '0 project_context, run_paused'])
    given(...begun({ max_cost_usd: 0 }), check(false), look, configure({ max_cost_usd: 1 })).each([
      proceed,
      '1 step_start plan',
    ])
  })

  test('by the price of the next request pauses it, until something is changed that this depends on', () => {
    const reason = 'Stopped by max_cost_usd: $0.0000 of $1 are spent, and the next may cost $2'
    const stop = by('p1', { type: 'stop_at_limit', reason })
    const steps = [...working({ max_cost_usd: 1 }), stop]
    given(...working({ max_cost_usd: 1 })).each([stop, '1 run_paused'])
    given(...steps).each(
      [respond('approve'), { type: 'limit_reached', limit: 'max_cost_usd', reason }],
      [configure({ hitl_enabled: true }), '1 run_config_changed'],
    )
    for (const changes of [{ max_cost_usd: 3 }, { model_name: 'gpt-5-mini' }]) {
      given(...steps).each([configure(changes), '1 run_config_changed, run_resumed'])
    }
  })

  test('does not pause a run that should end, or one that has reached its goal', () => {
    given(...working({ max_tokens: 100, on_limit: 'end' })).each([
      reply(['bash_exec']),
      '1 llm_usage, assistant_message, step_start act, run_ending',
    ])
    given(...working({ max_iterations: 1, max_tokens: 200 }), ...done).each([
      check(true),
      '1 goal_check, iteration_complete, run_end achieved',
    ])
  })

  test('pauses a run that has reached its goal, and has not read all messages', () => {
    const message = { type: 'send_message', text: 'And the docs?' } as const
    const records = given(...working({ max_iterations: 1 }), ...done, message)
      .when(check(true))
      .gives('1 goal_check, iteration_complete, run_paused')
    expect(pauseOf(records)?.reason).toBe('Stopped by max_iterations: all are used: 1')
  })
})

describe('a paused run', () => {
  const spent = [...working({ max_tokens: 100, max_cost_usd: 0.01 }), reply(['bash_exec'])]

  test('at two limits names the other one when the first is raised', () => {
    const records = given(...spent)
      .when(configure({ max_tokens: 1_000 }))
      .gives('1 run_config_changed, run_paused')
    expect(pauseOf(records)?.by).toBe('max_cost_usd')
    given(...spent, configure({ max_tokens: 1_000 })).each([
      configure({ max_cost_usd: null }),
      '1 run_config_changed, run_resumed',
    ])
    given(...spent).each(
      [configure({ max_tokens: 1_000, max_cost_usd: 1 }), '1 run_config_changed, run_resumed'],
      [configure({ max_cost_usd: 1 }), '1 run_config_changed'],
    )
  })

  test('answers its last pause, with the hash that the person was shown', () => {
    const pausedAgain = given(...spent, configure({ max_tokens: 1_000 }))
    const seq = pausedAgain.records.length - 1
    const hashes = new Map([[seq, 'a'.repeat(64)]])
    const raised = configure({ max_cost_usd: 1 }, 'It is worth it')
    const records = given(...spent, configure({ max_tokens: 1_000 }))
      .when(raised, 30, { hashes })
      .gives('1 run_config_changed, run_resumed')
    expect(records.at(-1)?.payload).toEqual({
      ...{ reason: 'It is worth it', answers: seq, shown_sha256: 'a'.repeat(64) },
    })
  })

  test('is not resumed in an altered log, with another pause or hash', () => {
    const shown = { hashes: new Map([[given(...spent).records.length - 1, 'a'.repeat(64)]]) }
    const { records } = given(...spent, configure({ max_tokens: 500, max_cost_usd: 1 }))
    verified(records)
    expect(() => altered(records, 'run_resumed', { answers: 3 })).toThrow('run_resumed answers')
    const wrong = given(...spent, {
      ...{ command: configure({ max_tokens: 500, max_cost_usd: 1 }), fromLog: shown },
    })
    expect(() => verified(wrong.records)).toThrow('names the hash')
    expect(() => verified([...records, ...given(...spent).records.slice(-1)])).not.toThrow()
    expect(() => verified([...records, ...records.slice(-1)])).toThrow('run_resumed answers')
  })

  test('is not approved at a limit, and a decision on another pause is outdated', () => {
    const reason = 'Stopped by max_tokens: 100 of 100 tokens are used'
    given(...spent).each([
      respond('approve'),
      { type: 'limit_reached', limit: 'max_tokens', reason },
    ])
    const open = given(...spent).records.length - 1
    given(...spent).each([respond('abort', 3), { type: 'stale_decision', open, answered: 3 }])
  })

  test('can be aborted', () => {
    const [end] = given(...spent)
      .when(respond('abort'))
      .gives('1 run_end aborted')
    expect(end?.payload).toMatchObject({ reason: 'Aborted while it was paused' })
    given(...spent).each([{ type: 'abort', reason: null }, '1 run_end aborted'])
  })

  test('keeps messages until it continues, and waits meanwhile', () => {
    const said = [...spent, { type: 'send_message', text: 'Hurry' } as const]
    const { state } = given(...said)
    expect(state?.messages).toEqual({ sent: 1, read: 0 })
    expect(state && statusOf(state)).toBe('paused')
    expect(state && nextStep(state)).toEqual({ type: 'await_human' })
    given(...said).each(
      [claim('p2', 'p1'), '1 run_claimed'],
      [proceed],
      [
        by('p1', { type: 'record', made: { snapshot: {} as never } }),
        {
          ...{ type: 'out_of_step', command: 'record', phase: 'paused' },
        },
      ],
    )
  })

  test('does not work: the time until it continues does not count', () => {
    const steps = [...working({ max_seconds: 5.5 }), reply(['bash_exec'])]
    const paused = [...steps, { command: result('c0', 'bash_exec'), at: 7 }]
    given(...paused).each([
      { command: configure({ max_seconds: 7 }), at: 10_000 },
      '1 run_config_changed, run_resumed',
    ])
    const raised = { command: configure({ max_seconds: 7 }), at: 10_000 }
    const { state } = given(...paused, raised)
    expect(state).toMatchObject({ waitingSince: null, waitedSeconds: 9_993, awaitsTurn: true })
    given(...paused, raised).each([{ command: proceed, at: 10_001 }, '1 step_start plan'])
  })

  test('gets no limit at or below what it has used', () => {
    const used = (changes: ConfigChanges) => {
      const steps = [...working({ max_iterations: 1 }), ...done, check(false)]
      const { state } = given(...steps)
      expect(state?.phase.type).toBe('paused')
      return given(...steps).when(configure(changes))
    }
    const refuses = (changes: ConfigChanges, ...problems: [string, string][]) =>
      used(changes).refused({
        type: 'limits_used',
        problems: problems.map(([field, what]) => ({
          field: field as never,
          message: `${field} is too low: the run has used ${what}.`,
        })),
      })
    refuses({ max_iterations: 1 }, ['max_iterations', 'one iteration'])
    refuses({ max_tokens: 200 }, ['max_tokens', '200 tokens'])
    refuses({ max_cost_usd: 0.02 }, ['max_cost_usd', '$0.0200'])
    refuses({ max_seconds: 6 }, ['max_seconds', '6.0 seconds'])
    refuses(
      { max_tokens: 1, max_seconds: 1 },
      ['max_tokens', '200 tokens'],
      [...(['max_seconds', '6.0 seconds'] as const)],
    )
    used({ max_iterations: 2, max_tokens: 201, max_seconds: 6.1 }).gives(
      '1 run_config_changed, run_resumed',
    )
  })

  test('at work may end with the present iteration, but not before it', () => {
    const second = [...working({ max_iterations: 9 }), ...done, check(false)]
    given(...second).each([configure({ max_iterations: 1 }), '2 run_config_changed'])
    const third = [...second, ...done, check(false)]
    given(...third).each([
      configure({ max_iterations: 1 }),
      {
        type: 'limits_used',
        problems: [
          {
            field: 'max_iterations',
            message: 'max_iterations is too low: the run has used 2 iterations.',
          },
        ],
      },
    ])
  })

  test('has no limit of cost that cannot be kept, because a price is not known', () => {
    given(...working({}), reply([], 100, null)).each([
      configure({ max_cost_usd: 5 }),
      {
        type: 'limits_used',
        problems: [
          {
            field: 'max_cost_usd',
            message: 'max_cost_usd is too low: the run has used calls without a known price.',
          },
        ],
      },
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
    given(...working({})).each([pause, '1 llm_usage, run_paused'])
    given(...working({}), pause).each(
      [configure({ model_name: 'gpt-5-mini', max_cost_usd: 3 }), '1 run_config_changed'],
      [respond('approve'), '1 run_resumed'],
    )
    const { state } = given(...working({}), pause, respond('approve'))
    expect(state?.phase).toEqual({ type: 'planning', failures: 0 })
    given(...working({ max_cost_usd: 0.5 }), pause).each([
      respond('approve'),
      {
        type: 'limit_reached',
        limit: 'max_cost_usd',
        reason: 'Stopped by max_cost_usd: $1.0000 of $0.5 are spent',
      },
    ])
  })

  test('is reported only while the run asks its model or checks its goal', () => {
    given(...working({}), ...done).each([pause, '1 llm_usage, run_paused'])
    given(...working({}), reply(['bash_exec'])).each([
      pause,
      { type: 'out_of_step', command: 'pause', phase: 'acting' },
    ])
  })

  test('five crashes pause it, and it tries again after an approval', () => {
    const crashes = [2, 3, 4, 5].map((n) => claimAfterCrash(`p${n}`, `p${n - 1}`))
    const fifth = claimAfterCrash('p6', 'p5')
    const records = given(...working({}), ...done, ...crashes)
      .when(fifth)
      .gives('1 run_claimed, run_paused')
    expect(pauseOf(records)).toMatchObject({
      by: 'crashes',
      reason: /* names the count */ expect.any(String),
    })
    const { state } = given(...working({}), ...done, ...crashes, fifth, respond('approve'))
    expect(state?.phase).toEqual({ type: 'evaluating' })
    given(...working({}), reply(['file_read']), ...crashes).each([
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
