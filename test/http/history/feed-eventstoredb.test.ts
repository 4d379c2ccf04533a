import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { startAfter } from '../../../src/http/live/all-runs-selection.ts'
import { LIVE_LIMITS } from '../../../src/http/live/limits.ts'
import { createLive } from '../../../src/http/live/live-plugin.ts'
import { WatchLog } from '../../../src/http/plugins/access-log.ts'
import { LiveParts } from '../../../src/live/live-parts.ts'
import { processMask } from '../../../src/log/masking.ts'
import { streamOf } from '../../../src/log/run-log.ts'
import { openStore, standIn } from '../../store/eventstoredb/support.ts'
import { createdRecord } from '../../support/run-records.ts'
import { RunWriter } from '../support.ts'

const log = { info() {}, warn() {}, error() {}, fatal() {}, debug() {}, trace() {}, silent() {} }

test('cursors of the feed are valid for another server on the same EventStoreDB', async () => {
  const server = await standIn()
  const [one, other] = await Promise.all([
    openStore(server.connectionString),
    openStore(server.connectionString),
  ])
  const [a, b] = [randomUUID(), randomUUID()]
  const places: string[] = []
  for (const runId of [a, b]) {
    await new RunWriter(one, runId).append([createdRecord(runId)])
    places.push(`${runId}@0`)
  }
  const noise = { id: randomUUID(), type: 'noise', data: '{}', metadata: '{}' }
  ;(await one.append('elsewhere', [noise], { expectedRevision: 'no_stream' }))._unsafeUnwrap()
  const odd = { ...noise, id: randomUUID() }
  ;(await one.append(streamOf(a), [odd], { expectedRevision: 0 }))._unsafeUnwrap()
  places.push(`${a}@1`)

  const stop = new AbortController()
  const feedOf = (store: typeof one) => {
    const readModel = { get: () => null, caughtUp: true, waitFor: async () => true }
    const [clock, checkpoint] = [() => 0, () => null]
    const watchLog = new WatchLog(null, clock)
    const parts = new LiveParts(processMask)
    const deps = { store, readModel, clock, checkpoint, watchLog, parts, limits: LIVE_LIMITS }
    return createLive({ ...deps, log: { ...log, level: 'info', child: () => log as never } })
  }
  const read = async (live: ReturnType<typeof feedOf>, after?: string) => {
    const start = (await startAfter(after, live))._unsafeUnwrap()
    const frames = []
    const pages = live.allRuns.history(start.position, 'record', stop.signal)
    for await (const page of pages) frames.push(...page)
    return frames
  }
  const all = await read(feedOf(one))
  expect(all.map(({ runId, seq }) => `${runId}@${seq}`)).toEqual(places)
  const elsewhere = feedOf(other)
  for (const [index, { cursor }] of all.entries()) {
    const rest = await read(elsewhere, cursor)
    expect(rest.map(({ cursor }) => cursor)).toEqual(
      all.slice(index + 1).map(({ cursor }) => cursor),
    )
  }
  stop.abort()
})
