import { describe, expect, test } from 'vitest'
import { doubtOf, type FinalCheck, type RunVerdict } from '../../src/domain/verdict.ts'
import {
  begun,
  change,
  check,
  conversationOf,
  given,
  look,
  record,
  reply,
  textsIn,
} from './support.ts'

const TREE = '4'.repeat(64)
const snapshot = record({
  snapshot: { tree: TREE, files: 1, bytes: 1, left_out: [], packs: [] },
})
const done = [...change, reply()]
const working = (changes: Parameters<typeof begun>[0] = {}) => [
  ...begun(changes),
  snapshot,
  check(false),
  look,
  ...done,
]

const modified = { path: 'tests/test_a.py', change: 'modified' } as const
const passed: FinalCheck = {
  original_checks: 'achieved',
  accept: null,
  tampering: [],
  dependencies: 'same',
  tree: TREE,
  rejected: null,
  reason: 'It holds.',
  feedback: '',
  duration_ms: 1,
}
const tampered: FinalCheck = {
  ...passed,
  original_checks: 'not_achieved',
  tampering: [modified],
  rejected: 'tampering',
  reason: 'tests/test_a.py was changed',
  feedback: 'Restore tests/test_a.py.',
}
const notAccepted: FinalCheck = {
  ...passed,
  accept: 'not_achieved',
  rejected: 'accept',
  reason: 'Not accepted',
  feedback: 'It failed.',
}
const finally_ = (final_check: FinalCheck) =>
  record({
    goal_check: { achieved: true, reason: 'All passed', details: '', duration_ms: 1 },
    final_check,
  })
const CHECKED = 'goal_check, final_check, iteration_complete'

describe('a run whose goal is reached', () => {
  test('ends with the verdict of its final check, which names changed tests that are only reported', () => {
    const verdict = { as_is: 'achieved', tree: TREE }
    const honest = { ...verdict, original_checks: 'achieved', tampering: [] }
    const reported = { ...verdict, original_checks: 'not_achieved', tampering: [modified] }
    const ends = `1 ${CHECKED}, run_end achieved`
    given(...working()).each(
      [finally_(passed), ends, { achieved: true, verdict: honest }],
      [finally_({ ...tampered, rejected: null }), ends, { verdict: reported }],
    )
  })

  test('continues if it changed tests and may not, once', () => {
    given(...working()).each([finally_(tampered), `1 ${CHECKED}, 2 step_start plan`])
    given(...working(), finally_(tampered), ...done).each(
      [finally_(tampered), `2 ${CHECKED}, run_ending`],
      [finally_(passed), `2 ${CHECKED}, run_end achieved`],
    )
  })

  test('continues as often as it likes if it is not accepted, up to its limits', () => {
    given(...working(), finally_(notAccepted), ...done).each([
      finally_(notAccepted),
      `2 ${CHECKED}, 3 step_start plan`,
    ])
    const reason = expect.stringContaining('max_iter')
    given(...working({ max_iterations: 1 })).each([
      finally_(notAccepted),
      `1 ${CHECKED}, run_ending`,
      { reason },
    ])
  })

  test('before the agent did anything needs no second check, and without a snapshot, there is no verdict', () => {
    const verdict = { as_is: 'achieved', original_checks: 'achieved', dependencies: 'same' }
    const ends = '0 goal_check, run_end achieved'
    given(...begun(), snapshot).each([check(true), ends, { verdict: { ...verdict, tree: TREE } }])
    const { records } = given(...begun(), check(true))
    expect(records.at(-1)?.payload).not.toHaveProperty('verdict')
  })

  test('is judged by the last check: what an earlier one found is of other files', () => {
    given(...working(), finally_(tampered), ...done, check(false), ...done).each([
      finally_(passed),
      `3 ${CHECKED}, run_end achieved`,
      { verdict: { tampering: [] } },
    ])
  })
})

test('the model reads what it has to restore', () => {
  const { records } = given(...working(), finally_(tampered))
  expect(textsIn(conversationOf(records)).at(-1)).toContain('Restore tests/test_a.py.')
})

describe('what speaks against a reached goal', () => {
  const honest: RunVerdict = {
    as_is: 'achieved',
    original_checks: 'achieved',
    accept: null,
    tampering: [],
    dependencies: 'same',
    tree: TREE,
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
