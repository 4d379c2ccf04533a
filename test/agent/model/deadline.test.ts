import { getEventListeners } from 'node:events'
import { describe, expect, it } from 'vitest'
import { withDeadline } from '../../../src/agent/model/deadline.ts'

const never = () => new Promise<never>(() => {})
const LONG_MS = 60_000

describe('work with a deadline', () => {
  it('passes on what it yields or throws', async () => {
    const { signal } = new AbortController()
    const cause = new Error('broken')
    expect((await withDeadline(signal, LONG_MS, async () => 7))._unsafeUnwrap()).toBe(7)
    const threw = await withDeadline(signal, LONG_MS, () => Promise.reject(cause))
    expect(threw._unsafeUnwrapErr()).toEqual({ type: 'threw', cause })
  })

  it('ends at its deadline or abort, though the work does not notice', async () => {
    const run = new AbortController()
    const late = await withDeadline(run.signal, 1, never)
    expect(late._unsafeUnwrapErr()).toEqual({ type: 'timed_out' })
    const aborted = withDeadline(run.signal, LONG_MS, never)
    run.abort()
    expect((await aborted)._unsafeUnwrapErr()).toEqual({ type: 'aborted' })
  })

  it('tells the work to stop', async () => {
    const given: AbortSignal[] = []
    await withDeadline(new AbortController().signal, 1, (signal) => {
      given.push(signal)
      return never()
    })
    expect(given.map(({ aborted }) => aborted)).toEqual([true])
  })

  it('leaves nothing behind on the signal of a long run', async () => {
    const { signal } = new AbortController()
    await withDeadline(signal, LONG_MS, async () => 7)
    await withDeadline(signal, 1, never)
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })
})
