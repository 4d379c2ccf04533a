import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { describe, expect } from 'vitest'
import {
  type AgentEvent,
  createClient,
  HistoryError,
  type HistoryOptions,
  type Kinds,
} from '../../src/client/index.ts'
import { damage } from '../support/requests.ts'
import { serve } from '../support/serve.ts'
import { CLAIM, iteration, replyWith, resultOf, type TestServer } from '../support/server.ts'
import { testWith } from '../support/test.ts'
import { broken, collect, headOf, proxyOf } from './support.ts'

const OUTPUT = 'all that it printed\n'.repeat(100)
const SHA256 = createHash('sha256').update(OUTPUT).digest('hex')
const UNKNOWN = '550e8400-e29b-41d4-a716-446655440000'

const test = testWith({
  // Small, so that a stream has begun before it reaches a record that cannot be read.
  live: { pageBytes: 1000 },
  artifacts: {
    read: async (sha256) =>
      sha256 === SHA256 ? { bytes: OUTPUT.length, stream: Readable.from([OUTPUT]) } : null,
  },
})

const client = (server: TestServer, baseUrl = server.url, limits = {}) =>
  createClient({ baseUrl, limits })

/** A run with one tool call whose output was cut, and whose goal is reached in the second iteration. */
async function endedRun(server: TestServer): Promise<string> {
  const runId = await server.createRun()
  const call = { call_id: 'a', tool: 'file_write', args: { path: 'a.py', content: '' } }
  const cut = { output: 'all …', sha256: SHA256, bytes: OUTPUT.length, truncated: true }
  await server.agentDoes(
    ...([runId, CLAIM, replyWith([call]), resultOf('a', 'file_write', cut)] as const),
    ...iteration(false).slice(1),
    ...iteration(true),
  )
  expect(await server.readModel.waitFor(runId, await headOf(server, runId), 5000)).toBe(true)
  return runId
}

const lines = (answer: ServerResponse, ...frames: readonly unknown[]): void => {
  answer.writeHead(200, { 'content-type': 'application/x-ndjson' })
  answer.write(frames.map((frame) => `${JSON.stringify(frame)}\n`).join(''))
}

const SHORT = { silenceMs: 50, requestMs: 50 }

/** Answers with one line, for a reader that does not have it, and then nothing. */
const beginsOnly: typeof fetch = async (url) => {
  const start = (body: ReadableStreamDefaultController<Uint8Array>) => {
    if (String(url).includes('after=-1')) {
      body.enqueue(Buffer.from(`${JSON.stringify(step(0))}\n`))
    }
  }
  return new Response(new ReadableStream({ start }))
}

const step = (seq: number) => {
  const run_id = UNKNOWN
  const payload = { node: 'plan' }
  return { kind: 'step_start', run_id, iteration: 1, ts: 1, payload, seq }
}

