import { once } from 'node:events'
import { Readable } from 'node:stream'
import { errAsync } from 'neverthrow'
import { describe, expect } from 'vitest'
import WebSocket from 'ws'
import * as z from 'zod'
import { LEDGERS, LedgerProof, PublishedKeys } from '../../../src/api/audit.ts'
import { checkSeal, knownKeys } from '../../../src/checkpoints/public-keys.ts'
import { AccessEntry } from '../../../src/domain/access.ts'
import { SHOWN } from '../../../src/http/plugins/access-log.ts'
import type { EventStore } from '../../../src/store/event-store.ts'
import { verifiedLedger } from '../../audit/verified-ledger.ts'
import {
  bound,
  CLAIM,
  iteration,
  json,
  rawRequest,
  type ServerOptions,
  type TestServer,
} from '../../support/server.ts'
import { test as base } from '../../support/test.ts'

const TOKEN = 'a-long-enough-token'
const TO_BE_SEEN = { flushMs: 10 }

/** `start` is `startServer` with an access log. */
const test = base.extend('start', async ({ startServer }) => {
  return (options: ServerOptions = {}) => startServer({ accessLog: TO_BE_SEEN, ...options })
})

const Frames = z.array(
  z
    .looseObject({ seq: z.int() })
    .transform(({ seq, ...entry }) => ({ seq, ...AccessEntry.parse(entry) })),
)
type Found = z.output<typeof Frames>[number]

async function found(
  { url }: TestServer,
  query = '',
  headers: Record<string, string> = {},
): Promise<Found[]> {
  const answer = await fetch(`${url}/api/access${query}`, { headers })
  expect(answer.status).toBe(200)
  return Frames.parse(await answer.json())
}
/** Without the entries about reading the access log itself. */
const others = async (...args: Parameters<typeof found>) =>
  (await found(...args)).filter(({ kind }) => kind !== 'ledger_read')

const brief = ({ kind, payload }: Found): string =>
  'operation' in payload ? `${kind} ${payload.operation}` : kind

async function finishedRun(server: TestServer): Promise<string> {
  const runId = await server.createRun()
  await server.agentDoes(runId, CLAIM, ...iteration(true))
  expect(await server.readModel.waitFor(runId, 5, 5000)).toBe(true)
  return runId
}

const Operations = z.object({
  paths: z.record(
    z.string(),
    z.record(z.string(), z.looseObject({ operationId: z.string().optional() })),
  ),
})
/** Operations that show nothing of the log. */
const SHOWS_NOTHING = [
  'listGoals',
  'listServerApprovals',
  'listKeys',
  'readLogKey',
  'listModels',
  'me',
  'live',
  'ready',
  'showIsolation',
  'listMcpServers',
  'metrics',
]

describe('the list of operations that show something of the log', () => {
  test('names every operation that reads', async ({ start }) => {
    const { url } = await start()
    const { paths } = Operations.parse(await (await fetch(`${url}/openapi.json`)).json())
    const readable = Object.values(paths).flatMap(({ get }) => get?.operationId ?? [])
    expect([...Object.keys(SHOWN), ...SHOWS_NOTHING].sort()).toEqual(readable.sort())
  })
})

