import { expect, test } from 'vitest'
import { CRASH_POINTS, CrashAt } from '../../src/server/crash-points.ts'

test('every crash point can be set, for the first passage or a later one', () => {
  for (const point of CRASH_POINTS) {
    expect(CrashAt.parse(point)).toEqual({ point, time: 1 })
    expect(CrashAt.parse(`${point}#12`)).toEqual({ point, time: 12 })
  }
})

test.each(['', 'after lunch', 'after tool#0', 'after tool#x', 'after tool#1#2'])(
  '"%s" is not a crash point, and the error lists the crash points',
  (text) => {
    const message = CrashAt.safeParse(text).error?.message ?? ''
    for (const point of CRASH_POINTS) expect(message).toContain(point)
  },
)

test('a path names a file that will hold the crash point', () => {
  expect(CrashAt.parse('/tmp/crash-at')).toEqual({ file: '/tmp/crash-at' })
})
