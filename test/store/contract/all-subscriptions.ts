import { expect, test } from 'vitest'
import type { EventStore, RecordedEvent } from '../../../src/store/event-store.ts'
import {
  append,
  dense,
  newEvent,
  numbered,
  observeAll,
  readAll,
  revisions,
  uniqueName,
} from './support.ts'

const places = (events: readonly RecordedEvent[]): string[] =>
  events.map((event) => `${event.stream}@${event.revision}`)

/** The whole log, filtered by the beginning of the stream's name. */
export function allSubscriptionTests(open: () => EventStore): void {
  test('history of many streams in the order of the appends, caught up, then live', async () => {
    const prefix = uniqueName('all')
    const appended: string[] = []
    const one = async (stream: string): Promise<void> => {
      appended.push(`${stream}@${await append(open(), stream, [newEvent()])}`)
    }
    for (let n = 0; n < 40; n += 1) await one(`${prefix}-${n % 3}`)
    const observer = observeAll(open(), prefix)
    await observer.untilCaughtUp()
    expect(places(observer.events)).toEqual(appended)
    for (let n = 0; n < 40; n += 1) await one(`${prefix}-${n % 5}`)
    await observer.stopAfter(80)
    expect(places(observer.events)).toEqual(appended)
    const stored = await readAll(open(), `${prefix}-4`)
    expect(observer.events.filter((event) => event.stream === `${prefix}-4`)).toEqual(stored)
  })

  test('the prefix is matched literally', async () => {
    const prefix = `${uniqueName('prefix')}_%*`
    const inside = [prefix, `${prefix}a`, `${prefix}-b`]
    const outside = [
      prefix.slice(0, -1),
      prefix.replace('_', 'x'),
      prefix.replace('%', 'xx'),
      prefix.replace('*', 'xx'),
      prefix.toUpperCase(),
      `x${prefix}`,
    ]
    for (const stream of [...outside, ...inside]) await append(open(), stream, numbered(1))
    const observer = observeAll(open(), prefix)
    await observer.untilCaughtUp()
    for (const stream of [...outside, ...inside]) await append(open(), stream, numbered(1))
    await observer.stopAfter(6)
    expect(places(observer.events)).toEqual(
      [0, 1].flatMap((revision) => inside.map((stream) => `${stream}@${revision}`)),
    )
  })

  test('without events that have the prefix: caught up, then live', async () => {
    const prefix = uniqueName('empty')
    const observer = observeAll(open(), prefix)
    await observer.untilCaughtUp()
    await append(open(), uniqueName('elsewhere'), numbered(3))
    await append(open(), `${prefix}-1`, numbered(3))
    await observer.stopAfter(3)
    expect(places(observer.events)).toEqual([0, 1, 2].map((n) => `${prefix}-1@${n}`))
  })

  test('resuming from any seen position yields exactly the rest', async () => {
    const prefix = uniqueName('resume')
    for (let n = 0; n < 8; n += 1) {
      await append(open(), `${prefix}-${n % 2}`, numbered(1 + (n % 3)))
      await append(open(), uniqueName('between'), numbered(1))
    }
    const first = observeAll(open(), prefix)
    await first.stopAfter()
    expect(first.events).toHaveLength(15)
    for (const [index, event] of first.events.entries()) {
      const rest = observeAll(open(), prefix, event.position)
      await rest.stopAfter()
      expect(rest.events).toEqual(first.events.slice(index + 1))
    }
  })

  test('all observers see the same order while many streams are written at once', async () => {
    const prefix = uniqueName('order')
    const writers = 8
    const each = 25
    const early = observeAll(open(), prefix)
    await early.untilCaughtUp()
    const write = async (writer: number): Promise<void> => {
      for (let n = 0; n < each; n += 1) await append(open(), `${prefix}-${writer}`, numbered(2))
    }
    const written = Promise.all(dense(0, writers - 1).map(write))
    await early.untilEvents(50)
    const middle = observeAll(open(), prefix)
    await written
    const late = observeAll(open(), prefix)
    const observers = [early, middle, late]
    await Promise.all(observers.map((observer) => observer.untilEvents(writers * each * 2)))
    await Promise.all(observers.map((observer) => observer.stop()))
    expect(middle.events).toEqual(early.events)
    expect(late.events).toEqual(early.events)
    expect(new Set(early.events.map((event) => event.position)).size).toBe(writers * each * 2)
    for (const [stream, events] of Map.groupBy(early.events, (event) => event.stream)) {
      expect(revisions(events), stream).toEqual(dense(0, each * 2 - 1))
    }
  })
}
