import { randomUUID } from 'node:crypto'
import { describe, expect } from 'vitest'
import { RUN_STREAM_PREFIX, streamOf } from '../../../src/log/run-log.ts'
import { achievedRun, damage } from '../../support/requests.ts'
import { bound, CLAIM, iteration, waitingBy } from '../../support/server.ts'
import { test } from '../../support/test.ts'
import { within } from '../../support/within.ts'
import { EventReader } from '../history/event-source.ts'
import { Watcher } from './watcher.ts'

describe('the live event stream', () => {
  test('sends the whole history of an ended run, in the documented shape, and closes with 1000', async ({
    server,
  }) => {
    const runId = await achievedRun(server)
    const watcher = new Watcher(server, runId)
    expect(await watcher.closed).toEqual({ code: 1000, reason: 'the run has ended' })
    const kinds = watcher.frames.map(({ kind }) => kind)
    expect(kinds).toEqual([
      'step_start',
      'llm_usage',
      'step_start',
      'goal_check',
      'iteration_complete',
      'step_start',
      'llm_usage',
      'step_start',
      'goal_check',
      'iteration_complete',
      'run_end',
    ])
    expect(watcher.frames[0]).toEqual({
      kind: 'step_start',
      run_id: runId,
      iteration: 1,
      ts: expect.any(Number),
      payload: { node: 'plan' },
      seq: 2,
    })
    expect(watcher.frames.at(-1)?.payload).toMatchObject({ achieved: true, iterations: 2 })
  })

  test.for(['no-uuid', randomUUID()])(
    'reports that there is no run %s',
    async (runId, { server }) => {
      const watcher = new Watcher(server, runId)
      expect(await watcher.closed).toEqual({ code: 4404, reason: 'no such run' })
      expect(watcher.frames).toEqual([
        {
          kind: 'error',
          run_id: runId,
          iteration: 0,
          ts: expect.any(Number),
          payload: { message: expect.stringContaining(runId), traceback: '' },
          seq: -1,
        },
      ])
    },
  )

  test.for([
    ['after=x', 'after must be'],
    ['after=1&after=2', 'after must be'],
    ['after=1', 'beyond the last record of this run'],
    ['kinds=goal_check,nope', 'kinds must be "all"'],
    ['from=3', 'from is not a field'],
  ] as const)('reports what is wrong with ?%s', async ([query, message], { server, runId }) => {
    const watcher = new Watcher(server, `${runId}?${query}`)
    expect((await watcher.closed).code).toBe(4400)
    expect(watcher.frames).toHaveLength(1)
    expect(watcher.frames[0]?.kind).toBe('error')
    expect(watcher.frames[0]?.payload).toEqual({
      message: expect.stringContaining(message),
      traceback: '',
    })
  })
})

describe('the live event stream, when something fails', () => {
  test('closes at the end of a run only after the read model shows it', async ({ startServer }) => {
    const asked = Promise.withResolvers<readonly [runId: string, seq: number]>()
    const shown = Promise.withResolvers<void>()
    let held = false
    const server = await startServer({
      wrapReadModel: (readModel) =>
        waitingBy(readModel, async (run, seq, timeoutMs) => {
          if (!held) return readModel.waitFor(run, seq, timeoutMs)
          asked.resolve([run, seq])
          await shown.promise
          return true
        }),
    })
    const runId = await server.createRun()
    const watcher = new Watcher(server, `${runId.toUpperCase()}?kinds=all`)
    await watcher.have(1)
    held = true
    await server.agentDoes(runId, CLAIM, ...iteration(true))
    const [run, seq] = await within(asked.promise, () => 'a question to the read model')
    expect(run).toBe(runId)
    expect(seq).toBeGreaterThan(1)
    await watcher.have(seq + 1)
    expect(watcher.frames.at(-1)?.kind).toBe('run_end')
    expect(watcher.socket.readyState).toBe(watcher.socket.OPEN)
    shown.resolve()
    expect((await watcher.closed).code).toBe(1000)
  })

  test.for(['history', 'live'])(
    'stops at a damaged record in the %s',
    async (where, { server, runId }) => {
      if (where === 'history') await damage(server, runId, 1)
      const watcher = new Watcher(server, `${runId}?kinds=all`)
      const reader = new EventReader(server, `/api/runs/${runId}/events?kinds=all`)
      await watcher.have(1)
      await reader.until(({ events }) => events.length > 0)
      if (where === 'live') await damage(server, runId, 1)
      expect((await watcher.closed).code).toBe(1011)
      expect(watcher.frames.map(({ kind, seq }) => [kind, seq])).toEqual([
        ['run_created', 0],
        ['error', 0],
      ])
      expect(watcher.frames[1]?.payload.message).toContain('Record 1 of this run cannot be read')
      await reader.ended
      const [, failed] = reader.events
      expect([reader.events.length, failed?.type, failed?.id]).toEqual([2, 'failed', '0'])
      expect(failed?.data).toContain('Record 1 of this run cannot be read')
    },
  )

  test('has one subscription for all observers of a run, and ends it with the last one', async ({
    startServer,
  }) => {
    const open = new Set<AbortSignal>()
    const opened: string[] = []
    const server = await startServer({
      wrapStore: (store) => ({
        ...bound(store),
        subscribeStream: (stream, options) => {
          if (!stream.startsWith(RUN_STREAM_PREFIX)) return store.subscribeStream(stream, options)
          opened.push(stream)
          open.add(options.signal)
          options.signal.addEventListener('abort', () => open.delete(options.signal))
          return store.subscribeStream(stream, options)
        },
      }),
    })
    const runId = await server.createRun()
    const watchers = Array.from({ length: 5 }, () => new Watcher(server, `${runId}?kinds=all`))
    await Promise.all(watchers.map((watcher) => watcher.have(1)))
    await server.agentDoes(runId, CLAIM)
    await Promise.all(watchers.map((watcher) => watcher.have(3)))
    // Nobody watches this one.
    await achievedRun(server)
    expect([opened, open.size]).toEqual([[streamOf(runId)], 1])
    for (const watcher of watchers) watcher.socket.close()
    await Promise.all(watchers.map(({ closed }) => closed))
    await expect.poll(() => open.size, { message: 'open subscriptions' }).toBe(0)
    await server.agentDoes(runId, ...iteration(true))
    const late = new Watcher(server, runId)
    expect((await late.closed).code).toBe(1000)
    // A run that has ended needs none.
    expect(opened).toHaveLength(1)
  })

  test('closes with 1001 when the server stops, and cuts off observers that do not answer', async ({
    startServer,
  }) => {
    const server = await startServer({ live: { closeMs: 50 } })
    const runId = await server.createRun()
    const polite = new Watcher(server, `${runId}?kinds=all`)
    const deaf = new Watcher(server, `${runId}?kinds=all`)
    await Promise.all([polite.have(1), deaf.have(1)])
    deaf.socket.pause()
    await server.app.close()
    expect(await polite.closed).toEqual({ code: 1001, reason: 'the server is closing' })
    deaf.socket.resume()
    expect((await deaf.closed).code).not.toBe(1000)
  })
})
