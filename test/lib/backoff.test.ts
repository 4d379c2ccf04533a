import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Backoff, keepRunning, pauseMs, sleep } from '../../src/lib/backoff.ts'

beforeEach(() => {
  vi.useFakeTimers()
  vi.spyOn(Math, 'random').mockReturnValue(1)
})
afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

test('half of a pause is random', () => {
  vi.mocked(Math.random).mockReturnValue(0)
  expect(pauseMs([100, 500], 1)).toBe(100)
})

test('a backoff begins with the first pause again after a reset', async () => {
  const backoff = new Backoff([100, 500])
  const began = Date.now()
  const waits = async (): Promise<number> => {
    const before = Date.now()
    const wait = backoff.wait()
    await vi.advanceTimersToNextTimerAsync()
    expect(await wait).toBe(true)
    return Date.now() - before
  }
  expect([await waits(), await waits(), await waits(), await waits()]).toEqual([100, 200, 400, 500])
  expect(backoff.failures).toBe(4)
  backoff.reset()
  expect(await waits()).toBe(100)
  expect(Date.now() - began).toBe(1300)
})

test('an abort ends a pause at once, and leaves no timer and no listener', async () => {
  const abort = new AbortController()
  const removed = vi.spyOn(abort.signal, 'removeEventListener')
  const slept = sleep(1000, abort.signal)
  abort.abort()
  expect(await slept).toBe(false)
  expect(await sleep(1000, abort.signal)).toBe(false)
  expect(vi.getTimerCount()).toBe(0)
  const other = new AbortController()
  const unlistened = vi.spyOn(other.signal, 'removeEventListener')
  const whole = sleep(1000, other.signal)
  await vi.runAllTimersAsync()
  expect(await whole).toBe(true)
  expect(unlistened).toHaveBeenCalledOnce()
  expect(removed).not.toHaveBeenCalled()
})

test('a loop that throws or ends is started again until the abort, and its failures are reported', async () => {
  const abort = new AbortController()
  const failures: unknown[] = []
  let starts = 0
  const loop = async (): Promise<void> => {
    starts += 1
    if (starts === 1) throw new Error('it broke')
    if (starts === 4) {
      abort.abort()
      throw new Error('thrown by the abort')
    }
  }
  const onFailure = (cause: unknown) => failures.push(cause)
  const running = keepRunning(loop, { signal: abort.signal, retryMs: [100, 500], onFailure })
  await vi.runAllTimersAsync()
  await running
  expect(starts).toBe(4)
  expect(failures).toEqual([new Error('it broke')])
})
