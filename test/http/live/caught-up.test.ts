import { randomUUID } from 'node:crypto'
import { ResultAsync } from 'neverthrow'
import { describe, expect } from 'vitest'
import type { EventStore, Subscription } from '../../../src/store/event-store.ts'
import { changeOf, recordsOf } from '../../support/requests.ts'
import { createdRecord } from '../../support/run-records.ts'
import { bound, CLAIM, iteration, RunWriter } from '../../support/server.ts'
import { test } from '../../support/test.ts'
import { FeedWatcher, Watcher } from './watcher.ts'

const caughtUp = (runId: string, seq: number) => ({ kind: 'caught_up', run_id: runId, seq })

describe('?caught_up=true', () => {
  test('adds one frame between history and live, which is not a record', async ({ server }) => {
    const runId = await server.createRun({}, CLAIM, ...iteration(false))
    const watcher = new Watcher(server, `${runId}?caught_up=true&kinds=all`)
    const [notice] = await watcher.notices(1)
    const history = watcher.frames.length
    expect(notice).toEqual(caughtUp(runId, history - 1))
    expect(watcher.texts).toHaveLength(history + 1)
    expect(watcher.texts.at(-1)).toBe(JSON.stringify(notice))

    await server.agentDoes(runId, ...iteration(true))
    expect((await watcher.closed).code).toBe(1000)
    expect(watcher.seqs).toEqual(watcher.frames.map((_, index) => index))
    expect(watcher.frames.length).toBeGreaterThan(history)
    expect(await watcher.notices(1)).toHaveLength(1)
  })

  test.for([-1, 10])(
    'adds the frame before the close if the run has ended, after=%i',
    async (after, { server }) => {
      const runId = await server.createRun({}, CLAIM, ...iteration(true))
      const end = (await recordsOf(server, runId)).length - 1
      const from = Math.min(after, end)
      const watcher = new Watcher(server, `${runId}?caught_up=true&after=${from}`)
      expect((await watcher.closed).code).toBe(1000)
      expect(await watcher.notices(1)).toEqual([caughtUp(runId, end)])
      expect(watcher.texts.at(-1)).toContain('caught_up')
    },
  )

  test('adds the frame after what was stored while the history was sent', async ({
    startServer,
  }) => {
    let writer: RunWriter | null = null
    let more = 3
    const runId = randomUUID()
    // The first reads of the run append one more record each.
    const appending = (store: EventStore): EventStore => ({
      ...bound(store),
      readStream: (stream, options) => {
        if (writer === null || more === 0) {
          return store.readStream(stream, options)
        }
        more -= 1
        const appended = writer.append([changeOf(runId)])
        return ResultAsync.fromSafePromise(appended).andThen(() =>
          store.readStream(stream, options),
        )
      },
    })
    const server = await startServer({ wrapStore: appending })
    writer = new RunWriter(server.store, runId)
    await writer.append([createdRecord(runId)])
    using watcher = new Watcher(server, `${runId}?caught_up=true&kinds=all`)
    const [notice] = await watcher.notices(1)
    expect(notice).toEqual(caughtUp(runId, 3))
    expect(watcher.seqs).toEqual([0, 1, 2, 3])
  })
})

async function* behind(gate: Promise<void>, subscription: Subscription): Subscription {
  await gate
  yield* subscription
}

describe('?caught_up=true for all runs', () => {
  const isNotice = ({ kind }: Record<string, unknown>) => kind === 'caught_up'

  test('adds one frame between history and live, with the cursor to resume after', async ({
    ownServer: server,
  }) => {
    using early = new FeedWatcher(server, 'caught_up=true&kinds=all')
    await early.have(1)
    expect(early.frames).toEqual([{ kind: 'caught_up', cursor: null }])

    const runId = await server.createRun()
    await early.have(2)
    using late = new FeedWatcher(server, 'caught_up=true&kinds=all')
    await late.have(2)
    const cursor = late.frames[0]?.cursor
    expect(late.frames[1]).toEqual({ kind: 'caught_up', cursor })
    // It names the last record that was looked at, selected or not.
    using choosy = new FeedWatcher(server, 'caught_up=true&kinds=run_end')
    await choosy.have(1)
    expect(choosy.frames).toEqual([{ kind: 'caught_up', cursor }])
    using returning = new FeedWatcher(server, `caught_up=true&kinds=all&after=${cursor}`)
    await returning.have(1)
    expect(returning.frames).toEqual([{ kind: 'caught_up', cursor }])

    await server.agentDoes(runId, CLAIM, ...iteration(true))
    const { length } = await recordsOf(server, runId)
    for (const watcher of [early, late]) {
      await watcher.have(length + 1)
      expect(watcher.frames.filter(isNotice)).toHaveLength(1)
    }
    await returning.have(length)
  })

  test('does not wait for observers that joined earlier', async ({ startServer }) => {
    const gate = Promise.withResolvers<void>()
    let subscriptions = 0
    const server = await startServer({
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
    await server.createRun()
    using first = new FeedWatcher(server, 'caught_up=true&kinds=all')
    await first.have(2)
    await server.createRun()
    using second = new FeedWatcher(server, 'caught_up=true&kinds=all')
    await second.have(3)
    expect(second.frames.map(isNotice)).toEqual([false, false, true])
    expect(first.frames).toHaveLength(2)
    gate.resolve()
    await first.have(3)
  })
})
