import { getEventListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import { withDeadline } from '../../../src/agent/model/deadline.ts'

const never = () => new Promise<never>(() => {})
const LONG_MS = 60_000

describe('work with a deadline', () => {
  test('passes on what it returns or throws', async () => {
    const { signal } = new AbortController()
    const cause = new Error('broken')
    expect((await withDeadline(signal, LONG_MS, async () => 7))._unsafeUnwrap()).toBe(7)
    const threw = await withDeadline(signal, LONG_MS, () => Promise.reject(cause))
    expect(threw._unsafeUnwrapErr()).toEqual({ type: 'threw', cause })
  })

  test('ends at its deadline or abort, even if the work does not notice', async () => {
    const run = new AbortController()
    const late = await withDeadline(run.signal, 1, never)
    expect(late._unsafeUnwrapErr()).toEqual({ type: 'timed_out' })
    const aborted = withDeadline(run.signal, LONG_MS, never)
    run.abort()
    expect((await aborted)._unsafeUnwrapErr()).toEqual({ type: 'aborted' })
  })

  test('aborts the signal of the work', async () => {
    const given: AbortSignal[] = []
    ;(
      await withDeadline(new AbortController().signal, 1, (signal) => {
        given.push(signal)
        return never()
      })
    )._unsafeUnwrapErr()
    expect(given.map(({ aborted }) => aborted)).toEqual([true])
  })

  test('leaves no listener on the signal of a long run', async () => {
    const { signal } = new AbortController()
    ;(await withDeadline(signal, LONG_MS, async () => 7))._unsafeUnwrap()
    ;(await withDeadline(signal, 1, never))._unsafeUnwrapErr()
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })
})
