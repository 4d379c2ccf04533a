import { createHash, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import type { RequestListener, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, expectTypeOf, test } from 'vitest'
import {
  type AgentEvent,
  createClient,
  HistoryError,
  type HistoryOptions,
  type Kinds,
} from '../../src/client/index.ts'
import { streamOf } from '../../src/log/run-log.ts'
import {
  agentDoes,
  CLAIM,
  createRun,
  iteration,
  startTestServer,
  type TestServer,
} from '../http/support.ts'
import { startCuttingProxy } from './cutting-proxy.ts'
import { collect, headOf, listen } from './support.ts'

const OUTPUT = 'all that it printed\n'.repeat(100)
const SHA256 = createHash('sha256').update(OUTPUT).digest('hex')
const UNKNOWN = '550e8400-e29b-41d4-a716-446655440000'

let server: TestServer
let cleanups: (() => unknown)[]
beforeEach(async () => {
  server = await startTestServer({
    // Small, so that a stream has begun before it reaches a record that cannot be read.
    live: { pageBytes: 1000 },
    artifacts: {
      read: async (sha256) =>
        sha256 === SHA256 ? { bytes: OUTPUT.length, stream: Readable.from([OUTPUT]) } : null,
    },
  })
  cleanups = [() => server.stop()]
})
afterEach(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup()
})

const client = (baseUrl = server.url, limits = {}) => createClient({ baseUrl, limits })

/** What was read of a history before it failed, and the error. */
async function broken(events: AsyncIterable<AgentEvent>) {
  const read: AgentEvent[] = []
  try {
    for await (const event of events) read.push(event)
  } catch (thrown) {
    return { read, thrown }
  }
  throw new Error('the history was read to its end')
}

/** A run with one tool call whose output was cut, and whose goal is reached in the second iteration. */
async function endedRun(): Promise<string> {
  const runId = await createRun(server)
  const [reply, ...rest] = iteration(false)
  if (reply?.type !== 'record_reply') throw new Error('an iteration begins with a reply')
  const tool_calls = [{ call_id: 'a', tool: 'file_write', args: { path: 'a.py', content: '' } }]
  const result = {
    ...{ call_id: 'a', tool: 'file_write', output: 'all …', sha256: SHA256, exit_code: null },
    ...{ outcome: 'ok' as const, duration_ms: 1, bytes: OUTPUT.length, truncated: true },
  }
  await agentDoes(
    server,
    runId,
    CLAIM,
    { ...reply, message: { ...reply.message, tool_calls } },
    { type: 'record_tool_result', result },
    ...rest,
    ...iteration(true),
  )
  expect(await server.readModel.waitFor(runId, await headOf(server, runId), 5000)).toBe(true)
  return runId
}

/** Another program that answers instead of a server. */
async function other(listener: RequestListener): Promise<string> {
  const { url, stop } = await listen(listener)
  cleanups.push(stop)
  return url
}

const lines = (answer: ServerResponse, ...frames: readonly unknown[]): void => {
  answer.writeHead(200, { 'content-type': 'application/x-ndjson' })
  answer.write(frames.map((frame) => `${JSON.stringify(frame)}\n`).join(''))
}

const SHORT = { silenceMs: 50, requestMs: 50 }

/** Answers with one line and then nothing; answers no request for a page. */
const beginsOnly: typeof fetch = async (_url, options) => {
  const headers = new Headers(options?.headers)
  if (headers.get('accept') !== 'application/x-ndjson') {
    await new Promise((resolve) => options?.signal?.addEventListener('abort', resolve))
    throw new Error('aborted')
  }
  const start = (body: ReadableStreamDefaultController<Uint8Array>) =>
    body.enqueue(Buffer.from(`${JSON.stringify(step(0))}\n`))
  return new Response(new ReadableStream({ start }))
}

const step = (seq: number) => {
  const [run_id, payload] = [UNKNOWN, { node: 'plan' }]
  return { kind: 'step_start', run_id, iteration: 1, ts: 1, payload, seq }
}

