import { mkdir } from 'node:fs/promises'
import { describe, expect } from 'vitest'
import { fold } from '../../src/domain/evolve.ts'
import { ALL_KINDS, EndStatus, type RunRecord } from '../../src/domain/records.ts'
import { decode } from '../../src/log/codec.ts'
import { streamOf } from '../../src/log/run-log.ts'
import { runDetails } from '../../src/queries/run-details.ts'
import type { EventStore, NewEvent } from '../../src/store/event-store.ts'
import { chainProblems } from '../chaos/chain.ts'
import { eventsInFile, type Observation } from '../chaos/evidence.ts'
import { violations } from '../chaos/invariants.ts'
import type { SiteServer } from '../support/site.ts'
import { test } from '../support/test.ts'
import { type Golden, type GoldenEvent, goldenLogs } from './golden.ts'

const LOGS = goldenLogs()
const records = (golden: Golden) => golden.events.map(({ data }) => data as unknown as RunRecord)
/** A run whose last record is of these kinds waits for a person. */
const WAITS: ReadonlySet<string> = new Set(['human_check_required', 'approval_required'])
const hasEnded = (golden: Golden) => golden.events.some(({ type }) => type === 'run_end')

const asWritten = ({ id, type, data, metadata }: GoldenEvent): NewEvent => {
  return { id, type, data: JSON.stringify(data), metadata: JSON.stringify(metadata) }
}

const stored = ({ events }: Golden) => events.map((event) => ({ ...event, ...asWritten(event) }))

describe('the golden logs', () => {
  test('hold every kind of record, every end, and every way in which a call can end', () => {
    const all = LOGS.flatMap(records)
    expect(new Set(all.map(({ kind }) => kind))).toEqual(new Set(ALL_KINDS))
    const ends = all.flatMap((r) => (r.kind === 'run_end' ? [r.payload.status] : []))
    expect(new Set(ends)).toEqual(new Set(EndStatus.options))
    const outcomes = all.flatMap((r) => (r.kind === 'tool_result' ? [r.payload.outcome] : []))
    expect(new Set(outcomes)).toEqual(
      new Set(['ok', 'error', 'rejected', 'denied', 'timed_out', 'aborted', 'unknown']),
    )
  })

  test.each(LOGS)('$name: is read and folded to the same state as ever', (golden) => {
    const { runId, meaning } = golden
    const read = stored(golden).map((event) =>
      decode({ ...event, stream: streamOf(runId), position: '', created: 0 })._unsafeUnwrap(),
    )
    const state = fold(read.map(({ record }) => record))
    // A later version may add something, but must not remove or change anything. What it counts to see that an agent makes no progress
    // is its own affair.
    const { watch, ...kept } = meaning.state
    expect(state).toMatchObject(kept)
    const { found = null, over = null } = Object(watch)
    expect(state?.watch).toMatchObject({ found, over })
    if (state !== null) expect(runDetails(state)).toMatchObject(meaning.details)
  })

  test.each(LOGS)('$name: its chain of hashes is whole', (golden) => {
    expect(chainProblems(stored(golden))).toEqual([])
  })
})

test('a server that finds the golden logs serves the runs that have ended, and continues the others to their end', async ({
  site,
}) => {
  const dataDir = site.path('data')
  await mkdir(dataDir)
  await site.withLog('data', fill)
  const server = await site.serve('data', { model: await site.model([]) })
  const recordsOf = (wanted: string): RunRecord[] =>
    LOGS.filter(({ name }) => name === wanted)
      .flatMap(({ runId }) => eventsInFile(dataDir, runId))
      .map(({ data }): RunRecord => JSON.parse(data))

  const outcomesOf = (wanted: string): string[] =>
    recordsOf(wanted).flatMap((r) => (r.kind === 'tool_result' ? [r.payload.outcome] : []))

  const waiting = LOGS.filter(({ events }) => WAITS.has(events.at(-1)?.type ?? ''))
  expect(waiting).toHaveLength(WAITS.size)
  for (const { runId, events } of waiting) await resume(server, runId, events.length - 1)
  const watched = await Promise.all(LOGS.map(({ runId }) => observe(server, runId)))
  const details = await Promise.all(LOGS.map(({ runId }) => server.get(`/api/runs/${runId}`)))
  await server.stop()
  for (const [n, golden] of LOGS.entries()) {
    const { name, runId, events, meaning } = golden
    const now = eventsInFile(dataDir, runId)
    expect(now.slice(0, events.length), name).toEqual(stored(golden))
    const evidence = { runId, events: now, ledger: [], acknowledged: [], settled: true }
    const seen = { observations: watched.slice(n, n + 1), details: [details[n]?.body] }
    expect(violations({ ...evidence, ...seen }), name).toEqual([])
    if (!hasEnded(golden)) continue
    expect(now).toHaveLength(events.length)
    expect(details[n]?.body, name).toMatchObject(meaning.details)
  }
  // Their project is the root of the file system, which contains the data folder, so they end with that reason.
  expect(outcomesOf('call-in-doubt')).toEqual(['unknown', 'unknown'])
  expect(outcomesOf('call-that-reads')).toEqual(['unknown'])
  for (const name of ['call-in-doubt', 'call-that-reads']) {
    const messages = recordsOf(name).flatMap((r) => (r.kind === 'error' ? [r.payload.message] : []))
    expect(messages, name).toEqual([expect.stringContaining("contains the server's data folder")])
  }
})

/** Puts the logs into a store of this version. */
async function fill(store: EventStore): Promise<void> {
  for (const { runId, events } of LOGS) {
    const appended = await store.append(streamOf(runId), events.map(asWritten), {
      expectedRevision: 'no_stream',
    })
    appended._unsafeUnwrap()
  }
}

async function resume(server: SiteServer, runId: string, seq: number): Promise<void> {
  const answer = await server.post(`/api/runs/${runId}/resume`, { decision: 'approve', seq })
  expect(answer, answer.text).toMatchObject({ status: 200 })
}

/** All that an observer gets to the end of a run. */
async function observe(server: SiteServer, runId: string): Promise<Observation> {
  const watcher = server.watch(runId)
  const { code } = await watcher.closed
  return { after: -1, frames: watcher.texts, complete: code === 1000 }
}
