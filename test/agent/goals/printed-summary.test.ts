import { describe, expect, test } from 'vitest'
import { readPrintedSummary } from '../../../src/agent/goals/printed-summary.ts'
import { fixture } from './support.ts'

const numbers = (output: string) => {
  const summary = readPrintedSummary(output)
  if (summary === null) return null
  const { passed, failed, skipped, expectedFailures } = summary
  return [passed, failed, skipped, expectedFailures]
}

describe('the totals that test runners print', () => {
  test.each([
    ['node-spec.txt', [2, 3, 2, 0], ['bad', 'inner bad', 'b.test.mjs']],
    ['node-tap.txt', [2, 3, 2, 0], ['bad', 'inner bad', 'b.test.mjs']],
    ['vitest.txt', [1, 1, 1, 1], ['a.test.ts > s > bad']],
    ['jest.txt', [1, 1, 2, 0], ['s › bad']],
    ['mocha.txt', [1, 1, 1, 0], []],
    ['bun-test.txt', [4, 2, 2, 0], ['bad <one>', 'grp > bad2']],
    [
      'cargo-test.stdout.txt',
      [1, 3, 1, 0],
      ['tests::sp', 'tests::bad', 'src/lib.rs - add (line 1)'],
    ],
  ])('%s', async (name, counts, names) => {
    const output = await fixture(name)
    expect(numbers(output)).toEqual(counts)
    expect(readPrintedSummary(output)?.failures.map((failure) => failure.name)).toEqual(names)
  })

  test('in pytest.txt count errors as failures', async () => {
    const output = await fixture('pytest.txt')
    expect(numbers(output)).toEqual([3, 8, 1, 1])
    expect(readPrintedSummary(output)?.failures[0]?.name).toBe('tests/test_a.py::test_bad')
  })

  test('of several runners in one output are added up', async () => {
    const both = `${await fixture('vitest.txt')}\n${await fixture('mocha.txt')}`
    expect(numbers(both)).toEqual([2, 2, 2, 1])
  })

  test.each([
    ['node', 'ℹ tests 0\nℹ pass 0\nℹ fail 0\n'],
    ['vitest', ' Test Files  1 passed (1)\n      Tests  no tests\n'],
    ['pytest', '\nno tests ran in 0.01s\n'],
  ])('of %s are zero without tests, not unknown', (_runner, output) => {
    expect(numbers(output)).toEqual([0, 0, 0, 0])
  })

  test('are found quickly in a lot of strange output', () => {
    const odd = 'not ok 1 - a\n ---\n  failureType: x\n'.repeat(25_000)
    expect(numbers(`${odd}\n# pass 1\n# fail 2\n`)).toEqual([1, 2, 0, 0])
  }, 5_000)

  test('are not seen in similar words', () => {
    expect(numbers('I ran 3 tests and 2 failed, 1 passed\nTests pass 7 of 8\n')).toBeNull()
  })
})