describe('the events of a run', () => {
  test.each<HistoryOptions>([
    {},
    { kinds: 'all' },
    { kinds: 'all', meta: true },
    { kinds: ['goal_check', 'run_created'] },
    { after: 4, kinds: 'all' },
    { after: 4 },
    { kinds: ['error'] },
  ])('are the same as those of a watch: %j', async (options) => {
    const runId = await endedRun()
    const watched = await collect(client().watch(runId, options))
    expect(await collect(client().history.events(runId, options))).toEqual(watched)
  })

  test('are those up to now if the run has not ended', async () => {
    const runId = await createRun(server)
    await agentDoes(server, runId, CLAIM)
    const read = await collect(client().history.events(runId, { kinds: 'all' }))
    expect(read.map(({ kind }) => kind)).toEqual(['run_created', 'run_claimed', 'step_start'])
    const after = read.at(-1)?.seq
    expect(await collect(client().history.events(runId, { after, kinds: 'all' }))).toEqual([])
  })

  test('are typed by the selected kinds', () => {
    const read = client().history.events(UNKNOWN, { kinds: ['goal_check'] })
    expectTypeOf(read).toEqualTypeOf<AsyncGenerator<AgentEvent<'goal_check'>, void, undefined>>()
  })

  test.each<HistoryOptions>([
    { kinds: 'all' },
    { kinds: 'all', meta: true },
    { kinds: ['goal_check'] },
  ])('are complete although connections break: %j', async (options) => {
    const runId = await endedRun()
    const all = await collect(client().history.events(runId, options))
    for (const bytes of [900, 1500, 2500, 4000]) {
      const connections = [bytes]
      const proxy = await startCuttingProxy(server.port, () => connections.shift() ?? 1e9)
      cleanups.push(() => proxy.stop())
      expect(await collect(client(proxy.url).history.events(runId, options))).toEqual(all)
      expect(connections).toEqual([])
    }
  })

  test('break off if the server is gone, and can be resumed', async () => {
    const runId = await endedRun()
    const all = await collect(client().history.events(runId, { kinds: 'all' }))
    const connections = [2500, 0, 0, 0]
    const proxy = await startCuttingProxy(server.port, () => connections.shift() ?? 1e9)
    cleanups.push(() => proxy.stop())
    const { read, thrown } = await broken(client(proxy.url).history.events(runId, { kinds: 'all' }))
    expect(read.length).toBeGreaterThan(0)
    expect(thrown).toBeInstanceOf(HistoryError)
    const seq = read.length - 1
    expect(thrown).toMatchObject({ seq, error: { type: 'unreachable' } })
    const rest = client().history.events(runId, { kinds: 'all', after: seq })
    expect([...read, ...(await collect(rest))]).toEqual(all)
  })

  test.each<Kinds>(['all', ['run_end', 'goal_check']])(
    'end with an error before a record that cannot be read, with kinds %s',
    async (kinds) => {
      const runId = await createRun(server)
      await agentDoes(server, runId, CLAIM, ...iteration(false))
      const good = await collect(client().history.events(runId, { kinds: 'all' }))
      const event = { id: randomUUID(), type: 'step_start', data: '{}', metadata: '{}' }
      const stored = await server.store.append(streamOf(runId), [event], {
        expectedRevision: good.length - 1,
      })
      expect(stored.isOk()).toBe(true)
      const { read, thrown } = await broken(client().history.events(runId, { kinds }))
      expect(read).toEqual(good.filter(({ kind }) => kinds === 'all' || kinds.includes(kind)))
      expect(thrown).toMatchObject({
        name: 'HistoryError',
        seq: good.length - 1,
        error: { type: 'refused', code: 'damaged_record' },
      })
    },
  )

  test('of an unknown run are refused', async () => {
    const { thrown } = await broken(client().history.events(UNKNOWN))
    expect(thrown).toMatchObject({ seq: -1, error: { type: 'refused', code: 'run_not_found' } })
  })

  test('are given up if nothing arrives any more', async () => {
    // The first line is there at once, so only the silence after it is a matter of time.
    const silent = createClient({ baseUrl: server.url, fetch: beginsOnly, limits: SHORT })
    const { read, thrown } = await broken(silent.history.events(UNKNOWN, { kinds: 'all' }))
    expect(read).toHaveLength(1)
    expect(thrown).toMatchObject({ seq: 0, error: { type: 'unreachable' } })
  })

  test.each([
    ['a frame that is not an event', [step(0), { seq: 1 }], 0, 'something that is not an event'],
    ['a gap', [step(0), step(2)], 0, 'the event 2 after the event 0'],
    ['an event twice', [step(0), step(1), step(1)], 1, 'the event 1 after the event 1'],
  ])('are refused if they have %s', async (_name, frames, seq, message) => {
    const url = await other((_request, answer) => {
      lines(answer, ...frames)
      answer.end()
    })
    const { thrown } = await broken(client(url).history.events(UNKNOWN, { kinds: 'all' }))
    expect(thrown).toMatchObject({ seq, error: { type: 'not_understood' } })
    expect(String(thrown)).toContain(message)
  })

  test('are refused if a page links to itself', async () => {
    const url = await other((request, answer) => {
      if (request.headers.accept === 'application/x-ndjson') {
        lines(answer, step(0))
        answer.write('\n', () => answer.destroy())
        return
      }
      const headers = { 'content-type': 'application/json', link: '</e?after=-1>; rel="next"' }
      answer.writeHead(200, headers).end('[]')
    })
    const { thrown } = await broken(client(url).history.events(UNKNOWN, { kinds: 'all' }))
    expect(thrown).toMatchObject({ error: { type: 'not_understood' } })
  })

  test('are refused if a line or a page is too long', async () => {
    const url = await other((_request, answer) => {
      answer.writeHead(200, { 'content-type': 'application/json' })
      for (let written = 0; written < 20; written += 1) answer.write(' '.repeat(100))
    })
    const short = client(url, { answerBytes: 1_000 })
    const { thrown } = await broken(short.history.events(UNKNOWN, { kinds: 'all' }))
    expect(thrown).toMatchObject({ error: { type: 'not_understood' } })
    expect(String(thrown)).toContain('longer than this program reads')
  })

  test('are skipped if this client does not know their kind', async () => {
    const url = await other((_request, answer) => {
      lines(answer, step(0), { ...step(1), kind: 'sang' }, step(2))
      answer.end()
    })
    const read = await collect(client(url).history.events(UNKNOWN, { kinds: 'all' }))
    expect(read.map(({ seq }) => seq)).toEqual([0, 2])
  })

  test('are no longer read if the reader leaves or the signal aborts', async () => {
    const closed: Promise<unknown>[] = []
    const url = await other((_request, answer) => {
      closed.push(once(answer, 'close'))
      lines(answer, step(0), step(1))
    })
    for await (const _ of client(url).history.events(UNKNOWN, { kinds: 'all' })) break
    await closed[0]
    const leaving = new AbortController()
    const { read, thrown } = await broken(abortingAfterOne(leaving))
    async function* abortingAfterOne({ signal, abort }: AbortController) {
      for await (const event of client(url).history.events(UNKNOWN, { kinds: 'all', signal })) {
        yield event
        abort.call(leaving, new Error('enough'))
      }
    }
    expect([read.length, String(thrown)]).toEqual([1, 'Error: enough'])
    await closed[1]
  })
})

