import { describe, expect, test } from 'vitest'
import { distanceOf } from '../../web/src/run/verdict.ts'
import {
  baseName,
  formatAgo,
  formatClock,
  formatDuration,
  formatOffset,
} from '../../web/src/ui/format.ts'

test.each([
  [0, '0 ms'],
  [0.34, '340 ms'],
  [0.9996, '1.0 s'],
  [59.94, '59.9 s'],
  [59.96, '1 m 00 s'],
  [3599.6, '1 h 00 m'],
  [200_000, '2 d 7 h'],
])('%s seconds last %s', (seconds, words) => {
  expect(formatDuration(seconds)).toBe(words)
})

test('times are shown as minutes and seconds', () => {
  expect([formatClock(7), formatClock(754), formatClock(3723), formatClock(-1)]).toEqual([
    '0:07',
    '12:34',
    '1:02:03',
    '0:00',
  ])
  expect([formatOffset(59.97), formatOffset(0)]).toEqual(['0:59.9', '0:00.0'])
  expect([formatAgo(0, 59_000), formatAgo(0, 3_600_000)]).toEqual(['just now', '1 h ago'])
  expect([baseName('/home/ada/shop/'), baseName('/')]).toEqual(['shop', '/'])
})

describe('the distance of a check from the goal', () => {
  test.each([
    ['3 of 42 tests failing: a, b, c', { failing: 3, total: 42 }],
    ['pytest ended with exit code 1: 1 of 1 test failing: a', { failing: 1, total: 1 }],
    ['12 type errors in 3 files, such as a.py:1', { failing: 12, total: null }],
    ['make test exited with 2', null],
  ])('%s', (reason, distance) => {
    expect(distanceOf({ achieved: false, reason })).toEqual(distance)
  })

  test('is not shown after the goal is reached', () => {
    expect(distanceOf({ achieved: true, reason: 'All 42 tests passed' })).toEqual({
      failing: 0,
      total: 42,
    })
  })
})
