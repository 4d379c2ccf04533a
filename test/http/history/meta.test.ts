import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { type VerifiedRun, verifyRecord } from '../../../src/audit/verify/verify-run.ts'
import { streamOf } from '../../../src/log/run-log.ts'
import type { RecordedEvent } from '../../../src/store/event-store.ts'
import { bound, CLAIM, iteration, startTestServer, type TestServer } from '../../support/server.ts'
import { FeedWatcher } from '../live/watcher.ts'
import { EventReader } from './event-source.ts'
import { getLines, getPages } from './support.ts'

type Frame = Record<string, unknown>

let server: TestServer
/** How many subscriptions to streams of runs were made. */
let subscriptions: string[] = []
beforeAll(async () => {
  server = await startTestServer({
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
})
afterAll(() => server.stop())

async function achieved(): Promise<string> {
  const runId = await server.createRun()
  await server.agentDoes(runId, CLAIM, ...iteration(false), ...iteration(true))
  return runId
}

async function storedOf(runId: string): Promise<RecordedEvent[]> {
  const options = { from: 0, direction: 'forward', limit: 1000 } as const
  return (await server.store.readStream(streamOf(runId), options))._unsafeUnwrap()
}

/** The frames that a run must have with its metadata, by its definition. */
const expectedOf = (events: readonly RecordedEvent[]) =>
  events.map(({ id, data, metadata, revision: seq, type: kind }) => {
    const record: Frame = JSON.parse(data)
    return { ...record, kind, seq, id, meta: JSON.parse(metadata) }
  })

const plain = ({ id: _, meta: __, ...frame }: Frame): Frame => frame

/** The texts of frames over a WebSocket, of one run or of all, until `enough`. */
async function watch(
  path: string,
  enough: (frames: readonly Frame[]) => boolean,
): Promise<string[]> {
  const socket = new WebSocket(`${server.url.replace('http', 'ws')}${path}`)
  const texts: string[] = []
  await new Promise<void>((resolve, reject) => {
    socket.onerror = () => reject(new Error('refused'))
    socket.onclose = () => resolve()
    socket.onmessage = ({ data }) => {
      texts.push(String(data))
      if (enough(texts.map((text) => JSON.parse(text)))) socket.close()
    }
  })
  return texts
}
const never = () => false
const parsed = (texts: readonly string[]): Frame[] => texts.map((text) => JSON.parse(text))

describe('the frames of a run with meta=true', () => {
  test('hold the id and the metadata as stored, in all forms, and are otherwise the same', async () => {
    const runId = await achieved()
    const all = expectedOf(await storedOf(runId))
    const path = `/api/runs/${runId}/events?kinds=all`
    const stream = new EventReader(server, `${path}&meta=true`)
    await stream.until(({ events }) => events.at(-1)?.type === 'end')
    expect(stream.frames).toEqual(all)
    expect((await getPages(server, `${path}&meta=true`)).frames).toEqual(all)
    expect((await getPages(server, `${path}&meta=true&limit=3`)).frames).toEqual(all)
    expect(await getLines(server, `${path}&meta=true`)).toEqual(all)
    const socket = `/api/ws/${runId}?kinds=all`
    expect(parsed(await watch(`${socket}&meta=true`, never))).toEqual(all)

    const without = all.map(plain)
    for (const form of ['', '&meta=false']) {
      expect((await getPages(server, `${path}${form}`)).frames).toEqual(without)
      expect(await getLines(server, `${path}${form}`)).toEqual(without)
      expect(parsed(await watch(`${socket}${form}`, never))).toEqual(without)
    }
  })

  test('are enough to verify the run', async () => {
    const runId = await achieved()
    const frames = await getLines(server, `/api/runs/${runId}/events?kinds=all&meta=true`)
    let run: VerifiedRun | null = null
    for (const { seq, id, meta: metadata, ...data } of frames) {
      const stored = { seq: Number(seq), id: String(id), type: String(data.kind), data, metadata }
      run = verifyRecord(runId, run, stored)._unsafeUnwrap().run
    }
    const answer: unknown = await (await fetch(`${server.url}/api/runs/${runId}/proof`)).json()
    const proof = z.object({ length: z.int(), head: z.string() }).parse(answer)
    expect([run?.seq, run?.head]).toEqual([proof.length - 1, proof.head])
  })

  test('come live beside frames without, over one subscription of the run', async () => {
    const runId = await server.createRun()
    subscriptions = []
    const live = Array.from({ length: 6 }, (_, index) => {
      const form = index % 2 === 0 ? '&meta=true' : ''
      const frames: Frame[] = []
      const caughtUp = Promise.withResolvers<void>()
      const done = watch(`/api/ws/${runId}?kinds=all&caught_up=true${form}`, (now) => {
        frames.splice(0, frames.length, ...now)
        if (now.some(({ kind }) => kind === 'caught_up')) caughtUp.resolve()
        return false
      })
      return { frames, form, caughtUp: caughtUp.promise, done }
    })
    await Promise.all(live.map(({ caughtUp }) => caughtUp))
    await server.agentDoes(runId, CLAIM, ...iteration(false))
    await server.agentDoes(runId, ...iteration(true))
    await Promise.all(live.map(({ done }) => done))
    const all = expectedOf(await storedOf(runId))
    for (const { frames, form } of live) {
      const records = frames.filter(({ kind }) => kind !== 'caught_up')
      expect(records).toEqual(form === '' ? all.map(plain) : all)
    }
    expect(subscriptions).toEqual([streamOf(runId)])
  })
})

const Cursor = z.object({ cursor: z.string() })

describe('the frames of all runs with meta=true', () => {
  test('hold id and metadata in all forms, and continue after the same cursors', async () => {
    const runId = await achieved()
    const all = expectedOf(await storedOf(runId))
    const path = `/api/events?run_id=${runId}&kinds=all`
    const page = await getPages(server, `${path}&meta=true`)
    const cursors = page.frames.map((frame) => Cursor.parse(frame).cursor)
    const expected = all.map((frame, seq) => ({ ...frame, cursor: cursors[seq] }))
    expect(page.frames).toEqual(expected)
    expect(await getLines(server, `${path}&meta=true`)).toEqual(expected)
    expect((await getPages(server, path)).frames).toEqual(expected.map(plain))

    const after = `after=${cursors[2]}&run_id=${runId}`
    const rest = expected.slice(3)
    const stream = new EventReader(server, `/api/events?${after}&kinds=all&meta=true`)
    await stream.until(({ frames }) => frames.length === rest.length)
    stream.leave()
    expect(stream.frames).toEqual(rest)
    const checks = new FeedWatcher(server, `${after}&kinds=goal_check&meta=true`)
    const wanted = rest.filter(({ kind }) => kind === 'goal_check')
    await checks.have(wanted.length)
    expect(checks.frames).toEqual(wanted)
    checks.socket.close()
  })
})
