import { expect, test } from 'vitest'
import { Signal } from '../../src/lib/signal.ts'

/** Whether a promise is settled. */
const settled = async (promise: Promise<void>): Promise<boolean> => {
  let done = false
  void promise.then(() => {
    done = true
  })
  await new Promise(setImmediate)
  return done
}

test('a notification wakes all that wait, once each', async () => {
  const news = new Signal()
  const first = new AbortController()
  const second = new AbortController()
  const waits = [news.wait(first.signal), news.wait(second.signal)]
  news.notify()
  await Promise.all(waits)
  const again = news.wait(first.signal)
  expect(await settled(again)).toBe(false)
  news.notify()
  await again
})

test('an abort wakes its own waiter, now and at each later wait, and no other', async () => {
  const news = new Signal()
  const leaves = new AbortController()
  const stays = new AbortController()
  news.notify()
  const staying = news.wait(stays.signal)
  const leaving = news.wait(leaves.signal)
  news.notify()
  await Promise.all([staying, leaving])
  const stayingOn = news.wait(stays.signal)
  const left = news.wait(leaves.signal)
  leaves.abort()
  await left
  await news.wait(leaves.signal)
  expect(await settled(stayingOn)).toBe(false)
})

test('a waiter that has seen fewer notifications does not wait', async () => {
  const news = new Signal()
  const { signal } = new AbortController()
  const seen = news.count
  news.notify()
  news.notify()
  await news.wait(signal, seen)
  expect(await settled(news.wait(signal, news.count))).toBe(false)
})
