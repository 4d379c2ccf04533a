import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, expectTypeOf, test } from 'vitest'
import { WebSocketServer } from 'ws'
import {
  type AgentEvent,
  createClient,
  type Kinds,
  WatchError,
  type WatchOptions,
  type WatchState,
} from '../../src/client/index.ts'
import { streamOf } from '../../src/log/run-log.ts'
import {
  agentDoes,
  CLAIM,
  createRun,
  iteration,
  RunWriter,
  startTestServer,
  type TestServer,
} from '../http/support.ts'
import { createdRecord } from '../support/run-records.ts'
import { startCuttingProxy } from './cutting-proxy.ts'
import { collect, headOf } from './support.ts'

const UNKNOWN = '550e8400-e29b-41d4-a716-446655440000'
const limits = { retryMs: [1, 4] } as const
let server: TestServer
let cleanups: (() => unknown)[]

beforeEach(async () => {
  server = await startTestServer()
  cleanups = [() => server.stop()]
})
afterEach(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup()
})

const client = (baseUrl = server.url) => createClient({ baseUrl, limits })

const failure = async (watched: AsyncIterable<unknown>): Promise<unknown> => {
  return collect(watched).then(
    () => 'it ended',
    (thrown: unknown) => thrown,
  )
}

async function endedRun(): Promise<string> {
  const runId = await createRun(server)
  await agentDoes(server, runId, CLAIM, ...iteration(false), ...iteration(true))
  return runId
}

