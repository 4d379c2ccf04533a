import { getEventListeners } from 'node:events'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { withDeadlines } from '../../../src/agent/model/deadline.ts'

const never = () => new Promise<never>(() => {})
const LONG_MS = 60_000
const within = (totalMs: number, firstMs = LONG_MS, silenceMs = LONG_MS) => ({
  totalMs,
  firstMs,
  silenceMs,
})

describe('work with a deadline', () => {
  test('passes on what it returns or throws', async () => {
    const { signal } = new AbortController()
    const cause = new Error('broken')
    expect((await withDeadlines(signal, within(LONG_MS), async () => 7))._unsafeUnwrap()).toBe(7)
    const threw = await withDeadlines(signal, within(LONG_MS), () => Promise.reject(cause))
    expect(threw._unsafeUnwrapErr()).toEqual({ type: 'threw', cause })
  })

  test('ends at its deadline or abort, even if the work ignores it', async () => {
    const run = new AbortController()
    const late = await withDeadlines(run.signal, within(1), never)
    expect(late._unsafeUnwrapErr()).toEqual({ type: 'timed_out', ms: 1 })
    const aborted = withDeadlines(run.signal, within(LONG_MS), never)
    run.abort()
    expect((await aborted)._unsafeUnwrapErr()).toEqual({ type: 'aborted' })
  })

  test('ends if it is silent for too long, at its beginning or later', async () => {
    const { signal } = new AbortController()
    const mute = await withDeadlines(signal, within(LONG_MS, 1), never)
    expect(mute._unsafeUnwrapErr()).toEqual({ type: 'silent', ms: 1 })
    const stuck = await withDeadlines(signal, within(LONG_MS, LONG_MS, 2), (_, heard) => {
      heard()
      return never()
    })
    expect(stuck._unsafeUnwrapErr()).toEqual({ type: 'silent', ms: 2 })
  })

  test('may take long if it gives signs of life', async () => {
    vi.useFakeTimers()
    onTestFinished(() => void vi.useRealTimers())
    const { signal } = new AbortController()
    const done = Promise.withResolvers<number>()
    const work = withDeadlines(signal, within(3_600_000, 60_000, 60_000), (_, heard) => {
      const timer = setInterval(heard, 50_000)
      setTimeout(() => {
        clearInterval(timer)
        done.resolve(7)
      }, 610_000)
      return done.promise
    })
    await vi.advanceTimersByTimeAsync(610_000)
    expect((await work)._unsafeUnwrap()).toBe(7)
  })

  test('aborts the signal of the work', async () => {
    const given: AbortSignal[] = []
    ;(
      await withDeadlines(new AbortController().signal, within(1), (signal) => {
        given.push(signal)
        return never()
      })
    )._unsafeUnwrapErr()
    expect(given.map(({ aborted }) => aborted)).toEqual([true])
  })

  test('leaves no listener on the signal of a long run', async () => {
    const { signal } = new AbortController()
    ;(await withDeadlines(signal, within(LONG_MS), async () => 7))._unsafeUnwrap()
    ;(await withDeadlines(signal, within(1), never))._unsafeUnwrapErr()
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })
})