describe('an access', () => {
  test('by a client that only verifies is recorded as that, whatever it downloads', async ({
    start,
  }) => {
    const server = await start()
    const runId = await finishedRun(server)
    const headers = { 'retrai-purpose': 'verification' }
    for (const path of ['', `/${runId}`, `/${runId}/export`]) {
      await (await fetch(`${server.url}/api/runs${path}`, { headers })).arrayBuffer()
    }
    await expect
      .poll(async () => (await others(server)).map(brief))
      .toEqual(['runs_listed listRuns', 'run_verified getRun', 'run_verified exportRun'])
  })

  test('is recorded for every way to read a run', async ({ start }) => {
    const server = await start()
    const runId = await finishedRun(server)
    const paths = [
      '/api/runs',
      `/api/runs/${runId.toUpperCase()}`,
      `/api/runs/${runId}/diff?from=0&to=2`,
      `/api/runs/${runId}/conversation`,
      `/api/runs/${runId}/events?kinds=all&limit=2`,
      `/api/events?limit=1`,
      `/api/runs/${runId}/export`,
      `/api/runs/${runId}/proof`,
      '/api/checkpoints',
    ]
    for (const path of paths) {
      const answer = await fetch(server.url + path)
      expect(answer.status, path).toBe(200)
      await answer.arrayBuffer()
    }
    await expect
      .poll(async () => (await others(server)).map(brief))
      .toEqual([
        'runs_listed listRuns',
        'run_read getRun',
        'run_read diffRun',
        'run_read readConversation',
        'run_read runEvents',
        'feed_read allEvents',
        'run_exported exportRun',
        'run_verified proveRun',
        'checkpoints_read listCheckpoints',
      ])
    const entries = await others(server)
    expect(entries[4]?.payload).toEqual({
      run_id: runId,
      principal: 'local',
      client: '127.0.0.1',
      operation: 'runEvents',
      asked: 'kinds=all&limit=2',
      count: 1,
      first_ts: expect.any(Number),
      last_ts: expect.any(Number),
    })
    expect(entries[1]?.payload).toMatchObject({ run_id: runId, asked: '' })
    expect(entries[0]?.payload).toMatchObject({ run_id: null })
  })

  test('is not recorded if nothing was shown: no such run, a bad request, a health check', async ({
    start,
  }) => {
    const server = await start()
    const paths = ['/api/runs/none', '/api/runs?limit=0', '/health/ready', '/api/goals', '/']
    for (const path of paths) await (await fetch(server.url + path)).arrayBuffer()
    await fetch(`${server.url}/api/runs`)
    await expect
      .poll(async () => (await others(server)).map(brief))
      .toEqual(['runs_listed listRuns'])
  })

  test('is counted if it is repeated, with 304 and with 200', async ({ start }) => {
    let now = 1000
    const server = await start({ accessLog: { ...TO_BE_SEEN, clock: () => now } })
    const runId = await server.createRun()
    const headers = { 'if-none-match': '"0"' }
    for (let n = 0; n < 20; n += 1) await fetch(`${server.url}/api/runs/${runId}`, { headers })
    await fetch(`${server.url}/api/runs/${runId}`, { method: 'HEAD' })
    now += 60
    await expect.poll(async () => (await others(server)).length).toBe(2)
    const counts = (await others(server)).map(({ payload }) => payload.count)
    expect(counts).toEqual([1, 20])
  })

  test('names the token, but not its secret or that of a ticket', async ({ start }) => {
    const server = await start({ token: TOKEN })
    const headers = { authorization: `Bearer ${TOKEN}` }
    const created = await fetch(`${server.url}/api/runs`, {
      ...json('POST', { goal: 'pytest' }),
      headers: { ...headers, 'content-type': 'application/json' },
    })
    const { run_id } = z.object({ run_id: z.string() }).parse(await created.json())
    const asked = await fetch(`${server.url}/api/tickets`, { method: 'POST', headers })
    const { ticket } = z.object({ ticket: z.string() }).parse(await asked.json())
    const socket = new WebSocket(`${server.url}/api/ws/${run_id}?kinds=all&ticket=${ticket}`)
    await once(socket, 'message')
    socket.close()
    await expect
      .poll(async () => (await others(server, '', headers)).map(brief))
      .toEqual(['run_watched watchRun', 'watch_ended watchRun'])
    const text = JSON.stringify(await found(server, '', headers))
    expect(text).toContain('"asked":"kinds=all"')
    expect(text).toContain('"principal":"token"')
    expect(text).not.toContain(ticket)
    expect(text).not.toContain(TOKEN)
  })
})

