/**
 * A small Python project with three bugs, and what a model could have said while it fixed one in
 * each iteration.
 */
import type { Turn } from './script.ts'

const CALCULATOR = `"""Arithmetic on lists of numbers."""


def total(numbers):
    result = 0
    for number in numbers:
        result += number
    return result


def average(numbers):
    if not numbers:
        raise ValueError("average of nothing")
    return total(numbers) / (len(numbers) - 1)


def median(numbers):
    if not numbers:
        raise ValueError("median of nothing")
    ordered = sorted(numbers)
    middle = len(ordered) // 2
    return ordered[middle]


def clamp(number, low, high):
    return min(low, max(high, number))
`

const TESTS = `import pytest

from calculator.core import average, clamp, median, total


def test_total():
    assert total([1, 2, 3.5]) == 6.5


def test_total_of_nothing_is_zero():
    assert total([]) == 0


def test_average():
    assert average([2, 4, 9]) == 5


def test_average_of_one_number():
    assert average([7]) == 7


def test_average_of_nothing():
    with pytest.raises(ValueError):
        average([])


def test_median_of_an_odd_count():
    assert median([9, 1, 5]) == 5


def test_median_of_an_even_count():
    assert median([1, 2, 3, 10]) == 2.5


def test_clamp_keeps_a_number_in_range():
    assert clamp(5, 0, 10) == 5


def test_clamp_cuts_at_both_ends():
    assert (clamp(-3, 0, 10), clamp(30, 0, 10)) == (0, 10)
`

/** Contents by path. */
export const brokenProject: Readonly<Record<string, string>> = {
  'README.md':
    '# calculator\n\nArithmetic on lists of numbers. Run `python3 -m pytest` to test it.\n',
  // Makes the project's folder importable, however pytest is started.
  'conftest.py': '',
  'calculator/__init__.py': '',
  'calculator/core.py': CALCULATOR,
  'tests/test_core.py': TESTS,
}

const CORE = 'calculator/core.py'

export const goal = 'pytest'

/** For `startScriptedModel`. The third reply fixes the last bug. */
export const script: readonly Turn[] = [
  {
    text: 'I look at the project and run its tests. average() divides by one too few, so I fix that first.',
    calls: [
      { tool: 'file_list', args: {} },
      { tool: 'file_read', args: { path: CORE } },
      { tool: 'run_pytest', args: {} },
      {
        tool: 'file_patch',
        args: {
          path: CORE,
          old: 'return total(numbers) / (len(numbers) - 1)',
          new: 'return total(numbers) / len(numbers)',
        },
      },
    ],
  },
  {
    text: 'average() is correct now. For an even count, median() has to take the mean of the two middle numbers.',
    calls: [
      {
        tool: 'file_patch',
        args: {
          path: CORE,
          old: '    return ordered[middle]\n',
          new:
            '    if len(ordered) % 2 == 0:\n' +
            '        return average(ordered[middle - 1 : middle + 1])\n' +
            '    return ordered[middle]\n',
        },
      },
      { tool: 'run_pytest', args: {} },
    ],
  },
  {
    text: 'Only clamp() is left: its bounds are the wrong way round.',
    calls: [
      {
        tool: 'file_patch',
        args: {
          path: CORE,
          old: 'return min(low, max(high, number))',
          new: 'return max(low, min(high, number))',
        },
      },
    ],
  },
]
