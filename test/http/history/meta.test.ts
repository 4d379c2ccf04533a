import { describe, expect } from 'vitest'
import * as z from 'zod'
import { type VerifiedRun, verifyRecord } from '../../../src/audit/verify/verify-run.ts'
import { streamOf } from '../../../src/log/run-log.ts'
import type { RecordedEvent } from '../../../src/store/event-store.ts'
import { achievedRun, ask } from '../../support/requests.ts'
import { bound, CLAIM, iteration, type TestServer } from '../../support/server.ts'
import { testWith } from '../../support/test.ts'
import { FeedWatcher, SocketReader } from '../live/watcher.ts'
import { EventReader } from './event-source.ts'
import { getLines, getPages } from './support.ts'

type Frame = Record<string, unknown>

/** The streams of runs that were subscribed to. */
const subscriptions: string[] = []
const test = testWith({
  // Small, so that observers fall out of the ring and pages end in the middle of a run.
  live: { pageBytes: 4000, ringFrames: 4, ringBytes: 4000 },
  wrapStore: (store) => ({
    ...bound(store),
    subscribeStream: (stream, options) => {
      subscriptions.push(stream)
      return store.subscribeStream(stream, options)
    },
  }),
})

async function storedOf({ store }: TestServer, runId: string): Promise<RecordedEvent[]> {
  const options = { from: 0, direction: 'forward', limit: 1000 } as const
  return (await store.readStream(streamOf(runId), options))._unsafeUnwrap()
}

/** The frames that a run must have with its metadata, by its definition. */
const expectedOf = (events: readonly RecordedEvent[]) =>
  events.map(({ id, data, metadata, revision: seq, type: kind }) => {
    const record: Frame = JSON.parse(data)
    return { ...record, kind, seq, id, meta: JSON.parse(metadata) }
  })

const plain = ({ id: _, meta: __, ...frame }: Frame): Frame => frame

/** Keeps the frames of a run, or of all. */
class Reader extends SocketReader<Frame> {
  constructor(server: TestServer, path: string) {
    super(server, path, (json) => json as Frame)
  }
}

describe('the frames of a run with meta=true', () => {
  test('hold the id and the metadata as stored, in all forms, and are otherwise the same', async ({
    server,
  }) => {
    const runId = await achievedRun(server)
    const all = expectedOf(await storedOf(server, runId))
    const path = `/api/runs/${runId}/events?kinds=all`
    const stream = new EventReader(server, `${path}&meta=true`)
    await stream.until(({ events }) => events.at(-1)?.type === 'end')
    expect(stream.frames).toEqual(all)
    expect((await getPages(server, `${path}&meta=true`)).frames).toEqual(all)
    expect((await getPages(server, `${path}&meta=true&limit=3`)).frames).toEqual(all)
    expect(await getLines(server, `${path}&meta=true`)).toEqual(all)
    const watched = async (form: string) => {
      const reader = new Reader(server, `/${runId}?kinds=all${form}`)
      await reader.closed
      return reader.frames
    }
    expect(await watched('&meta=true')).toEqual(all)

    const without = all.map(plain)
    for (const form of ['', '&meta=false']) {
      expect((await getPages(server, `${path}${form}`)).frames).toEqual(without)
      expect(await getLines(server, `${path}${form}`)).toEqual(without)
      expect(await watched(form)).toEqual(without)
    }
  })

  test('are enough to verify the run', async ({ server }) => {
    const runId = await achievedRun(server)
    const frames = await getLines(server, `/api/runs/${runId}/events?kinds=all&meta=true`)
    let run: VerifiedRun | null = null
    for (const { seq, id, meta: metadata, ...data } of frames) {
      const stored = { seq: Number(seq), id: String(id), type: String(data.kind), data, metadata }
      run = verifyRecord(runId, run, stored)._unsafeUnwrap().run
    }
    const { body } = await ask(server, `GET /api/runs/${runId}/proof`)
    const proof = z.object({ length: z.int(), head: z.string() }).parse(body)
    expect([run?.seq, run?.head]).toEqual([proof.length - 1, proof.head])
  })

  test('come live beside frames without, over one subscription of the run', async ({
    server,
    runId,
  }) => {
    const forms = ['&meta=true', '', '&meta=true', '', '&meta=true', '']
    const live = forms.map((form) => ({
      form,
      reader: new Reader(server, `/${runId}?kinds=all&caught_up=true${form}`),
    }))
    await Promise.all(live.map(({ reader }) => reader.have(2)))
    await server.agentDoes(runId, CLAIM, ...iteration(false))
    await server.agentDoes(runId, ...iteration(true))
    await Promise.all(live.map(({ reader }) => reader.closed))
    const all = expectedOf(await storedOf(server, runId))
    for (const { reader, form } of live) {
      const records = reader.frames.filter(({ kind }) => kind !== 'caught_up')
      expect(records).toEqual(form === '' ? all.map(plain) : all)
    }
    expect(subscriptions.filter((stream) => stream === streamOf(runId))).toHaveLength(1)
  })
})

const Cursor = z.object({ cursor: z.string() })

describe('the frames of all runs with meta=true', () => {
  test('hold id and metadata, and continue after the same cursors', async ({ server }) => {
    const runId = await achievedRun(server)
    const all = expectedOf(await storedOf(server, runId))
    const path = `/api/events?run_id=${runId}&kinds=all`
    const page = await getPages(server, `${path}&meta=true`)
    const cursors = page.frames.map((frame) => Cursor.parse(frame).cursor)
    const expected = all.map((frame, seq) => ({ ...frame, cursor: cursors[seq] }))
    expect(page.frames).toEqual(expected)
    expect((await getPages(server, path)).frames).toEqual(expected.map(plain))
    using checks = new FeedWatcher(server, `after=${cursors[2]}&kinds=goal_check&meta=true`)
    const wanted = expected.slice(3).filter(({ kind }) => kind === 'goal_check')
    await checks.have(wanted.length)
    expect(checks.frames).toEqual(wanted)
  })
})