describe('a watch', () => {
  test.for([
    ['a run', 'run_watched watchRun', (runId: string) => `/api/ws/${runId}?kinds=all`],
    ['all runs', 'feed_watched watchAll', () => '/api/ws?kinds=all'],
  ] as const)(
    'of %s over a WebSocket is recorded when it begins and when it ends',
    async ([_, began, path], { start }) => {
      const server = await start()
      const runId = await server.createRun()
      const socket = new WebSocket(server.url + path(runId))
      const [data] = await once(socket, 'message')
      await expect.poll(async () => (await others(server)).map(brief)).toEqual([began])
      await server.agentDoes(runId, CLAIM)
      await once(socket, 'message')
      socket.terminate()
      await expect.poll(async () => (await others(server)).length).toBe(2)
      const [, ended] = await others(server)
      const { cursor } = z.object({ cursor: z.string().optional() }).parse(JSON.parse(String(data)))
      expect(ended?.kind).toBe('watch_ended')
      const last = ended?.kind === 'watch_ended' ? ended.payload.last : null
      if (cursor === undefined) expect([1, 2]).toContain(last)
      else expect(String(last)).toMatch(/\.[12]$/)
    },
  )

  test('over server-sent events is recorded too', async ({ start }) => {
    const server = await start()
    const runId = await finishedRun(server)
    const headers = { accept: 'text/event-stream' }
    const answer = await fetch(`${server.url}/api/runs/${runId}/events`, { headers })
    expect(await answer.text()).toContain('event: end')
    const leave = new AbortController()
    const feed = await fetch(`${server.url}/api/events`, { headers, signal: leave.signal })
    await feed.body?.getReader().read()
    leave.abort()
    await expect
      .poll(async () => (await others(server)).map(brief).sort())
      .toEqual([
        'feed_watched allEvents',
        'run_watched runEvents',
        'watch_ended allEvents',
        'watch_ended runEvents',
      ])
    const ended = (await others(server, '?kinds=watch_ended'))[0]
    const last = server.readModel.get(runId)?.state.seq
    expect(ended?.payload).toMatchObject({ run_id: runId, last })
  })

  test('ends with the server, and its end is in the log', async ({ startServer }) => {
    const entries: string[] = []
    const server = await startServer({
      accessLog: { flushMs: 1e6 },
      wrapStore: (store) => ({
        ...bound(store),
        append: (stream, events, options) => {
          if (stream === 'retrai-access') entries.push(...events.map(({ type }) => type))
          return store.append(stream, events, options)
        },
      }),
    })
    const runId = await server.createRun()
    const socket = new WebSocket(`${server.url}/api/ws/${runId}?kinds=all`)
    await once(socket, 'message')
    await server.stop()
    expect(entries).toEqual(['run_watched', 'watch_ended'])
  })
})

describe('a refusal', () => {
  test('is recorded: of an unknown caller with the address, of a known one with name and operation', async ({
    start,
  }) => {
    const server = await start({ token: TOKEN })
    const admin = { authorization: `Bearer ${TOKEN}` }
    const made = await fetch(`${server.url}/api/tokens`, {
      method: 'POST',
      headers: { ...admin, 'content-type': 'application/json' },
      body: JSON.stringify({ name: 'vera', role: 'viewer' }),
    })
    const { secret } = z.object({ secret: z.string() }).parse(await made.json())
    const runId = '550e8400-e29b-41d4-a716-446655440000'
    for (let n = 0; n < 5; n += 1) await fetch(`${server.url}/api/runs/${runId}?secret=${n}`)
    const vera = { authorization: `Bearer ${secret}` }
    const refused = await fetch(`${server.url}/api/runs/${runId}/abort`, {
      method: 'POST',
      headers: vera,
    })
    expect(refused.status).toBe(403)
    await rawRequest(server, {
      path: `/api/ws/${runId}`,
      headers: { connection: 'upgrade', upgrade: 'websocket', ...vera, origin: 'http://evil' },
    })
    await expect.poll(async () => (await others(server, '', admin)).length).toBeGreaterThan(1)
    const entries = await others(server, '?kinds=access_refused', admin)
    expect(entries.map(({ payload }) => payload)).toMatchObject([
      { principal: null, run_id: null, client: '127.0.0.1', asked: '', status: 401 },
      { principal: 'vera', run_id: runId, operation: 'abortRun', status: 403 },
    ])
    const notFor = await fetch(`${server.url}/api/access`, { headers: vera })
    expect(notFor.status).toBe(403)
  })
})