describe('the events of a run', () => {
  test.for<HistoryOptions>([
    {},
    { kinds: 'all' },
    { kinds: 'all', meta: true },
    { kinds: ['goal_check', 'run_created'] },
    { after: 4, kinds: 'all' },
    { after: 4 },
    { kinds: ['error'] },
  ])('are the same as those of a watch: %j', async (options, { server }) => {
    const runId = await endedRun(server)
    const watched = await collect(client(server).watch(runId, options))
    expect(await collect(client(server).history.events(runId, options))).toEqual(watched)
  })

  test.for<HistoryOptions>([
    { kinds: 'all' },
    { kinds: 'all', meta: true },
    { kinds: ['goal_check'] },
  ])('are complete although connections break: %j', async (options, { server }) => {
    const runId = await endedRun(server)
    const all = await collect(client(server).history.events(runId, options))
    for (const bytes of [900, 1500, 2500, 4000]) {
      const connections = [bytes]
      const proxy = await proxyOf(server.port, () => connections.shift() ?? 1e9)
      expect(await collect(client(server, proxy.url).history.events(runId, options))).toEqual(all)
      expect(connections).toEqual([])
    }
  })

  test('break off if the server is gone, and can be resumed', async ({ server }) => {
    const runId = await endedRun(server)
    const all = await collect(client(server).history.events(runId, { kinds: 'all' }))
    const connections = [2500, 0, 0, 0]
    const proxy = await proxyOf(server.port, () => connections.shift() ?? 1e9)
    const { read, thrown } = await broken(
      client(server, proxy.url).history.events(runId, { kinds: 'all' }),
    )
    expect(read.length).toBeGreaterThan(0)
    expect(thrown).toBeInstanceOf(HistoryError)
    const seq = read.length - 1
    expect(thrown).toMatchObject({ seq, error: { type: 'unreachable' } })
    const rest = client(server).history.events(runId, { kinds: 'all', after: seq })
    expect([...read, ...(await collect(rest))]).toEqual(all)
  })

  test.for<Kinds>(['all', ['run_end', 'goal_check']])(
    'end with an error before a record that cannot be read, with kinds %s',
    async (kinds, { server }) => {
      const runId = await server.createRun()
      await server.agentDoes(runId, CLAIM, ...iteration(false))
      const good = await collect(client(server).history.events(runId, { kinds: 'all' }))
      await damage(server, runId, good.length)
      const { read, thrown } = await broken(client(server).history.events(runId, { kinds }))
      expect(read).toEqual(good.filter(({ kind }) => kinds === 'all' || kinds.includes(kind)))
      expect(thrown).toMatchObject({
        name: 'HistoryError',
        seq: read.at(-1)?.seq,
        error: { type: 'refused', code: 'damaged_record' },
      })
    },
  )

  test('are given up if nothing arrives any more', async ({ server }) => {
    // The first line is there at once, so only the silence after it is a matter of time.
    const silent = createClient({ baseUrl: server.url, fetch: beginsOnly, limits: SHORT })
    const { read, thrown } = await broken(silent.history.events(UNKNOWN, { kinds: 'all' }))
    expect(read).toHaveLength(1)
    expect(thrown).toMatchObject({ seq: 0, error: { type: 'unreachable' } })
  })

  test.for([
    ['a frame that is not an event', [step(0), { seq: 1 }], 0, 'something that is not an event'],
    ['a gap', [step(0), step(2)], 0, 'the event 2 after the event 0'],
    ['an event twice', [step(0), step(1), step(1)], 1, 'the event 1 after the event 1'],
  ] as const)('are refused if they have %s', async ([_name, frames, seq, message], { server }) => {
    const url = await serve((_request, answer) => {
      lines(answer, ...frames)
      answer.end()
    })
    const { thrown } = await broken(client(server, url).history.events(UNKNOWN, { kinds: 'all' }))
    expect(thrown).toMatchObject({ seq, error: { type: 'not_understood' } })
    expect(String(thrown)).toContain(message)
  })

  test('are refused if a line is too long', async ({ server }) => {
    const url = await serve((_request, answer) => {
      answer.writeHead(200, { 'content-type': 'application/json' })
      for (let written = 0; written < 20; written += 1) answer.write(' '.repeat(100))
    })
    const short = client(server, url, { answerBytes: 1_000 })
    const { thrown } = await broken(short.history.events(UNKNOWN, { kinds: 'all' }))
    expect(String(thrown)).toContain('a line has more than 1000 characters')
  })

  test('are no longer read if the reader leaves or the signal aborts', async ({ server }) => {
    const closed: Promise<unknown>[] = []
    const url = await serve((_request, answer) => {
      closed.push(once(answer, 'close'))
      lines(answer, step(0), step(1))
    })
    for await (const _ of client(server, url).history.events(UNKNOWN, { kinds: 'all' })) break
    await closed[0]
    const leaving = new AbortController()
    const { signal } = leaving
    const left = client(server, url).history.events(UNKNOWN, { kinds: 'all', signal })
    const read: AgentEvent[] = []
    const { thrown } = await broken(
      (async function* () {
        for await (const event of left) {
          read.push(event)
          leaving.abort(new Error('enough'))
          yield event
        }
      })(),
    )
    expect([read.length, String(thrown)]).toEqual([1, 'Error: enough'])
    await closed[1]
  })
})

test('an earlier state can be read and compared, and has its conversation', async ({ server }) => {
  const runId = await endedRun(server)
  const { runs, history } = client(server)
  const then = (await runs.get(runId, { at: 3 }))._unsafeUnwrap()
  expect(then).toMatchObject({ status: 'running', progress: { seq: 3, iteration: 1 } })
  const to = await headOf(server, runId)
  const diff = (await history.diff(runId, { from: 0, to }))._unsafeUnwrap()
  expect(diff.changes).toContainEqual({ field: 'status', old: 'running', new: 'achieved' })
  expect(diff.files).toMatchObject([{ path: 'a.py', changed: 'yes' }])
  const first = (await history.conversation(runId, { at: 0 }))._unsafeUnwrap()
  expect(first.messages.map(({ role }) => role)).toEqual(['system', 'user'])
  const now = (await history.conversation(runId))._unsafeUnwrap()
  expect(now).toMatchObject({ run_id: runId, request: 'not_sent' })
})

test('an artifact comes in full', async ({ server }) => {
  const runId = await endedRun(server)
  const body = (await client(server).history.artifact(runId, SHA256))._unsafeUnwrap()
  expect(await new Response(body).text()).toBe(OUTPUT)
  const none = (await client(server).history.artifact(runId, 'f'.repeat(64)))._unsafeUnwrapErr()
  expect(none).toMatchObject({ type: 'refused', code: 'artifact_not_found', status: 404 })
})
