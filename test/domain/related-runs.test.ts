import { describe, expect, test } from 'vitest'
import { budgetLeft } from '../../src/domain/budget.ts'
import type { SubagentEnd } from '../../src/domain/related-runs.ts'
import {
  abort,
  by,
  claim,
  claimAfterCrash,
  create,
  given,
  outOfStep,
  record,
  reply,
  result,
  type Step,
  story,
} from './support.ts'

const CHILD = '6ba7b810-9dad-41d1-80b4-00c04fd430c8'
const OTHER = '6ba7b811-9dad-41d1-80b4-00c04fd430c8'
const created = create()
if (created.type !== 'create') throw new Error('a run is created')
const { config } = created

const start = (run_id = CHILD, call_id = 'c0') =>
  record({ subagent_started: { call_id, run_id, config } })

const end = (changes: Partial<SubagentEnd> = {}): SubagentEnd => ({
  run_id: CHILD,
  status: 'achieved',
  tokens: 700,
  cost_usd: 0.07,
  waited_seconds: 5,
  seq: 9,
  hash: 'ab'.repeat(32),
  ...changes,
})

const resultWith = (subagent: SubagentEnd, outcome: 'ok' | 'error' = 'ok', callId = 'c0') =>
  result(callId, 'run_subagent', 'done', 'ok', { outcome, subagent })

const calling: readonly Step[] = [create(), claim(), reply(['run_subagent', 'run_subagent'])]
const started = [...calling, start()]

describe('a run with a sub-agent', () => {
  test('names the sub-agent of a call once, before it exists, and those of the calls that follow it', () => {
    story(
      calling,
      [start(), '1 subagent_started'],
      [start(OTHER), outOfStep('acting')],
      [start(OTHER, 'c1'), '1 subagent_started'],
    )
    given(create(), claim(), reply(['run_subagent', 'bash_exec', 'run_subagent']), start()).each([
      start(OTHER, 'c2'),
      outOfStep('acting'),
    ])
  })

  test('starts none by another tool, by a call that was not requested, or without a call', () => {
    given(create(), claim(), reply(['bash_exec'])).each([start(), outOfStep('acting')])
    given(...calling).each([start(CHILD, 'c2'), outOfStep('acting')])
    given(create(), claim()).each([start(), outOfStep('planning')])
  })

  test('counts what it used, and then begins the next call', () => {
    const { state } = given(...started, resultWith(end()))
    expect(state?.total).toEqual({ tokens: 800, costUsd: 0.08 })
    expect(state?.waitedSeconds).toBe(5)
    story(
      started,
      [resultWith(end()), '1 tool_result c0 ok, tool_call c1'],
      [start(OTHER, 'c1'), '1 subagent_started'],
    )
  })

  test('ends with the budget that the sub-agent has used up', () => {
    const limited = [create({ max_tokens: 500 }), ...started.slice(1)]
    given(...limited).each([
      resultWith(end({ status: 'failed' }), 'error'),
      '1 tool_result c0 error, run_end failed',
    ])
  })

  test('waits no longer than its sub-agents did that waited side by side', () => {
    const waited = (run_id: string, callId: string): Step => ({
      command: resultWith(end({ run_id, waited_seconds: 100 }), 'ok', callId),
      at: 104,
    })
    const both = [
      create({ max_seconds: 150 }),
      ...started.slice(1),
      start(OTHER, 'c1'),
      waited(CHILD, 'c0'),
      waited(OTHER, 'c1'),
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

  test('names it in run_end if the parent ends first, and counts what it used by then if that is known', () => {
    const fail = by('p1', { type: 'fail', message: 'disk full', traceback: '' })
    const fromLog = { subagents: [end({ status: 'running' })] }
    const ends = '1 tool_result c0 aborted, run_end aborted'
    const subagents = [CHILD]
    given(...started).each(
      [{ command: abort, fromLog }, ends, { subagents, total_tokens: 800 }],
      [abort, ends, { subagents, total_tokens: 100 }],
      [fail, '1 tool_result c0 unknown, error, run_end failed', { subagents }],
    )
  })
})
