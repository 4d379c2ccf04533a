import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, expectTypeOf, onTestFinished } from 'vitest'
import { WebSocketServer } from 'ws'
import {
  type AgentEvent,
  createClient,
  type DOCUMENTED_KINDS,
  type Kinds,
  WatchError,
  type WatchState,
} from '../../src/client/index.ts'
import { achievedRun, damage } from '../support/requests.ts'
import { createdRecord } from '../support/run-records.ts'
import { portOf } from '../support/serve.ts'
import { CLAIM, iteration, RunWriter, type TestServer } from '../support/server.ts'
import { test } from '../support/test.ts'
import { broken, collect, headOf, proxyOf } from './support.ts'

const UNKNOWN = '550e8400-e29b-41d4-a716-446655440000'
const limits = { retryMs: [1, 4] } as const

const client = (server: TestServer, baseUrl = server.url) => createClient({ baseUrl, limits })

const failure = async (watched: AsyncIterable<unknown>) => (await broken(watched)).thrown

describe('a watch', () => {
  test('gives the documented kinds by default, typed by their kind', async ({ server }) => {
    const runId = await achievedRun(server)
    const documented = await collect(client(server).watch(runId))
    expect(documented.map(({ kind }) => kind)).not.toContain('run_created')
    expectTypeOf(documented[0]).toEqualTypeOf<
      AgentEvent<(typeof DOCUMENTED_KINDS)[number]> | undefined
    >()
    const checks = await collect(client(server).watch(runId, { kinds: ['goal_check'] }))
    expect(checks.map(({ payload }) => payload.achieved)).toEqual([false, true])
    expectTypeOf(checks[0]).toEqualTypeOf<AgentEvent<'goal_check'> | undefined>()
    expect(await collect(client(server).watch(runId, { kinds: [] }))).toEqual([])
  })

  test('reports where the history ends, even if none of it was selected', async ({ server }) => {
    const runId = await server.createRun()
    await server.agentDoes(runId, CLAIM, ...iteration(false))
    const head = await headOf(server, runId)
    const seen: (number | string)[] = []
    let work: Promise<void> | undefined
    const watched = client(server).watch(runId, {
      kinds: 'all',
      onCaughtUp: (seq) => {
        seen.push(`caught up with ${seq}`)
        if (seq === head) work = server.agentDoes(runId, ...iteration(true))
      },
    })
    for await (const { seq } of watched) seen.push(seq)
    await work
    expect(seen.slice(0, head + 3)).toEqual([
      ...Array.from({ length: head + 1 }, (_, seq) => seq),
      `caught up with ${head}`,
      head + 1,
    ])
    expect(seen.filter((what) => typeof what === 'string')).toHaveLength(1)
  })

  test('sends its token', async ({ startServer }) => {
    const token = 'ÿ?-≥-0123456789'
    const guarded = await startServer({ token })
    const runId = randomUUID()
    await new RunWriter(guarded.store, runId).append([createdRecord(runId)])
    const watching = createClient({ baseUrl: guarded.url, token, limits })
    for await (const { kind } of watching.watch(runId, { kinds: 'all' })) {
      expect(kind).toBe('run_created')
      break
    }
    const wrong = createClient({ baseUrl: guarded.url, token: 'wrong', limits })
    expect(await failure(wrong.watch(runId))).toMatchObject({ name: 'WatchError', type: 'refused' })
    const none = createClient({ baseUrl: guarded.url, limits })
    expect(await failure(none.watch(runId))).toMatchObject({ type: 'refused' })
  })
})

describe('a watch that cannot continue throws', () => {
  test.for([UNKNOWN, 'the-last-one'])('for the unknown run %s', async (runId, { server }) => {
    const thrown = await failure(client(server).watch(runId))
    expect(thrown).toBeInstanceOf(WatchError)
    expect(thrown).toMatchObject({ type: 'unknown_run', seq: -1 })
    expect(String(thrown)).toContain(runId)
  })

  test('for a cursor that the run has not reached', async ({ server }) => {
    const thrown = await failure(client(server).watch(await server.createRun(), { after: 99 }))
    expect(thrown).toMatchObject({ type: 'refused', seq: 99 })
    expect(String(thrown)).toContain('after=99')
  })

  test.for<Kinds>(['all', ['run_end']])(
    'at a damaged record, watching %s',
    async (kinds, { server }) => {
      const runId = await server.createRun()
      await server.agentDoes(runId, CLAIM)
      const at = await headOf(server, runId)
      await damage(server, runId, at + 1)
      const thrown = await failure(client(server).watch(runId, { kinds }))
      expect(thrown).toMatchObject({ type: 'damaged_record' })
      expect(String(thrown)).toContain(`Record ${at + 1} of this run cannot be read`)
    },
  )
})

describe('leaving', () => {
  const openSockets = (server: TestServer) => server.app.websocketServer.clients.size

  test('by break closes the connection', async ({ server }) => {
    const runId = await server.createRun()
    const states: WatchState[] = []
    const onState = (state: WatchState) => states.push(state)
    for await (const _ of client(server).watch(runId, { kinds: 'all', onState })) break
    expect(states).toEqual(['connecting', 'live', 'closed'])
    while (openSockets(server) > 0) await turn()
  })

  test('by the signal rejects with its reason, even while nothing happens', async ({ server }) => {
    const runId = await server.createRun()
    const leave = new AbortController()
    const states: WatchState[] = []
    const watched = client(server).watch(runId, {
      signal: leave.signal,
      onState: (state) => {
        states.push(state)
        if (state === 'live') leave.abort(new Error('enough'))
      },
    })
    expect(await failure(watched)).toEqual(new Error('enough'))
    expect(states).toEqual(['connecting', 'live', 'closed'])
    while (openSockets(server) > 0) await turn()
  })
})