describe('GET /api/access', () => {
  test('is filtered by run, principal, kind and time, in pages and in both directions', async ({
    start,
  }) => {
    let now = 1000
    const server = await start({ accessLog: { ...TO_BE_SEEN, clock: () => now } })
    const ids = [await server.createRun(), await server.createRun(), await server.createRun()]
    for (const runId of ids) {
      now += 10
      await fetch(`${server.url}/api/runs/${runId}`)
    }
    now += 10
    await fetch(`${server.url}/api/runs`)
    await expect.poll(async () => (await others(server)).length).toBe(4)
    const seqs = async (query: string) => (await others(server, query)).map(({ seq }) => seq)
    const [first, second, third, list] = await seqs('')
    expect(await seqs(`?run_id=${ids[1]?.toUpperCase()}`)).toEqual([second])
    expect(await seqs('?principal=local&kinds=runs_listed,run_exported')).toEqual([list])
    expect(await seqs('?principal=nobody')).toEqual([])
    expect(await seqs('?from_ts=1020&to_ts=1040')).toEqual([second, third])
    expect(await seqs('?direction=backward&limit=100')).toEqual([list, third, second, first])
    expect(await seqs(`?direction=backward&after=${third}`)).toEqual([second, first])

    const pages: number[] = []
    let next: string | undefined = '/api/access?kinds=run_read&limit=2'
    while (next !== undefined) {
      const answer: Response = await fetch(server.url + next)
      pages.push(...Frames.parse(await answer.json()).map(({ seq }) => seq))
      next = /<(.*)>; rel="next"/.exec(answer.headers.get('link') ?? '')?.[1]
    }
    expect(pages).toEqual([first, second, third])

    const lines = await fetch(`${server.url}/api/access?kinds=run_read&limit=2`, {
      headers: { accept: 'application/x-ndjson' },
    })
    expect(lines.headers.get('content-type')).toBe('application/x-ndjson')
    const text = (await lines.text()).trimEnd().split('\n')
    expect(Frames.parse(text.map((line) => JSON.parse(line))).map(({ seq }) => seq)).toEqual([
      first,
      second,
    ])
  })

  test('records that it was read, and can be proved by a signed statement', async ({ start }) => {
    const server = await start()
    expect(await found(server)).toEqual([])
    await expect.poll(async () => (await found(server)).length).toBeGreaterThan(0)
    const get = async (path: string) => fetch(server.url + path)
    const keys = knownKeys(PublishedKeys.parse(await (await get('/api/keys')).json()))
    const proof = LedgerProof.parse(await (await get('/api/access/proof')).json())
    expect(checkSeal(proof, keys)).toBe('good')
    const lines = await get('/api/ledgers/access')
    const body = Readable.from([Buffer.from(await lines.arrayBuffer())])
    const { bad, head } = await verifiedLedger('access', body, keys)
    expect(bad).toBeNull()
    expect(head).toBe(proof.head)
    const all = z.array(LedgerProof).parse(await (await get('/api/ledgers')).json())
    expect(all.map(({ ledger }) => ledger)).toEqual([...LEDGERS])
    expect((await get('/api/ledgers/nonsense')).status).toBe(404)
  })
})

describe('with a store that does not accept entries', () => {
  const withoutAppends = (store: EventStore, isAway: () => boolean): EventStore => ({
    ...bound(store),
    append: (...args) =>
      isAway() && args[0] === 'retrai-access'
        ? errAsync({ type: 'store_unavailable', message: 'away' })
        : store.append(...args),
  })

  test('runs can still be read', async ({ start }) => {
    let isAway = true
    const server = await start({ wrapStore: (store) => withoutAppends(store, () => isAway) })
    const runId = await server.createRun()
    expect((await fetch(`${server.url}/api/runs/${runId}`)).status).toBe(200)
    isAway = false
    await expect.poll(async () => (await others(server)).map(brief)).toEqual(['run_read getRun'])
  })
})

test('can be switched off', async ({ ownServer: server }) => {
  await fetch(`${server.url}/api/runs`)
  expect(await found(server)).toEqual([])
})
