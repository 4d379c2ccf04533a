import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { type VerifiedRun, verifyRecord } from '../../../src/audit/verify/verify-run.ts'
import { streamOf } from '../../../src/log/run-log.ts'
import type { RecordedEvent } from '../../../src/store/event-store.ts'
import { append, prepare } from '../../support/append-records.ts'
import { createdRecord } from '../../support/run-records.ts'
import {
  agentDoes,
  bound,
  CLAIM,
  createRun,
  iteration,
  startTestServer,
  type TestServer,
} from '../support.ts'
import { EventReader } from './event-source.ts'
import { FeedWatcher } from './feed-watcher.ts'
import { getLines, getPage, getPages, getProblem } from './support.ts'

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
  const runId = await createRun(server)
  await agentDoes(server, runId, CLAIM, ...iteration(false), ...iteration(true))
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
    expect([run?.state.seq, run?.head]).toEqual([proof.length - 1, proof.head])
  })

  test('can be selected by kind and resumed after any seq', async () => {
    const runId = await achieved()
    const all = expectedOf(await storedOf(runId))
    const kinds = ['goal_check', 'run_end']
    const wanted = all.filter(({ kind }) => kinds.includes(String(kind)))
    const query = `kinds=${kinds}&meta=true`
    for (const after of [-1, 3, all.length - 2]) {
      const rest = wanted.filter(({ seq }) => Number(seq) > after)
      const path = `/api/runs/${runId}/events?${query}&after=${after}`
      expect((await getPage(server, path)).frames).toEqual(rest)
      const texts = await watch(`/api/ws/${runId}?${query}&after=${after}`, never)
      expect(parsed(texts)).toEqual(rest)
    }
  })

  test('come live beside frames without, over one subscription of the run', async () => {
    const runId = await createRun(server)
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
    await agentDoes(server, runId, CLAIM, ...iteration(false))
    await agentDoes(server, runId, ...iteration(true))
    await Promise.all(live.map(({ done }) => done))
    const all = expectedOf(await storedOf(runId))
    for (const { frames, form } of live) {
      const records = frames.filter(({ kind }) => kind !== 'caught_up')
      expect(records).toEqual(form === '' ? all.map(plain) : all)
    }
    expect(subscriptions).toEqual([streamOf(runId)])
  })

  test('hold names that are not in ASCII', async () => {
    const runId = randomUUID()
    const author = { commandId: 'test', principal: 'Zoë 🙂' }
    const prepared = prepare(runId, null, [createdRecord(runId)], author)
    expect((await append(server.store, prepared)).isOk()).toBe(true)
    const [frame] = await getLines(server, `/api/runs/${runId}/events?kinds=all&meta=true`)
    expect(frame?.meta).toMatchObject({ principal: 'Zoë 🙂' })
    const texts = await watch(`/api/ws/${runId}?kinds=all&meta=true`, ({ length }) => length === 1)
    expect(parsed(texts)[0]).toEqual(frame)
  })

  test('are refused if the value is neither true nor false', async () => {
    const runId = await createRun(server)
    const problem = await getProblem(server, `/api/runs/${runId}/events?meta=1`)
    expect([problem.code, problem.status]).toEqual(['invalid_request', 422])
    const [text] = await watch(`/api/ws/${runId}?meta=1`, never)
    expect(text).toContain('meta must be')
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

  test('come live beside frames without', async () => {
    const [one, other] = [
      new FeedWatcher(server, 'after=end&kinds=all&meta=true&caught_up=true'),
      new FeedWatcher(server, 'after=end&kinds=all&caught_up=true'),
    ]
    await Promise.all([one.have(1), other.have(1)])
    const runId = await achieved()
    const all = expectedOf(await storedOf(runId))
    await Promise.all([one.have(all.length + 1), other.have(all.length + 1)])
    expect(one.frames.slice(1)).toMatchObject(all)
    expect(one.frames.slice(1).map(plain)).toEqual(other.frames.slice(1))
    expect(other.frames.slice(1).every((frame) => !('meta' in frame))).toBe(true)
    one.socket.close()
    other.socket.close()
  })
})