describe('an earlier state', () => {
  test('of a run can be read', async () => {
    const runId = await endedRun()
    const { runs } = client()
    const then = (await runs.get(runId, { at: 3 }))._unsafeUnwrap()
    expect(then).toMatchObject({ status: 'running', progress: { seq: 3, iteration: 1 } })
    const far = (await runs.get(runId, { at: 999 }))._unsafeUnwrapErr()
    expect(far).toMatchObject({ code: 'record_not_found' })
  })

  test('is compared with a later one', async () => {
    const runId = await endedRun()
    const last = await headOf(server, runId)
    const diff = (await client().history.diff(runId, { from: 0, to: last }))._unsafeUnwrap()
    expect(diff.changes).toContainEqual({ field: 'status', old: 'running', new: 'achieved' })
    expect(diff.files).toMatchObject([{ path: 'a.py', changed: 'yes' }])
    const turned = await client().history.diff(runId, { from: 3, to: 1 })
    expect(turned._unsafeUnwrapErr()).toMatchObject({ code: 'invalid_request' })
  })

  test('contains the conversation that was sent to the model', async () => {
    const runId = await endedRun()
    const { history } = client()
    const first = (await history.conversation(runId, { at: 0 }))._unsafeUnwrap()
    expect(first.messages.map(({ role }) => role)).toEqual(['system', 'user'])
    const now = (await history.conversation(runId))._unsafeUnwrap()
    expect(now).toMatchObject({ run_id: runId, request: 'not_sent' })
    expect(now.messages.length).toBeGreaterThan(first.messages.length)
  })
})

test('an artifact comes in full', async () => {
  const runId = await endedRun()
  const body = (await client().history.artifact(runId, SHA256))._unsafeUnwrap()
  expect(await new Response(body).text()).toBe(OUTPUT)
  const none = (await client().history.artifact(runId, 'f'.repeat(64)))._unsafeUnwrapErr()
  expect(none).toMatchObject({ type: 'refused', code: 'artifact_not_found', status: 404 })
})