describe('a connection that is lost', () => {
  test('is replaced after a long silence, without a report', async ({ server }) => {
    const runId = await server.createRun()
    const proxy = await proxyOf(server.port)
    const states: WatchState[] = []
    // Each new connection has so long to deliver its first record, or it is replaced too.
    const watching = createClient({ baseUrl: proxy.url, limits: { ...limits, silenceMs: 400 } })
    const watched = watching.watch(runId, { onState: (state) => states.push(state) })
    const all = collect(watched)
    await expect.poll(() => proxy.connections).toBeGreaterThan(1)
    await server.agentDoes(runId, CLAIM, ...iteration(true))
    expect((await all).at(-1)?.kind).toBe('run_end')
    expect(states).toEqual(['connecting', 'live', 'closed'])
  })

  test('is opened again if it does not open in time', async ({ server }) => {
    const runId = await achievedRun(server)
    let held = 0
    const http = createServer()
    // Accepts the connection and never answers.
    http.on('connection', () => {
      held += 1
    })
    const silent = `ws://127.0.0.1:${await portOf(http)}`
    class FirstNeverOpens extends WebSocket {
      constructor(url: string | URL, protocols?: string | string[]) {
        super(held === 0 ? silent : url, protocols)
        held ||= 1
      }
    }
    const watching = createClient({
      baseUrl: server.url,
      WebSocket: FirstNeverOpens,
      limits: { ...limits, connectMs: 400 },
    })
    const states: WatchState[] = []
    await collect(watching.watch(runId, { onState: (state) => states.push(state) }))
    expect(states).toEqual(['connecting', 'reconnecting', 'live', 'closed'])
  })
})

describe('a consumer that is slower than the server', () => {
  test('costs a bounded buffer, and gets everything', async ({ server }) => {
    const runId = await server.createRun()
    await server.agentDoes(runId, CLAIM)
    for (let i = 0; i < 100; i += 1) {
      ;(await client(server).runs.configure(runId, { max_iterations: 50 + i }))._unsafeUnwrap()
    }
    await server.agentDoes(runId, ...iteration(true))
    const proxy = await proxyOf(server.port)
    const buffered: number[] = []
    /** Counts what comes while the consumer does not take anything. */
    class Counting extends WebSocket {
      constructor(url: string | URL, protocols?: string | string[]) {
        super(url, protocols)
        const index = buffered.push(0) - 1
        this.addEventListener('message', ({ data }) => {
          buffered[index] = (buffered[index] ?? 0) + (this.readyState === 1 ? data.length : 0)
        })
      }
    }
    const watching = createClient({
      baseUrl: proxy.url,
      WebSocket: Counting,
      limits: { ...limits, bufferChars: 2000 },
    })
    const states: WatchState[] = []
    const seen: number[] = []
    const options = { kinds: 'all', onState: (s: WatchState) => states.push(s) } as const
    for await (const { seq } of watching.watch(runId, options)) {
      seen.push(seq)
      // Slow, so that everything that was sent arrives.
      if (seq % 10 === 0) for (let i = 0; i < 50; i += 1) await turn()
    }
    expect(seen).toEqual(seen.map((_, index) => index))
    expect(seen.length).toBeGreaterThan(100)
    expect(proxy.connections).toBeGreaterThan(3)
    // One frame may exceed the limit; the first one holds the whole system prompt.
    expect(Math.max(...buffered)).toBeLessThan(4000)
    expect(states).toEqual(['connecting', 'live', 'closed'])
  })
})

describe('a server that makes a mistake', () => {
  const step = { kind: 'step_start', run_id: UNKNOWN, iteration: 1, ts: 1 }
  const frame = (seq: number, more: object = {}) =>
    JSON.stringify({ ...step, payload: { node: 'plan' }, seq, ...more })

  /** Sends these frames to every client, then closes. */
  async function pretender(frames: readonly string[]): Promise<string> {
    const http = createServer((_request, response) => response.writeHead(502).end())
    const sockets = new WebSocketServer({ server: http })
    sockets.on('connection', (socket) => {
      for (const text of frames) socket.send(text)
      socket.close(1000)
    })
    onTestFinished(() => {
      for (const socket of sockets.clients) socket.terminate()
    })
    return `http://127.0.0.1:${await portOf(http)}`
  }

  test('by omitting an event is refused', async () => {
    const watching = createClient({ baseUrl: await pretender([frame(0), frame(2)]), limits })
    expect(await failure(watching.watch(UNKNOWN, { kinds: 'all' }))).toMatchObject({
      type: 'not_understood',
      seq: 0,
    })
  })

  test('by sending kinds that this client does not know is tolerated', async ({ server }) => {
    const end = {
      achieved: true,
      iterations: 1,
      total_tokens: 1,
      estimated_cost_usd: null,
      status: 'achieved',
      reason: '',
    }
    const frames = [
      frame(0),
      frame(1, { kind: 'coffee_break', payload: {} }),
      frame(2, { kind: 'run_end', payload: end }),
    ]
    const seen = await collect(
      client(server, await pretender(frames)).watch(UNKNOWN, { kinds: 'all' }),
    )
    expect(seen.map(({ seq }) => seq)).toEqual([0, 2])
  })
})