describe('a watch', () => {
  test('gives the history, then live events, and ends with the run', async () => {
    const runId = await createRun(server)
    await agentDoes(server, runId, CLAIM, ...iteration(false))
    const seen: AgentEvent[] = []
    for await (const event of client().watch(runId, { kinds: 'all' })) {
      seen.push(event)
      if (event.kind === 'iteration_complete' && event.iteration === 1) {
        await agentDoes(server, runId, ...iteration(true))
      }
    }
    expect(seen.map(({ seq }) => seq)).toEqual(seen.map((_, index) => index))
    expect([seen[0]?.kind, seen.at(-1)?.kind]).toEqual(['run_created', 'run_end'])
  })

  test('gives the documented kinds by default, typed by their kind', async () => {
    const runId = await endedRun()
    const documented = await collect(client().watch(runId))
    expect(documented.map(({ kind }) => kind)).not.toContain('run_created')
    expectTypeOf(documented[0]).toEqualTypeOf<
      | AgentEvent<
          | 'step_start'
          | 'tool_call'
          | 'tool_result'
          | 'llm_usage'
          | 'goal_check'
          | 'human_check_required'
          | 'human_check_response'
          | 'iteration_complete'
          | 'run_end'
          | 'error'
        >
      | undefined
    >()
    const checks = await collect(client().watch(runId, { kinds: ['goal_check'] }))
    expect(checks.map(({ payload }) => payload.achieved)).toEqual([false, true])
    expectTypeOf(checks[0]).toEqualTypeOf<AgentEvent<'goal_check'> | undefined>()
    expect(await collect(client().watch(runId, { kinds: [] }))).toEqual([])
  })

  test('gives ids and metadata only with `meta`', async () => {
    const runId = await endedRun()
    const bare = await collect(client().watch(runId, { kinds: 'all' }))
    const kept = await collect(client().watch(runId, { kinds: 'all', meta: true }))
    expect(kept.map(({ id: _, meta: __, ...event }) => event)).toEqual(bare)
    for (const [seq, { meta }] of kept.entries()) {
      expect(meta?.prev_hash).toBe(kept[seq - 1]?.meta?.hash ?? '0'.repeat(64))
    }
    expect(kept[0]?.meta?.principal).toBe('local')
    expect(bare.some((event) => 'meta' in event || 'id' in event)).toBe(false)
  })

  test('begins after a seq, even after the last', async () => {
    const runId = await endedRun()
    const all = await collect(client().watch(runId, { kinds: 'all' }))
    const rest = await collect(client().watch(runId, { kinds: 'all', after: 3 }))
    expect(rest).toEqual(all.slice(4))
    const last = all.length - 1
    expect(await collect(client().watch(runId, { after: last }))).toEqual([])
  })

  test('reports where the history ends, even if none of it was selected', async () => {
    const runId = await createRun(server)
    await agentDoes(server, runId, CLAIM, ...iteration(false))
    const head = await headOf(server, runId)
    const seen: (number | string)[] = []
    let work: Promise<void> | undefined
    const watched = client().watch(runId, {
      kinds: 'all',
      onCaughtUp: (seq) => {
        seen.push(`caught up with ${seq}`)
        if (seq === head) work = agentDoes(server, runId, ...iteration(true))
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

    const last = await headOf(server, runId)
    const asides: number[] = []
    const few = client().watch(runId, { kinds: ['error'], onCaughtUp: (seq) => asides.push(seq) })
    expect(await collect(few)).toEqual([])
    expect(asides.every((seq) => seq <= last)).toBe(true)
  })

  test('reports again after a lost connection that it has caught up', async () => {
    const runId = await createRun(server)
    const proxy = await startCuttingProxy(server.port)
    cleanups.push(() => proxy.stop())
    const caughtUp: number[] = []
    let work: Promise<void> | undefined
    const onCaughtUp = (seq: number) => {
      if (caughtUp.push(seq) === 1) proxy.cut()
      else work = agentDoes(server, runId, CLAIM, ...iteration(true))
    }
    // No event of the history is selected, so only the notice at its end moves the cursor.
    const seen = await collect(client(proxy.url).watch(runId, { kinds: ['run_end'], onCaughtUp }))
    await work
    expect(seen.map(({ kind }) => kind)).toEqual(['run_end'])
    expect(caughtUp).toEqual([0, 0])
  })

  test('gives an error event that comes just before the end of the run', async () => {
    const runId = await createRun(server)
    await agentDoes(server, runId, CLAIM, { type: 'fail', message: 'disk full', traceback: '' })
    const seen = await collect(client().watch(runId))
    expect(seen.slice(-2).map(({ kind }) => kind)).toEqual(['error', 'run_end'])
    const only = await collect(client().watch(runId, { kinds: ['error'] }))
    expect(only.map(({ payload }) => payload.message)).toEqual(['disk full'])
  })

  test('sends its token', async () => {
    const token = 'ÿ?-≥-0123456789'
    const guarded = await startTestServer({ token })
    cleanups.push(() => guarded.stop())
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
  test.each([UNKNOWN, 'the-last-one'])('for the unknown run %s', async (runId) => {
    const thrown = await failure(client().watch(runId))
    expect(thrown).toBeInstanceOf(WatchError)
    expect(thrown).toMatchObject({ type: 'unknown_run', seq: -1 })
    expect(String(thrown)).toContain(runId)
  })

  test('for a cursor that the run has not reached', async () => {
    const thrown = await failure(client().watch(await createRun(server), { after: 99 }))
    expect(thrown).toMatchObject({ type: 'refused', seq: 99 })
    expect(String(thrown)).toContain('after=99')
  })

  test.each<Kinds>(['all', ['run_end']])('at a damaged record, watching %s', async (kinds) => {
    const runId = await createRun(server)
    await agentDoes(server, runId, CLAIM)
    const event = { id: randomUUID(), type: 'step_start', data: '{}', metadata: '{}' }
    const at = await headOf(server, runId)
    const stored = await server.store.append(streamOf(runId), [event], { expectedRevision: at })
    expect(stored.isOk()).toBe(true)
    const thrown = await failure(client().watch(runId, { kinds }))
    expect(thrown).toMatchObject({ type: 'damaged_record' })
    expect(String(thrown)).toContain(`Record ${at + 1} of this run cannot be read`)
  })
})

describe('leaving', () => {
  const openSockets = () => server.app.websocketServer.clients.size

  test('by break closes the connection', async () => {
    const runId = await createRun(server)
    const states: WatchState[] = []
    const onState = (state: WatchState) => states.push(state)
    for await (const _ of client().watch(runId, { kinds: 'all', onState })) break
    expect(states).toEqual(['connecting', 'live', 'closed'])
    while (openSockets() > 0) await turn()
  })

  test('by the signal rejects with its reason, even while nothing happens', async () => {
    const runId = await createRun(server)
    const leave = new AbortController()
    const states: WatchState[] = []
    const watched = client().watch(runId, {
      signal: leave.signal,
      onState: (state) => {
        states.push(state)
        if (state === 'live') leave.abort(new Error('enough'))
      },
    })
    expect(await failure(watched)).toEqual(new Error('enough'))
    expect(states).toEqual(['connecting', 'live', 'closed'])
    while (openSockets() > 0) await turn()
  })

  test('by the signal drops the events that have arrived', async () => {
    const runId = await endedRun()
    const leave = new AbortController()
    const seen: number[] = []
    const watched = client().watch(runId, { kinds: 'all', signal: leave.signal })
    const done = (async () => {
      for await (const { seq } of watched) {
        seen.push(seq)
        if (seq === 2) leave.abort()
      }
    })()
    await expect(done).rejects.toMatchObject({ name: 'AbortError' })
    expect(seen).toEqual([0, 1, 2])
    await expect(failure(client().watch(runId, { signal: AbortSignal.abort('no') }))).resolves.toBe(
      'no',
    )
  })

  test('by the signal ends the wait before the next connection', async () => {
    const leave = new AbortController()
    const nobody = await startCuttingProxy(server.port)
    await nobody.stop()
    const watched = createClient({ baseUrl: nobody.url, limits: { retryMs: [1e6, 1e6] } }).watch(
      UNKNOWN,
      {
        signal: leave.signal,
        onState: (state) => {
          if (state === 'reconnecting') leave.abort('enough')
        },
      },
    )
    expect(await failure(watched)).toBe('enough')
  })
})

describe('a connection that is lost', () => {
  test('is opened again, and the watch reports it', async () => {
    const runId = await createRun(server)
    const proxy = await startCuttingProxy(server.port)
    cleanups.push(() => proxy.stop())
    const states: WatchState[] = []
    const seen: number[] = []
    const onState = (state: WatchState) => states.push(state)
    for await (const { seq, kind } of client(proxy.url).watch(runId, { kinds: 'all', onState })) {
      seen.push(seq)
      if (seq > 0) continue
      expect(kind).toBe('run_created')
      proxy.cut()
      await agentDoes(server, runId, CLAIM, ...iteration(true))
    }
    expect(seen).toEqual(seen.map((_, index) => index))
    expect(seen.length).toBeGreaterThan(5)
    expect(states).toEqual(['connecting', 'live', 'reconnecting', 'live', 'closed'])
  })

  test('is replaced after a long silence, without a report', async () => {
    const runId = await createRun(server)
    const proxy = await startCuttingProxy(server.port)
    cleanups.push(() => proxy.stop())
    const states: WatchState[] = []
    const watching = createClient({ baseUrl: proxy.url, limits: { ...limits, silenceMs: 20 } })
    const watched = watching.watch(runId, { onState: (state) => states.push(state) })
    const all = collect(watched)
    while (proxy.connections < 4) await turn()
    await agentDoes(server, runId, CLAIM, ...iteration(true))
    expect((await all).at(-1)?.kind).toBe('run_end')
    expect(states).toEqual(['connecting', 'live', 'closed'])
  })

  test('is opened again if it does not open in time', async () => {
    const runId = await endedRun()
    let held = 0
    const http = createServer().listen(0, '127.0.0.1')
    // Accepts the connection and never answers.
    http.on('connection', () => {
      held += 1
    })
    await once(http, 'listening')
    cleanups.push(
      () => http.close(),
      () => http.closeAllConnections(),
    )
    const silent = `ws://127.0.0.1:${(http.address() as AddressInfo).port}`
    class FirstNeverOpens extends WebSocket {
      constructor(url: string | URL, protocols?: string | string[]) {
        super(held === 0 ? silent : url, protocols)
        held ||= 1
      }
    }
    const watching = createClient({
      baseUrl: server.url,
      WebSocket: FirstNeverOpens,
      limits: { ...limits, connectMs: 50 },
    })
    const states: WatchState[] = []
    await collect(watching.watch(runId, { onState: (state) => states.push(state) }))
    expect(states).toEqual(['connecting', 'reconnecting', 'live', 'closed'])
  })
})

describe('a consumer that is slower than the server', () => {
  test('costs a bounded buffer, and gets everything', async () => {
    const runId = await createRun(server)
    await agentDoes(server, runId, CLAIM)
    for (let i = 0; i < 100; i += 1) {
      ;(await client().runs.configure(runId, { max_iterations: 50 + i }))._unsafeUnwrap()
    }
    await agentDoes(server, runId, ...iteration(true))
    const proxy = await startCuttingProxy(server.port)
    cleanups.push(() => proxy.stop())
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

test('a consumer that keeps up needs one connection, even for a long run', async () => {
  const runId = await createRun(server)
  const proxy = await startCuttingProxy(server.port)
  cleanups.push(() => proxy.stop())
  const { runs } = client()
  const watching = createClient({ baseUrl: proxy.url, limits: { ...limits, bufferChars: 2000 } })
  let chars = 0
  for await (const event of watching.watch(runId, { kinds: 'all' })) {
    chars += JSON.stringify(event).length
    if (chars > 10_000) break
    ;(await runs.configure(runId, { max_iterations: 50 + event.seq }))._unsafeUnwrap()
  }
  expect(proxy.connections).toBe(1)
})

describe('a server that makes a mistake', () => {
  const frame = (seq: number, more: object = {}) =>
    JSON.stringify({
      kind: 'step_start',
      run_id: UNKNOWN,
      iteration: 1,
      ts: 1,
      payload: { node: 'plan' },
      seq,
      ...more,
    })

  /** Sends these frames to every client, then closes. */
  async function pretender(frames: readonly string[], code = 1000): Promise<string> {
    const http = createServer((_request, response) => response.writeHead(502).end())
    const sockets = new WebSocketServer({ server: http })
    sockets.on('connection', (socket) => {
      for (const text of frames) socket.send(text)
      socket.close(code)
    })
    http.listen(0, '127.0.0.1')
    await once(http, 'listening')
    cleanups.push(() => {
      for (const socket of sockets.clients) socket.terminate()
      http.close()
    })
    return `http://127.0.0.1:${(http.address() as AddressInfo).port}`
  }

  async function watchPretender(frames: readonly string[], options: WatchOptions = {}) {
    return failure(client(await pretender(frames)).watch(UNKNOWN, options))
  }

  test('by sending an event twice is refused', async () => {
    const thrown = await watchPretender([frame(3), frame(3)])
    expect(thrown).toMatchObject({ type: 'not_understood', seq: 3 })
  })

  test('by omitting an event is refused', async () => {
    const thrown = await watchPretender([frame(0), frame(2)], { kinds: 'all' })
    expect(thrown).toMatchObject({ type: 'not_understood', seq: 0 })
  })

  test('by sending something that is not an event is refused', async () => {
    const thrown = await watchPretender([frame(0), 'hello'])
    expect(thrown).toMatchObject({ type: 'not_understood', seq: 0 })
  })

  test('by closing before the run has ended is asked again', async () => {
    const leave = new AbortController()
    let lost = 0
    const thrown = await watchPretender([frame(0)], {
      signal: leave.signal,
      onState: (state) => {
        if (state !== 'reconnecting') return
        lost += 1
        // This server always sends the same frames.
        leave.abort('seen')
      },
    })
    expect([thrown, lost]).toEqual(['seen', 1])
  })

  test('by sending kinds that this client does not know is tolerated', async () => {
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
    const seen = await collect(client(await pretender(frames)).watch(UNKNOWN, { kinds: 'all' }))
    expect(seen.map(({ seq }) => seq)).toEqual([0, 2])
  })
})
