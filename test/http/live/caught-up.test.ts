import { randomUUID } from 'node:crypto'
import { ResultAsync } from 'neverthrow'
import { afterEach, describe, expect, test } from 'vitest'
import { readRecords } from '../../../src/log/run-log.ts'
import type { EventStore, Subscription } from '../../../src/store/event-store.ts'
import { createdRecord } from '../../support/run-records.ts'
import { FeedWatcher } from '../history/feed-watcher.ts'
import {
  agentDoes,
  bound,
  CLAIM,
  createRun,
  iteration,
  RunWriter,
  startTestServer,
  type TestServer,
} from '../support.ts'
import { Watcher } from './watcher.ts'

let server: TestServer
afterEach(() => server.stop())

const caughtUp = (runId: string, seq: number) => ({ kind: 'caught_up', run_id: runId, seq })

const lastSeq = async (runId: string): Promise<number> => {
  const logged = (await readRecords(server.store, runId, 0, 1000))._unsafeUnwrap()
  return logged.length - 1
}

const record = (runId: string) =>
  ({
    kind: 'run_config_changed',
    run_id: runId,
    iteration: 0,
    ts: 1_770_000_000,
    payload: { changes: { max_iterations: 7 } },
  }) as const

describe('?caught_up=true', () => {
  test('adds one frame between history and live, which is not a record', async () => {
    server = await startTestServer()
    const runId = await createRun(server)
    await agentDoes(server, runId, CLAIM, ...iteration(false))
    const watcher = new Watcher(server, `${runId}?caught_up=true&kinds=all`)
    const [notice] = await watcher.notices(1)
    const history = watcher.frames.length
    expect(notice).toEqual(caughtUp(runId, history - 1))
    expect(watcher.texts).toHaveLength(history + 1)
    expect(watcher.texts.at(-1)).toBe(JSON.stringify(notice))

    await agentDoes(server, runId, ...iteration(true))
    expect((await watcher.closed).code).toBe(1000)
    expect(watcher.seqs).toEqual(watcher.frames.map((_, index) => index))
    expect(watcher.frames.length).toBeGreaterThan(history)
    expect(await watcher.notices(1)).toHaveLength(1)
  })

  test('adds the frame at once if the observer has everything, with the seq that it gave', async () => {
    server = await startTestServer()
    const runId = await createRun(server)
    const watcher = new Watcher(server, `${runId}?caught_up=true&after=0`)
    expect(await watcher.notices(1)).toEqual([caughtUp(runId, 0)])
    watcher.socket.terminate()
  })

  test.each([-1, 10])(
    'adds the frame before the close if the run has ended, after=%i',
    async (after) => {
      server = await startTestServer()
      const runId = await createRun(server)
      await agentDoes(server, runId, CLAIM, ...iteration(true))
      const end = await lastSeq(runId)
      const from = Math.min(after, end)
      const watcher = new Watcher(server, `${runId}?caught_up=true&after=${from}`)
      expect((await watcher.closed).code).toBe(1000)
      expect(await watcher.notices(1)).toEqual([caughtUp(runId, end)])
      expect(watcher.texts.at(-1)).toContain('caught_up')
    },
  )

  test('names the last record that was looked at, selected or not', async () => {
    server = await startTestServer()
    const runId = await createRun(server)
    await agentDoes(server, runId, CLAIM)
    const watcher = new Watcher(server, `${runId}?caught_up=true&kinds=run_end`)
    expect(await watcher.notices(1)).toEqual([caughtUp(runId, await lastSeq(runId))])
    expect(watcher.frames).toEqual([])
    watcher.socket.terminate()
  })

  test('adds the frame after what was stored while the history was sent', async () => {
    let writer: RunWriter | null = null
    let more = 3
    const runId = randomUUID()
    // Each look-up of the end of the run appends one more record.
    const appending = (store: EventStore): EventStore => ({
      ...bound(store),
      readStream: (stream, options) => {
        if (options.from !== 'end' || writer === null || more === 0) {
          return store.readStream(stream, options)
        }
        more -= 1
        const appended = writer.append([record(runId)])
        return ResultAsync.fromSafePromise(appended).andThen(() =>
          store.readStream(stream, options),
        )
      },
    })
    server = await startTestServer({ wrapStore: appending })
    writer = new RunWriter(server.store, runId)
    await writer.append([createdRecord(runId)])
    const watcher = new Watcher(server, `${runId}?caught_up=true&kinds=all`)
    const [notice] = await watcher.notices(1)
    expect(notice).toEqual(caughtUp(runId, 3))
    expect(watcher.seqs).toEqual([0, 1, 2, 3])
    watcher.socket.terminate()
  })

  test.each(['', '?caught_up=false'])(
    'adds no frame if it is not asked for: "%s"',
    async (query) => {
      server = await startTestServer()
      const runId = await createRun(server)
      await agentDoes(server, runId, CLAIM)
      const watcher = new Watcher(server, `${runId}${query}`)
      await agentDoes(server, runId, ...iteration(true))
      expect((await watcher.closed).code).toBe(1000)
      expect(watcher.texts.join()).not.toContain('caught_up')
    },
  )

  test('must be true or false', async () => {
    server = await startTestServer()
    const runId = await createRun(server)
    const watcher = new Watcher(server, `${runId}?caught_up=1`)
    expect((await watcher.closed).code).toBe(4400)
    expect(watcher.texts.join()).toContain('caught_up must be')
  })
})

