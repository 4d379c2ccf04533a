import { describe, expect, test } from 'vitest'
import type { Conversation } from '../../src/domain/conversation.ts'
import { converse } from '../../src/domain/converse.ts'
import { toMessages } from '../../src/domain/sent-messages.ts'
import { doubtOf, type FinalCheck, type RunVerdict } from '../../src/domain/verdict.ts'
import { by, check, claim, create, given, look, reply, result } from './support.ts'

const TREE = '4'.repeat(64)
const snapshot = by('p1', {
  type: 'record',
  made: { snapshot: { tree: TREE, files: 1, bytes: 1, left_out: [], packs: [] } },
})
const begun = (changes: Parameters<typeof create>[0] = {}) => [
  create({ max_turns_per_iteration: 3, ...changes }),
  claim(),
]
const change = [reply(['bash_exec']), result('c0', 'bash_exec'), reply()]
const working = [...begun(), snapshot, check(false), look, ...change]

const modified = { path: 'tests/test_a.py', change: 'modified' } as const
const passed: FinalCheck = {
  ...{ original_checks: 'achieved', accept: null, tampering: [], dependencies: 'same', tree: TREE },
  ...{ rejected: null, reason: 'It holds.', feedback: '', duration_ms: 1 },
}
const tampered: FinalCheck = {
  ...passed,
  ...{ original_checks: 'not_achieved', tampering: [modified], rejected: 'tampering' },
  ...{ reason: 'tests/test_a.py was changed', feedback: 'Restore tests/test_a.py.' },
}
const notAccepted: FinalCheck = {
  ...passed,
  ...{ accept: 'not_achieved', rejected: 'accept', reason: 'Not accepted', feedback: 'It failed.' },
}
const finally_ = (final: FinalCheck) =>
  by('p1', {
    type: 'record',
    made: {
      goal_check: { achieved: true, reason: 'All passed', details: '', duration_ms: 1 },
      final_check: final,
    },
  })

describe('a run whose goal is reached', () => {
  test('ends with the verdict of its final check', () => {
    const records = given(...working)
      .when(finally_(passed))
      .gives('1 goal_check, final_check, iteration_complete, run_end achieved')
    expect(records.at(-1)?.payload).toMatchObject({
      achieved: true,
      verdict: { as_is: 'achieved', original_checks: 'achieved', tampering: [], tree: TREE },
    })
  })

  test('ends as achieved with changed tests if they are only reported, and says which', () => {
    const records = given(...working)
      .when(finally_({ ...tampered, rejected: null }))
      .gives('1 goal_check, final_check, iteration_complete, run_end achieved')
    expect(records.at(-1)?.payload).toMatchObject({
      verdict: { as_is: 'achieved', original_checks: 'not_achieved', tampering: [modified] },
    })
  })

  test('continues if it changed tests and may not, once', () => {
    given(...working).each([
      finally_(tampered),
      '1 goal_check, final_check, iteration_complete, 2 step_start plan',
    ])
    given(...working, finally_(tampered), ...change).each(
      [finally_(tampered), '2 goal_check, final_check, iteration_complete, run_ending'],
      [finally_(passed), '2 goal_check, final_check, iteration_complete, run_end achieved'],
    )
  })

  test('continues as often as it likes if it is not accepted, up to its limits', () => {
    given(...working, finally_(notAccepted), ...change).each([
      finally_(notAccepted),
      '2 goal_check, final_check, iteration_complete, 3 step_start plan',
    ])
    const limited = [...begun({ max_iterations: 1 }), snapshot, check(false), look, ...change]
    const records = given(...limited)
      .when(finally_(notAccepted))
      .gives('1 goal_check, final_check, iteration_complete, run_ending')
    expect(records.at(-1)?.payload).toMatchObject({ reason: expect.stringContaining('max_iter') })
  })

  test('that is reached before the agent did anything needs no second check', () => {
    const records = given(...begun(), snapshot)
      .when(check(true))
      .gives('0 goal_check, run_end achieved')
    const verdict = { as_is: 'achieved', original_checks: 'achieved', dependencies: 'same' }
    expect(records.at(-1)?.payload).toMatchObject({ verdict: { ...verdict, tree: TREE } })
  })

  test('without a snapshot, there is no verdict', () => {
    const records = given(...begun())
      .when(check(true))
      .gives('0 goal_check, run_end achieved')
    expect(records.at(-1)?.payload).not.toHaveProperty('verdict')
  })

  test('is judged by the last check: what an earlier one found is of other files', () => {
    const records = given(...working, finally_(tampered), ...change, check(false), ...change)
      .when(finally_(passed))
      .gives('3 goal_check, final_check, iteration_complete, run_end achieved')
    expect(records.at(-1)?.payload).toMatchObject({ verdict: { tampering: [] } })
  })
})

test('the model reads what it has to restore', () => {
  const records = given(...working, finally_(tampered)).records
  const conversation = records.reduce<Conversation | null>(converse, null)
  if (conversation === null) throw new Error('there is no conversation')
  const { messages } = toMessages(conversation, 100_000)
  expect(JSON.stringify(messages.at(-1))).toContain('Restore tests/test_a.py.')
})

describe('what speaks against a reached goal', () => {
  const honest: RunVerdict = {
    ...{ as_is: 'achieved', original_checks: 'achieved', accept: null, tampering: [] },
    ...{ dependencies: 'same', tree: TREE },
  }
  test.each<[Partial<RunVerdict>, string | null]>([
    [{}, null],
    [{ as_is: 'not_achieved', tampering: [modified] }, null],
    [{ original_checks: 'not_achieved' }, 'the check fails with the files of the start'],
    [{ original_checks: 'cannot_check' }, 'it was not checked with the files of the start'],
    [{ tampering: [modified] }, '1 protected file changed: tests/test_a.py'],
    [
      { tampering: ['a', 'b', 'c', 'd'].map((path) => ({ path, change: 'added' as const })) },
      '4 protected files changed: a, b, c, …',
    ],
    [{ dependencies: 'changed' }, 'installed packages changed'],
    [{ dependencies: 'reinstalled' }, null],
  ])('%j: %s', (found, doubt) => {
    expect(doubtOf({ ...honest, ...found })).toBe(doubt)
  })
})
