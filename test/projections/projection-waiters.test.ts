import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { ProjectionWaiters } from '../../src/projections/projection-waiters.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

test('a call waits until the record is projected, and no longer', async () => {
  const waiting = new ProjectionWaiters()
  const settled: string[] = []
  const first = waiting.wait('a', 3, 1000).then((reached) => settled.push(`3 ${reached}`))
  const second = waiting.wait('a', 5, 1000).then((reached) => settled.push(`5 ${reached}`))
  waiting.reached('a', 2)
  waiting.reached('b', 9)
  await Promise.resolve()
  expect(settled).toEqual([])
  waiting.reached('a', 4)
  await first
  expect(settled).toEqual(['3 true'])
  waiting.reached('a', 5)
  await second
  expect(settled).toEqual(['3 true', '5 true'])
  expect(vi.getTimerCount()).toBe(0)
})

test('a call waits no longer than its timeout', async () => {
  const waiting = new ProjectionWaiters()
  const reached = waiting.wait('a', 3, 1000)
  const longer = waiting.wait('a', 3, 2000)
  vi.advanceTimersByTime(1000)
  expect(await reached).toBe(false)
  waiting.reached('a', 3)
  expect(await longer).toBe(true)
})

test('giving up ends all calls', async () => {
  const waiting = new ProjectionWaiters()
  const all = [waiting.wait('a', 3, 1000), waiting.wait('a', 4, 1000), waiting.wait('b', 0, 1000)]
  waiting.giveUp()
  expect(await Promise.all(all)).toEqual([false, false, false])
  expect(vi.getTimerCount()).toBe(0)
})

test('an idle pause ends as soon as a call waits, and does not begin while one does', async () => {
  const waiting = new ProjectionWaiters()
  const pause = waiting.idleFor(600_000)
  const waiter = waiting.wait('run', 1, 600_000)
  await pause
  await waiting.idleFor(600_000)
  waiting.reached('run', 1)
  expect(await waiter).toBe(true)
  const undisturbed = waiting.idleFor(5)
  vi.advanceTimersByTime(5)
  await undisturbed
})