async function* behind(gate: Promise<void>, subscription: Subscription): Subscription {
  await gate
  yield* subscription
}

describe('?caught_up=true for all runs', () => {
  const isNotice = ({ kind }: Record<string, unknown>) => kind === 'caught_up'

  test('adds one frame between history and live, with the cursor to resume after', async () => {
    server = await startTestServer()
    const early = new FeedWatcher(server, 'caught_up=true&kinds=all')
    await early.have(1)
    expect(early.frames).toEqual([{ kind: 'caught_up', cursor: null }])

    const runId = await createRun(server)
    await early.have(2)
    const late = new FeedWatcher(server, 'caught_up=true&kinds=all')
    await late.have(2)
    const cursor = late.frames[0]?.cursor
    expect(late.frames[1]).toEqual({ kind: 'caught_up', cursor })
    const returning = new FeedWatcher(server, `caught_up=true&kinds=all&after=${cursor}`)
    await returning.have(1)
    expect(returning.frames).toEqual([{ kind: 'caught_up', cursor }])

    await agentDoes(server, runId, CLAIM, ...iteration(true))
    const { length } = (await readRecords(server.store, runId, 0, 1000))._unsafeUnwrap()
    for (const watcher of [early, late]) {
      await watcher.have(length + 1)
      expect(watcher.frames.filter(isNotice)).toHaveLength(1)
    }
    await returning.have(length)
    for (const { socket } of [early, late, returning]) socket.terminate()
  })

  test('names the last record that was looked at, selected or not', async () => {
    server = await startTestServer()
    await createRun(server)
    const watcher = new FeedWatcher(server, 'caught_up=true&kinds=run_end')
    await watcher.have(1)
    expect(watcher.frames).toEqual([{ kind: 'caught_up', cursor: expect.any(String) }])
    watcher.socket.terminate()
  })

  test('does not wait for observers that joined earlier', async () => {
    const gate = Promise.withResolvers<void>()
    let subscriptions = 0
    server = await startTestServer({
      wrapStore: (store) => ({
        ...bound(store),
        subscribeAll: (options) => {
          subscriptions += 1
          // The first watcher catches up by the first subscription; the second one is shared.
          const subscription = store.subscribeAll(options)
          return subscriptions === 2 ? behind(gate.promise, subscription) : subscription
        },
      }),
    })
    await createRun(server)
    const first = new FeedWatcher(server, 'caught_up=true&kinds=all')
    await first.have(2)
    await createRun(server)
    const second = new FeedWatcher(server, 'caught_up=true&kinds=all')
    await second.have(3)
    expect(second.frames.map(isNotice)).toEqual([false, false, true])
    expect(first.frames).toHaveLength(2)
    gate.resolve()
    await first.have(3)
    for (const { socket } of [first, second]) socket.terminate()
  })

  test('adds no frame if it is not asked for', async () => {
    server = await startTestServer()
    const watcher = new FeedWatcher(server, 'kinds=all')
    const runId = await createRun(server)
    await watcher.have(1)
    await agentDoes(server, runId, CLAIM)
    await watcher.have(2)
    expect(watcher.frames.some(isNotice)).toBe(false)
    watcher.socket.terminate()
  })
})
