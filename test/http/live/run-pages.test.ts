import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { errAsync, okAsync, type ResultAsync } from 'neverthrow'
import { describe, expect, test } from 'vitest'
import type { RunRecord } from '../../../src/domain/records.ts'
import { framesOf, type RunFrame, sizeOf } from '../../../src/http/live/frame.ts'
import { PageCache, type PageDeps } from '../../../src/http/live/run-pages.ts'
import { streamOf } from '../../../src/log/run-log.ts'
import type { ReadError, ReadOptions, RecordedEvent } from '../../../src/store/event-store.ts'
import { prepare } from '../../support/append-records.ts'
import { createdRecord } from '../../support/run-records.ts'

const LENGTH = 60

function storedRun(): { readonly runId: string; readonly events: RecordedEvent[] } {
  const runId = randomUUID()
  const change = (seq: number): RunRecord => ({
    kind: 'run_config_changed',
    run_id: runId,
    iteration: 0,
    ts: 1_770_000_000,
    payload: { changes: { model_name: 'm'.repeat(1 + seq) } },
  })
  const records = [createdRecord(runId), ...Array.from({ length: LENGTH - 1 }, (_, i) => change(i))]
  const events = prepare(runId, null, records, { commandId: 'test' }).events.map(
    (event, revision) => ({
      ...event,
      stream: streamOf(runId),
      revision,
      position: String(revision),
      created: 0,
    }),
  )
  return { runId, events }
}

type Answer = ResultAsync<RecordedEvent[], ReadError>

/** A store of some runs that counts its reads, and answers each when `answer` says. */
function storeOf(runs: readonly ReturnType<typeof storedRun>[], answer = (rows: Answer) => rows) {
  const reads: ReadOptions[] = []
  const readStream = (stream: string, options: ReadOptions): Answer => {
    reads.push(options)
    const from = Number(options.from)
    const run = runs.find(({ runId }) => streamOf(runId) === stream)
    return answer(okAsync(run?.events.slice(from, from + options.limit) ?? []))
  }
  const store = { readStream } as PageDeps['store']
  return { reads, deps: { store, readModel: { get: () => null, caughtUp: true } } }
}

const shown = (frame: RunFrame) =>
  frame.type === 'frame' ? [frame.seq, frame.kind, frame.data.toString()] : frame
const seqs = (frames: readonly RunFrame[]) => frames.map(({ seq }) => seq)
const run = storedRun()

/** What a reader gets from `after` to the end. */
async function readOn(pages: PageCache, runId: string, after: number, limit: number) {
  const got: RunFrame[] = []
  for (let cursor = after; ; ) {
    const page = (await pages.after(runId, cursor, limit))._unsafeUnwrap()
    if (page.length === 0) return got
    got.push(...page)
    cursor += page.length
  }
}

describe('the pages of a run', () => {
  test('are read once for observers that join at the same time', async () => {
    const { reads, deps } = storeOf([run])
    const pages = new PageCache(deps, 1_000_000)
    const all = await Promise.all(
      Array.from({ length: 20 }, (_, i) => readOn(pages, run.runId, (i % 3) * 7 - 1, 16)),
    )
    for (const [i, frames] of all.entries()) {
      expect(seqs(frames)).toEqual([...Array(LENGTH).keys()].slice((i % 3) * 7))
    }
    const full = reads.filter(({ from }) => Number(from) < LENGTH)
    expect(full.length).toBeLessThanOrEqual(3 * Math.ceil(LENGTH / 16))
    // They are the same objects, not equal copies.
    expect(all[3]?.[20]).toBe(all[0]?.[20])
  })

  test('equal the log, read in any order and kept in any number', async () => {
    const other = storedRun()
    const visit = fc.record({
      first: fc.boolean(),
      cursor: fc.integer({ min: -1, max: LENGTH }),
      limit: fc.integer({ min: 1, max: 25 }),
    })
    await fc.assert(
      fc.asyncProperty(
        fc.array(visit, { maxLength: 40 }),
        fc.nat(20_000),
        async (visits, bytes) => {
          const pages = new PageCache(storeOf([run, other]).deps, bytes)
          await Promise.all(
            visits.map(async ({ first, cursor, limit }) => {
              const { runId, events } = first ? run : other
              const page = (await pages.after(runId, cursor, limit))._unsafeUnwrap()
              const expected = framesOf(events, -1).slice(cursor + 1, cursor + 1 + page.length)
              expect(page.map(shown)).toEqual(expected.map(shown))
              expect(page.length > 0).toBe(cursor + 1 < LENGTH)
            }),
          )
        },
      ),
    )
  })

  test('are dropped if they exceed the limit', async () => {
    const { reads, deps } = storeOf([run])
    const whole = framesOf(run.events, -1)
    const page = whole.slice(0, 20).reduce((sum, frame) => sum + sizeOf(frame), 0)
    const pages = new PageCache(deps, 2 * page)
    await readOn(pages, run.runId, -1, 20)
    const before = reads.length
    ;(await pages.after(run.runId, -1, 20))._unsafeUnwrap()
    expect(reads).toHaveLength(before + 1)
    ;(await pages.after(run.runId, -1, 20))._unsafeUnwrap()
    expect(reads).toHaveLength(before + 1)
  })

  test('are dropped if the run is forgotten', async () => {
    const other = storedRun()
    const { reads, deps } = storeOf([run, other])
    const pages = new PageCache(deps, 1_000_000)
    ;(await pages.after(run.runId, -1, 20))._unsafeUnwrap()
    ;(await pages.after(other.runId, -1, 20))._unsafeUnwrap()
    pages.forget(run.runId)
    ;(await pages.after(other.runId, -1, 20))._unsafeUnwrap()
    expect(reads).toHaveLength(2)
    ;(await pages.after(run.runId, -1, 20))._unsafeUnwrap()
    expect(reads).toHaveLength(3)
  })

  test('are read again if the read that a caller waited for has failed', async () => {
    const failure = { type: 'store_unavailable', message: 'away' } as const
    let left = 1
    const { reads, deps } = storeOf([run], (rows) => {
      left -= 1
      return left < 0 ? rows : errAsync(failure)
    })
    const pages = new PageCache(deps, 1_000_000)
    const [first, second] = await Promise.all([
      pages.after(run.runId, -1, 10),
      pages.after(run.runId, -1, 10),
    ])
    expect(first._unsafeUnwrapErr()).toEqual(failure)
    expect(seqs(second._unsafeUnwrap())).toEqual([...Array(10).keys()])
    expect(reads).toHaveLength(2)
  })

  test('end where the log ends, and continue when the log does', async () => {
    const growing = { runId: run.runId, events: run.events.slice(0, 5) }
    const pages = new PageCache(storeOf([growing]).deps, 1_000_000)
    expect(seqs(await readOn(pages, run.runId, -1, 10))).toEqual([0, 1, 2, 3, 4])
    growing.events.push(...run.events.slice(5, 8))
    expect(seqs(await readOn(pages, run.runId, -1, 10))).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
  })
})
