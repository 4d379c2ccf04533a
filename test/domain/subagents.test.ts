import { describe, expect, test } from 'vitest'
import { budgetLeft } from '../../src/domain/budget.ts'
import type { RunRecord } from '../../src/domain/records.ts'
import type { SubagentEnd } from '../../src/domain/subagents.ts'
import {
  altered,
  by,
  check,
  claim,
  claimAfterCrash,
  create,
  given,
  reply,
  result,
  type Step,
} from './support.ts'

const CHILD = '6ba7b810-9dad-41d1-80b4-00c04fd430c8'
const OTHER = '6ba7b811-9dad-41d1-80b4-00c04fd430c8'
const created = create()
if (created.type !== 'create') throw new Error('a run is created')
const { config, runId } = created

const start = (run_id = CHILD, call_id = 'c0') =>
  by('p1', { type: 'record', made: { subagent_started: { call_id, run_id, config } } })

const end = (changes: Partial<SubagentEnd> = {}): SubagentEnd => ({
  ...{ run_id: CHILD, status: 'achieved', tokens: 700, cost_usd: 0.07, waited_seconds: 5 },
  ...{ seq: 9, hash: 'ab'.repeat(32), ...changes },
})

const resultWith = (subagent: SubagentEnd, outcome: 'ok' | 'error' = 'ok', callId = 'c0') =>
  result(callId, 'run_subagent', 'done', 'ok', { outcome, subagent })

const calling: readonly Step[] = [create(), claim(), reply(['run_subagent', 'run_subagent'])]
const started = [...calling, start()]
const done = [...started, resultWith(end())]
const ABORT = { type: 'abort', reason: null } as const

describe('a run with a sub-agent', () => {
  test('names the sub-agent once, before it exists', () => {
    given(...calling).each([start(), '1 subagent_started'])
    given(...started).each([
      start(OTHER),
      { type: 'out_of_step', command: 'record', phase: 'acting' },
    ])
  })

  test('names those of the following calls too, because they work side by side', () => {
    given(...started).each([start(OTHER, 'c1'), '1 subagent_started'])
    given(create(), claim(), reply(['run_subagent', 'bash_exec', 'run_subagent']), start()).each([
      start(OTHER, 'c2'),
      { type: 'out_of_step', command: 'record', phase: 'acting' },
    ])
  })

  test('starts none by another tool, by a call that was not requested, or without a call', () => {
    const refused = (phase: string) => ({ type: 'out_of_step', command: 'record', phase }) as const
    given(create(), claim(), reply(['bash_exec'])).each([start(), refused('acting')])
    given(...calling).each([start(CHILD, 'c2'), refused('acting')])
    given(create(), claim()).each([start(), refused('planning')])
  })

  test('counts what it used, and then begins the next call', () => {
    const { state } = given(...started, resultWith(end()))
    expect(state?.total).toEqual({ tokens: 800, costUsd: 0.08 })
    expect(state?.waitedSeconds).toBe(5)
    given(...started).each([resultWith(end()), '1 tool_result c0 ok, tool_call c1'])
    given(...done).each([start(OTHER, 'c1'), '1 subagent_started'])
  })

  test('ends with the budget that the sub-agent has used up', () => {
    const limited = [create({ max_tokens: 500 }), ...started.slice(1)]
    given(...limited).each([
      resultWith(end({ status: 'failed' }), 'error'),
      '1 tool_result c0 error, run_end failed',
    ])
  })

  test('waits no longer than its sub-agents did that waited side by side', () => {
    const both: Step[] = [
      create({ max_seconds: 150 }),
      ...[...started.slice(1), start(OTHER, 'c1')],
      { command: resultWith(end({ waited_seconds: 100 })), at: 104 },
      {
        ...{ command: resultWith(end({ run_id: OTHER, waited_seconds: 100 }), 'ok', 'c1') },
        at: 104,
      },
    ]
    const { state } = given(...both)
    expect(state?.waitedSeconds).toBe(200)
    // It was claimed a second after it was created.
    expect(state && budgetLeft(state, 204).max_seconds).toBe(150 - (204 - 100 - 1))
  })

  test('keeps the open call through any number of crashes', () => {
    const crashed = ['p2', 'p3', 'p4'].map((process, n) => claimAfterCrash(process, `p${n + 1}`))
    given(...started, ...crashed).each([claimAfterCrash('p5', 'p4'), '1 run_claimed'])
    const before = [...calling, claim('p2', 'p1')]
    expect(given(...before).state?.phase).toMatchObject({ type: 'acting', open: { call_id: 'c0' } })
  })

  test('names it in run_end if the parent is aborted first, and counts what it used by then', () => {
    const [, ended] = given(...started)
      .when(ABORT, undefined, { subagents: [end({ status: 'running' })] })
      .gives('1 tool_result c0 aborted, run_end aborted')
    expect(ended?.payload).toMatchObject({ subagents: [CHILD], total_tokens: 800 })
    const unread = given(...started).when({ type: 'abort', reason: null })
    const [, blind] = unread.gives('1 tool_result c0 aborted, run_end aborted')
    expect(blind?.payload).toMatchObject({ subagents: [CHILD], total_tokens: 100 })
  })

  test('names it in run_end if the process fails', () => {
    const fail = by('p1', { type: 'fail', message: 'disk full', traceback: '' })
    const records = given(...started)
      .when(fail)
      .gives('1 tool_result c0 unknown, error, run_end failed')
    expect(records.at(-1)?.payload).toMatchObject({ subagents: [CHILD] })
  })
})

describe('a history that no commands can have produced is refused', () => {
  const whole = given(...done, result('c1', 'run_subagent'), check(true)).records
  const fromLog = { subagents: [end({ status: 'running' })] }
  const aborted = given(...started, { command: ABORT, fromLog }).records

  test.each<[string, readonly RunRecord[], object, string]>([
    ['a start by a call that was not requested', whole, { call_id: 'c2' }, 'subagent_started'],
    ['a start of the run itself', whole, { run_id: runId }, 'subagent_started'],
    ['the end of another run', whole, { subagent: end({ run_id: OTHER }) }, 'tool_result'],
    [
      'a success whose sub-agent failed',
      whole,
      { subagent: end({ status: 'failed' }) },
      'tool_result',
    ],
    ['an error whose sub-agent succeeded', whole, { outcome: 'error' }, 'tool_result'],
    [
      'a success whose sub-agent still runs',
      whole,
      { subagent: end({ status: 'running' }) },
      'tool_result',
    ],
    ['an end that leaves out a sub-agent', aborted, { subagents: [] }, 'run_end'],
    ['an end that names another run', aborted, { subagents: [OTHER] }, 'run_end'],
    ['an end that names one that has ended', whole, { subagents: [CHILD] }, 'run_end'],
  ])('%s', (_, records, changes, kind) => {
    expect(() => altered(records, kind, changes)).toThrow(`${kind} `)
  })

  test('the end of a run that was never started', () => {
    const unstarted = whole.filter(({ kind }) => kind !== 'subagent_started')
    expect(() => altered(unstarted, 'tool_result', {})).toThrow('has not started')
  })
})
