import { randomUUID } from 'node:crypto'
import { errAsync, okAsync } from 'neverthrow'
import { expect, test } from 'vitest'
import type { LiveDeps } from '../../../src/http/live/deps.ts'
import type { Frame } from '../../../src/http/live/frame.ts'
import { PageCache } from '../../../src/http/live/topics.ts'
import { streamOf } from '../../../src/log/run-log.ts'
import type { ReadOptions, RecordedEvent } from '../../../src/store/event-store.ts'
import { eventsOf } from '../../audit/support.ts'
import { changeOf } from '../../support/requests.ts'
import { createdRecord } from '../../support/run-records.ts'

const LENGTH = 60
const readModel = { get: () => null, caughtUp: true, waitFor: async () => true }

function storedRun(): { readonly runId: string; readonly events: RecordedEvent[] } {
  const runId = randomUUID()
  const changes = Array.from({ length: LENGTH - 1 }, (_, n) => changeOf(runId, 'm'.repeat(1 + n)))
  const records = [createdRecord(runId), ...changes]
  return { runId, events: eventsOf(records) }
}

/** A cache over a store of some runs that counts its reads, and fails as often as `failures` says. */
function cacheOf(runs: readonly ReturnType<typeof storedRun>[], { failures = 0 } = {}) {
  const reads: ReadOptions[] = []
  let left = failures
  const readStream: LiveDeps['store']['readStream'] = (stream, options) => {
    reads.push(options)
    left -= 1
    if (left >= 0) return errAsync({ type: 'store_unavailable', message: 'away' })
    const from = Number(options.from)
    const run = runs.find(({ runId }) => streamOf(runId) === stream)
    return okAsync(run?.events.slice(from, from + options.limit) ?? [])
  }
  const store = { readStream } as LiveDeps['store']
  const cache = new PageCache({ store, readModel })
  const after = async (runId: string, cursor: number, limit: number) =>
    (await cache.after(runId, cursor, limit, 'record'))._unsafeUnwrap()
  return { reads, cache, after }
}

const seqs = (frames: readonly Frame[]) => frames.map(({ seq }) => seq)
const run = storedRun()

/** What a reader gets from its beginning to its end. */
async function readAll({ after }: ReturnType<typeof cacheOf>, limit: number) {
  const got: Frame[] = []
  for (;;) {
    const page = await after(run.runId, got.length - 1, limit)
    if (page.length === 0) return got
    got.push(...page)
  }
}

test('pages are read and encoded once for observers that join at the same time', async () => {
  const pages = cacheOf([run])
  const all = await Promise.all(Array.from({ length: 20 }, () => readAll(pages, 16)))
  for (const frames of all) expect(seqs(frames)).toEqual([...Array(LENGTH).keys()])
  expect(pages.reads.filter(({ from }) => Number(from) < LENGTH)).toHaveLength(LENGTH / 15)
  expect(all[3]?.[20]).toBe(all[0]?.[20])
})

test('the oldest pages are dropped, and all of them when a text is redacted', async () => {
  const pages = cacheOf([run])
  await readAll(pages, 1)
  const before = pages.reads.length
  for (const cursor of [LENGTH - 2, -1, -1]) await pages.after(run.runId, cursor, 1)
  expect(pages.reads).toHaveLength(before + 1)
  pages.cache.forget()
  await pages.after(run.runId, -1, 1)
  expect(pages.reads).toHaveLength(before + 2)
})

test('a page that could not be read, or was empty, is read again', async () => {
  const growing = { runId: run.runId, events: run.events.slice(0, 5) }
  const pages = cacheOf([growing], { failures: 1 })
  expect((await pages.cache.after(run.runId, -1, 10, 'record')).isErr()).toBe(true)
  expect(seqs(await readAll(pages, 10))).toEqual([0, 1, 2, 3, 4])
  growing.events.push(...run.events.slice(5, 8))
  expect(seqs(await readAll(pages, 10))).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
})
