import fc from 'fast-check'
import { errAsync, ok, okAsync, ResultAsync } from 'neverthrow'
import { describe, expect, test } from 'vitest'
import { CommitFeed, type Followed, follow } from '../../../src/store/embedded/reading.ts'
import type { RecordedEvent } from '../../../src/store/event-store.ts'
import { dense, observe, revisions } from '../contract/support.ts'

const STREAM = 'followed'
const PAGE = 3

const recorded = (revision: number): RecordedEvent => {
  const texts = { id: `id-${revision}`, type: 'told', data: '{}', metadata: '{}' }
  return { ...texts, stream: STREAM, revision, position: String(revision), created: 0 }
}

/** A log in memory. Each of its reads waits for `slowly`, and returns what is stored then. */
function logInMemory(slowly: () => Promise<void>) {
  const feed = new CommitFeed()
  const log: RecordedEvent[] = []
  const followed: Followed = {
    has: (stream) => stream === STREAM,
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
        fc.integer({ min: -1, max: 5 }),
        async (scheduler, commits, start) => {
          const read = scheduler.scheduleFunction(async () => {})
          const { feed, log, followed } = logInMemory(read)
          for (let n = 0; n <= start; n += 1) log.push(recorded(n))
          const observer = observe((signal) => follow(feed, followed, start, signal))
          // A commit is in the file before it is published.
          const steps = commits.flatMap((size) => [
            async () =>
              log.push(...Array.from({ length: size }, (_, n) => recorded(log.length + n))),
            async () => feed.publish(STREAM),
          ])
          scheduler.scheduleSequence(steps)
          await scheduler.waitAll()
          const rest = log.length - 1 - start
          await scheduler.waitFor(observer.until(() => observer.caughtUpAt.length > 0))
          await scheduler.waitFor(observer.untilEvents(rest))
          await observer.stop()
          expect(revisions(observer.events)).toEqual(dense(start + 1, log.length - 1))
        },
      ),
      { numRuns: 100 },
    )
  })

  test('is caught up only when all that was committed before has been delivered', async () => {
    const { feed, log, followed } = logInMemory(() => Promise.resolve())
    const commit = (): void => {
      log.push(recorded(log.length))
      feed.publish(STREAM)
    }
    for (let n = 0; n < 5; n += 1) commit()
    const iterator = follow(feed, followed, -1, new AbortController().signal)
    for (let [step, seen, known] = [0, 0, 5]; ; step += 1) {
      const { value } = await iterator.next()
      if (value?.type !== 'events') {
        expect(seen).toBe(known)
        break
      }
      seen += value.events.length
      // After each of the first items that are delivered, something is committed.
      if (step < 4) commit()
      known = log.length
    }
    await iterator.return()
  })

  test('waits while the file cannot be read, and then continues', async () => {
    const { feed, followed } = logInMemory(() => Promise.resolve())
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
    const observer = observe((signal) => follow(feed, failing, -1, signal))
    await observer.stopAfter()
    expect(revisions(observer.events)).toEqual([0])
    expect((await warned).message).toContain('the disk hiccups')
  })
})
