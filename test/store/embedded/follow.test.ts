import fc from 'fast-check'
import { errAsync, ok, okAsync, ResultAsync } from 'neverthrow'
import { describe, expect, test } from 'vitest'
import { CommitFeed, Inbox } from '../../../src/store/embedded/commit-feed.ts'
import { type Followed, follow } from '../../../src/store/embedded/follow.ts'
import type { RecordedEvent } from '../../../src/store/event-store.ts'
import { dense, observe, revisions } from '../contract/support.ts'

const STREAM = 'followed'
const PAGE = 3

const recorded = (revision: number): RecordedEvent => {
  return {
    stream: STREAM,
    revision,
    position: String(revision),
    id: `id-${revision}`,
    type: 'told',
    data: '{}',
    metadata: '{}',
    created: 0,
  }
}

/** A log in memory. Each of its reads waits for `slowly`, and returns what is stored then. */
function logInMemory(slowly: () => Promise<void>) {
  const feed = new CommitFeed()
  const log: RecordedEvent[] = []
  const followed: Followed = {
    join: () => feed.joinStream(STREAM),
    leave: (inbox) => feed.leaveStream(STREAM, inbox),
    placeOf: (event) => event.revision,
    read: (after) => {
      const page = slowly().then(() => {
        const events = log.slice(after + 1, after + 1 + PAGE)
        return ok({ events, cursor: after + events.length, end: events.length < PAGE })
      })
      return new ResultAsync(page)
    },
  }
  return { feed, log, followed }
}

describe('a subscription', () => {
  test('sees each event once and in order, however reads and commits interleave', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 12 }),
        fc.array(fc.boolean(), { maxLength: 12 }),
        fc.integer({ min: -1, max: 5 }),
        async (scheduler, commits, late, start) => {
          const read = scheduler.scheduleFunction(async () => {})
          const { feed, log, followed } = logInMemory(read)
          for (let n = 0; n <= start; n += 1) log.push(recorded(n))
          const observer = observe((signal) => follow(followed, start, signal))
          // A commit is in the file before it is published, and commits are published in their order.
          const told: RecordedEvent[][] = []
          const tell = (): void => {
            for (const events of told.splice(0)) feed.publish(STREAM, events, 1)
          }
          const steps = commits.flatMap((size, index) => [
            async () => {
              const events = Array.from({ length: size }, (_, n) => recorded(log.length + n))
              log.push(...events)
              told.push(events)
              if (late[index] !== true) tell()
            },
            async () => tell(),
          ])
          scheduler.scheduleSequence(steps)
          await scheduler.waitAll()
          tell()
          const rest = log.length - 1 - start
          await scheduler.waitFor(observer.until(() => observer.caughtUpAt.length > 0))
          await scheduler.waitFor(observer.untilEvents(rest))
          await observer.stop()
          expect(revisions(observer.events)).toEqual(dense(start + 1, log.length - 1))
          expect(feed.hasListeners(STREAM)).toBe(false)
        },
      ),
      { numRuns: 300 },
    )
  })

  test('is caught up only when all that was committed before has been delivered', async () => {
    const { feed, log, followed } = logInMemory(() => Promise.resolve())
    const commit = (): void => {
      log.push(recorded(log.length))
      feed.publish(STREAM, log.slice(-1), 1)
    }
    for (let n = 0; n < 5; n += 1) commit()
    const { signal } = new AbortController()
    const iterator = follow(followed, -1, signal)
    let seen = 0
    for (let step = 0; ; step += 1) {
      const known = log.length
      const { value } = await iterator.next()
      if (value?.type === 'events') seen += value.events.length
      else {
        expect(seen).toBe(known)
        break
      }
      // After each of the first items that are delivered, something is committed.
      if (step < 4) commit()
    }
    await iterator.return()
    expect(feed.hasListeners(STREAM)).toBe(false)
  })

  test('that falls behind reads from the file again, and reports again that it has caught up', async () => {
    const { feed, log, followed } = logInMemory(() => Promise.resolve())
    const { signal } = new AbortController()
    const iterator = follow(followed, -1, signal)
    expect((await iterator.next()).value).toEqual({ type: 'caught_up' })
    for (let n = 0; n < 5000; n += 1) {
      log.push(recorded(n))
      feed.publish(STREAM, log.slice(-1), 1)
    }
    const seen: number[] = []
    for (;;) {
      const { value } = await iterator.next()
      if (value?.type !== 'events') break
      // A page of the file, not what was kept in memory.
      expect(value.events.length).toBeLessThanOrEqual(PAGE)
      seen.push(...revisions(value.events))
    }
    expect(seen).toEqual(dense(0, 4999))
    await iterator.return()
  })

  test('waits while the file cannot be read, and then continues', async () => {
    const { followed } = logInMemory(() => Promise.resolve())
    let reads = 0
    const failing: Followed = {
      ...followed,
      read: () => {
        reads += 1
        if (reads === 1) return errAsync({ type: 'store_failed', message: 'the disk hiccups' })
        return okAsync({ events: [recorded(0)], cursor: 0, end: true })
      },
    }
    const warned = new Promise<Error>((resolve) => process.once('warning', resolve))
    const observer = observe((signal) => follow(failing, -1, signal))
    await observer.untilCaughtUp()
    await observer.stop()
    expect(revisions(observer.events)).toEqual([0])
    expect((await warned).message).toContain('the disk hiccups')
  })
})

describe('an inbox', () => {
  test('keeps no more than its bounds, and then overflows', async () => {
    const inbox = new Inbox()
    inbox.push([recorded(0)], 3_000_000)
    expect(inbox.overflowed).toBe(false)
    inbox.push([recorded(1)], 3_000_000)
    await inbox.changed(new AbortController().signal)
    expect(inbox.overflowed).toBe(true)
    expect(inbox.take()).toEqual([])
    inbox.push([recorded(2)], 1)
    expect(inbox.take()).toEqual([])
    inbox.reset()
    inbox.push([recorded(3)], 1)
    expect(inbox.take()).toEqual([recorded(3)])
  })

  test('of a closed feed is closed', () => {
    const feed = new CommitFeed()
    const before = feed.joinAll('')
    feed.close()
    expect(before.closed).toBe(true)
    expect(feed.joinStream(STREAM).closed).toBe(true)
  })
})
