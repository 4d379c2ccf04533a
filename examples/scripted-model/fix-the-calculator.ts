/**
 * A small JavaScript project with three bugs, and what a model could have said while it fixed one in
 * each iteration. Its tests need nothing but Node and npm.
 */
import type { Turn } from './script.ts'

const CALCULATOR = `// Arithmetic on lists of numbers.

export function total(numbers) {
  return numbers.reduce((sum, number) => sum + number, 0)
}

export function average(numbers) {
  if (numbers.length === 0) throw new RangeError('average of nothing')
  return total(numbers) / (numbers.length - 1)
}

export function median(numbers) {
  if (numbers.length === 0) throw new RangeError('median of nothing')
  const ordered = numbers.toSorted((one, other) => one - other)
  const middle = Math.floor(ordered.length / 2)
  return ordered[middle]
}

export function clamp(number, low, high) {
  return Math.min(low, Math.max(high, number))
}
`

const TESTS = `import assert from 'node:assert/strict'
import { test } from 'node:test'
import { average, clamp, median, total } from './calculator.js'

test('total', () => {
  assert.equal(total([1, 2, 3.5]), 6.5)
})

test('total of nothing is zero', () => {
  assert.equal(total([]), 0)
})

test('average', () => {
  assert.equal(average([2, 4, 9]), 5)
})

test('average of one number', () => {
  assert.equal(average([7]), 7)
})

test('average of nothing', () => {
  assert.throws(() => average([]), RangeError)
})

test('median of an odd count', () => {
  assert.equal(median([9, 1, 5]), 5)
})

test('median of an even count', () => {
  assert.equal(median([1, 2, 3, 10]), 2.5)
})

test('clamp keeps a number in range', () => {
  assert.equal(clamp(5, 0, 10), 5)
})

test('clamp cuts at both ends', () => {
  assert.deepEqual([clamp(-3, 0, 10), clamp(30, 0, 10)], [0, 10])
})
`

const PACKAGE = `{
  "name": "calculator",
  "private": true,
  "type": "module",
  "scripts": { "test": "node --test" }
}
`

/** Contents by path. */
export const brokenProject: Readonly<Record<string, string>> = {
  'README.md': '# calculator\n\nArithmetic on lists of numbers. Run `npm test` to test it.\n',
  'package.json': PACKAGE,
  'calculator.js': CALCULATOR,
  'calculator.test.js': TESTS,
}

export const goal = 'npm-test'

const CODE = 'calculator.js'

/** For `startScriptedModel`. The third reply fixes the last bug. */
export const script: readonly Turn[] = [
  {
    text: 'I look at the project and its tests. average() divides by one too few, so I fix that first.',
    calls: [
      { tool: 'file_list', args: {} },
      { tool: 'file_read', args: { path: CODE } },
      { tool: 'file_read', args: { path: 'calculator.test.js' } },
      {
        tool: 'file_patch',
        args: {
          path: CODE,
          old: 'return total(numbers) / (numbers.length - 1)',
          new: 'return total(numbers) / numbers.length',
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
          path: CODE,
          old: '  return ordered[middle]\n',
          new:
            '  if (ordered.length % 2 === 0) return average(ordered.slice(middle - 1, middle + 1))\n' +
            '  return ordered[middle]\n',
        },
      },
    ],
  },
  {
    text: 'Only clamp() is left: its bounds are the wrong way round.',
    calls: [
      {
        tool: 'file_patch',
        args: {
          path: CODE,
          old: 'return Math.min(low, Math.max(high, number))',
          new: 'return Math.max(low, Math.min(high, number))',
        },
      },
    ],
  },
]
