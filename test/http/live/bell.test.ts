import { expect, it } from 'vitest'
import { Bell } from '../../../src/lib/signal.ts'

/** Whether a promise is settled by now. */
const settled = async (promise: Promise<void>): Promise<boolean> => {
  let done = false
  void promise.then(() => {
    done = true
  })
  await new Promise(setImmediate)
  return done
}

it('wakes all who wait, once each', async () => {
  const bell = new Bell()
  const [first, second] = [new AbortController(), new AbortController()]
  const waits = [bell.wait(first.signal), bell.wait(second.signal)]
  bell.ring()
  await Promise.all(waits)
  const again = bell.wait(first.signal)
  expect(await settled(again)).toBe(false)
  bell.ring()
  await again
})

it('lets go who leaves, now and the next time, and nobody else', async () => {
  const bell = new Bell()
  const [leaves, stays] = [new AbortController(), new AbortController()]
  bell.ring()
  const staying = bell.wait(stays.signal)
  const leaving = bell.wait(leaves.signal)
  bell.ring()
  await Promise.all([staying, leaving])
  const stayingOn = bell.wait(stays.signal)
  const left = bell.wait(leaves.signal)
  leaves.abort()
  await left
  await bell.wait(leaves.signal)
  expect(await settled(stayingOn)).toBe(false)
})

it('knows one who waits by its signal', async () => {
  const bell = new Bell()
  const { signal } = new AbortController()
  const wait = bell.wait(signal)
  expect(() => bell.wait(signal)).toThrow('somebody waits with this signal already')
  bell.ring()
  await wait
})
