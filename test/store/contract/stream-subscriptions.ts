import { expect, test } from 'vitest'
import type { EventStore } from '../../../src/store/event-store.ts'
import {
  append,
  expectDense,
  newEvent,
  numbered,
  observeAll,
  observeStream,
  readAll,
  uniqueName,
} from './support.ts'

/** Catch-up, then live, on one stream. */
export function streamSubscriptionTests(open: () => EventStore): void {
  test.each([
    [1200, -1],
    [10, 0],
    [10, 8],
    [10, 9],
    // The stream does not exist yet.
    [0, -1],
  ])('of %i events, those after %i, caught up, then live', async (count, after) => {
    const stream = uniqueName('catch-up')
    if (count > 0) await append(open(), stream, numbered(count))
    const observer = observeStream(open(), stream, after)
    await observer.untilCaughtUp()
    expectDense(observer, after, count - 1)
    for (const _ of [1, 2]) await append(open(), stream, numbered(2))
    await observer.stopAfter(count - 1 - after + 4)
    expectDense(observer, after, count + 3)
    expect(observer.events).toEqual((await readAll(open(), stream)).slice(after + 1))
  })

  test('other streams, refused and repeated appends are not delivered', async () => {
    const [stream, other] = [uniqueName('mine'), uniqueName('other')]
    const observer = observeStream(open(), stream)
    await observer.untilCaughtUp()
    const first = numbered(2)
    await append(open(), stream, first, 'no_stream')
    await append(open(), other, numbered(5), 'no_stream')
    await append(open(), stream, first, 'no_stream')
    const refused = await open().append(stream, numbered(1), { expectedRevision: 0 })
    expect(refused.isErr()).toBe(true)
    await append(open(), stream, numbered(1), 1)
    await observer.stopAfter(3)
    expectDense(observer, -1, 2)
    expect(observer.events.every((event) => event.stream === stream)).toBe(true)
  })

  test('joining while others append: nothing is missing, doubled or out of order', async () => {
    const stream = uniqueName('joining')
    const total = 300
    const observers = []
    for (let n = 0; n < total; n += 1) {
      const appended = append(open(), stream, numbered(1, n), n === 0 ? 'no_stream' : n - 1)
      if (n % 30 === 0) observers.push(observeStream(open(), stream))
      await appended
    }
    await Promise.all(observers.map((observer) => observer.untilEvents(total)))
    await Promise.all(observers.map((observer) => observer.stop()))
    for (const observer of observers) expectDense(observer, -1, total - 1)
  })

  test('a slow consumer misses nothing, and delays no other', async () => {
    const stream = uniqueName('slow')
    const batches = 60
    const size = 100
    await append(open(), stream, numbered(1))
    const gate = Promise.withResolvers<void>()
    const slow = observeStream(open(), stream, -1, () => gate.promise)
    const fast = observeStream(open(), stream)
    await slow.untilEvents(1)
    for (let batch = 0; batch < batches; batch += 1) {
      const events = Array.from({ length: size }, () => newEvent({ x: 'x'.repeat(1000) }))
      await append(open(), stream, events)
    }
    const last = batches * size
    await fast.untilEvents(last + 1)
    expect(slow.events).toHaveLength(1)
    gate.resolve()
    await slow.untilEvents(last + 1)
    await slow.until(() => slow.caughtUpAt.at(-1) === last + 1)
    await Promise.all([slow.stop(), fast.stop()])
    expectDense(slow, -1, last)
    expectDense(fast, -1, last)
  })
}

/** However an observer leaves, its subscription ends cleanly. */
export function leavingTests(open: () => EventStore): void {
  test('aborting ends an iteration that waits, normally', async () => {
    const name = uniqueName('abort-waiting')
    for (const observer of [observeStream(open(), name), observeAll(open(), name)]) {
      await observer.stopAfter()
    }
  })

  test('aborting ends an iteration in the middle of history', async () => {
    const stream = uniqueName('abort-history')
    for (let n = 0; n < 5; n += 1) await append(open(), stream, numbered(1000))
    const observer = observeStream(open(), stream)
    await observer.stopAfter(1)
    expectDense(observer, -1, observer.events.length - 1)
  })

  test('a signal that is already aborted ends the iteration at once', async () => {
    const stream = uniqueName('aborted')
    await append(open(), stream, numbered(3))
    const signal = AbortSignal.abort()
    for await (const item of open().subscribeStream(stream, { after: -1, signal })) {
      expect(item).toBe('nothing is delivered')
    }
    for await (const item of open().subscribeAll({ after: null, prefix: stream, signal })) {
      expect(item).toBe('nothing is delivered')
    }
  })

  test('an observer can leave, and subscribe again after what it has', async () => {
    const stream = uniqueName('break')
    await append(open(), stream, numbered(4))
    const { signal } = new AbortController()
    let after = -1
    for await (const item of open().subscribeStream(stream, { after, signal })) {
      if (item.type === 'caught_up') break
      if (item.type === 'events') after = item.events.at(-1)?.revision ?? after
    }
    expect(after).toBe(3)
    await append(open(), stream, numbered(2))
    const observer = observeStream(open(), stream, after)
    await observer.stopAfter(2)
    expectDense(observer, 3, 5)
  })
}
