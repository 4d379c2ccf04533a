import { Readable } from 'node:stream'
import { describe, expect } from 'vitest'
import * as z from 'zod'
import { LEDGERS, LedgerProof, PublishedKeys } from '../../../src/api/audit.ts'
import { checkSeal, knownKeys } from '../../../src/checkpoints/public-keys.ts'
import { AccessEntry } from '../../../src/domain/access.ts'
import { verifiedLedger } from '../../audit/verified-ledger.ts'
import { ask } from '../../support/requests.ts'
import {
  bound,
  CLAIM,
  iteration,
  rawRequest,
  type ServerOptions,
  type TestServer,
} from '../../support/server.ts'
import { test as base } from '../../support/test.ts'
import { getLines, getPages } from '../history/support.ts'
import { FeedWatcher, Watcher } from '../live/watcher.ts'

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

const found = async (
  server: TestServer,
  query = '',
  headers: Record<string, string> = {},
): Promise<Found[]> =>
  Frames.parse((await ask(server, `GET /api/access${query}`, undefined, headers)).body)
/** Without the entries about reading the access log itself. */
const others = async (...args: Parameters<typeof found>) =>
  (await found(...args)).filter(({ kind }) => kind !== 'ledger_read')

const brief = ({ kind, payload }: Found): string =>
  'operation' in payload ? `${kind} ${payload.operation}` : kind

/** Resolves when these are the entries, in their order. */
const untilBrief = (server: TestServer, entries: readonly string[], headers = {}) =>
  expect.poll(async () => (await others(server, '', headers)).map(brief)).toEqual(entries)

async function finishedRun(server: TestServer): Promise<string> {
  const runId = await server.createRun({}, CLAIM, ...iteration(true))
  expect(await server.readModel.waitFor(runId, 5, 5000)).toBe(true)
  return runId
}

describe('an access', () => {
  test('is recorded for every way to read a run, not if nothing was shown, and as verifying if its client names that purpose', async ({
    start,
  }) => {
    const server = await start()
    const runId = await finishedRun(server)
    const run = `/api/runs/${runId}`
    // No such run, a bad request, a health check, what shows nothing.
    const nothing = ['/api/runs/none', '/api/runs?limit=0', '/health/ready', '/api/goals', '/']
    for (const path of nothing) await ask(server, `GET ${path}`)
    const verifying = { 'retrai-purpose': 'verification' }
    const ways = [
      ['/api/runs', 'runs_listed listRuns'],
      [`/api/runs/${runId.toUpperCase()}`, 'run_read getRun'],
      [`${run}/diff?from=0&to=2`, 'run_read diffRun'],
      [`${run}/conversation`, 'run_read readConversation'],
      [`${run}/events?kinds=all&limit=2`, 'run_read runEvents'],
      ['/api/events?limit=1', 'feed_read allEvents'],
      [`${run}/export`, 'run_exported exportRun'],
      [`${run}/proof`, 'run_verified proveRun'],
      ['/api/checkpoints', 'checkpoints_read listCheckpoints'],
      [run, 'run_verified getRun', verifying],
      [`${run}/export`, 'run_verified exportRun', verifying],
    ] as const
    for (const [path, _, headers] of ways) {
      expect([path, (await ask(server, `GET ${path}`, undefined, headers)).status]).toEqual([
        path,
        200,
      ])
    }
    await untilBrief(
      server,
      ways.map(([, entry]) => entry),
    )
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

  test('is counted if it is repeated, with 304 and with 200', async ({ start }) => {
    let now = 1000
    const server = await start({ accessLog: { ...TO_BE_SEEN, clock: () => now } })
    const runId = await server.createRun()
    const known = { 'if-none-match': '"0"' }
    for (let n = 0; n < 20; n += 1) await ask(server, `GET /api/runs/${runId}`, undefined, known)
    await ask(server, `HEAD /api/runs/${runId}`)
    now += 60
    await expect.poll(async () => (await others(server)).length).toBe(2)
    const counts = (await others(server)).map(({ payload }) => payload.count)
    expect(counts).toEqual([1, 20])
  })

  test('names the token, but not its secret or that of a ticket', async ({ start }) => {
    const server = await start({ token: TOKEN })
    const headers = { authorization: `Bearer ${TOKEN}` }
    const created = await ask(server, 'POST /api/runs', { goal: 'pytest' }, headers)
    const { run_id } = created.body
    const { body } = await ask(server, 'POST /api/tickets', undefined, headers)
    const ticket = String(body.ticket)
    const watcher = new Watcher(server, `${run_id}?kinds=all&ticket=${ticket}`)
    await watcher.have(1)
    watcher.socket.close()
    await untilBrief(server, ['run_watched watchRun', 'watch_ended watchRun'], headers)
    const text = JSON.stringify(await found(server, '', headers))
    expect(text).toContain('"asked":"kinds=all"')
    expect(text).toContain('"principal":"token"')
    expect(text).not.toContain(ticket)
    expect(text).not.toContain(TOKEN)
  })
})

describe('a watch', () => {
  test('of a run and of all runs, over WebSockets and server-sent events, is recorded when it begins and when it ends', async ({
    start,
  }) => {
    const server = await start()
    const runId = await finishedRun(server)
    await expect.poll(() => server.readModel.get(runId)?.state.phase.type).toBe('ended')
    const last = server.readModel.get(runId)?.state.seq ?? 0
    using all = new FeedWatcher(server, 'kinds=all')
    await all.have(last + 1)
    await untilBrief(server, ['feed_watched watchAll'])
    all.socket.terminate()
    await new Watcher(server, runId).closed
    const headers = { accept: 'text/event-stream' }
    const { text } = await ask(server, `GET /api/runs/${runId}/events`, undefined, headers)
    expect(text).toContain('event: end')
    const leave = new AbortController()
    const feed = await fetch(`${server.url}/api/events`, { headers, signal: leave.signal })
    await feed.body?.getReader().read()
    leave.abort()
    await expect
      .poll(async () => (await others(server)).map(brief).sort())
      .toEqual([
        'feed_watched allEvents',
        'feed_watched watchAll',
        'run_watched runEvents',
        'run_watched watchRun',
        'watch_ended allEvents',
        'watch_ended runEvents',
        'watch_ended watchAll',
        'watch_ended watchRun',
      ])
    const ended = await others(server, '?kinds=watch_ended')
    for (const { payload } of ended) {
      const lastOf = 'last' in payload ? String(payload.last) : ''
      if ('run_id' in payload && payload.run_id === runId) expect(lastOf).toBe(`${last}`)
      else expect(lastOf).toContain('.')
    }
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
    const watcher = new Watcher(server, `${await server.createRun()}?kinds=all`)
    await watcher.have(1)
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
    const wanted = { name: 'vera', role: 'viewer' }
    const { secret } = (await ask(server, 'POST /api/tokens', wanted, admin)).body
    const runId = '550e8400-e29b-41d4-a716-446655440000'
    for (let n = 0; n < 5; n += 1) await ask(server, `GET /api/runs/${runId}?secret=${n}`)
    const vera = { authorization: `Bearer ${secret}` }
    const abort = await ask(server, `POST /api/runs/${runId}/abort`, undefined, vera)
    expect(abort.status).toBe(403)
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
    expect((await ask(server, 'GET /api/access', undefined, vera)).status).toBe(403)
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
      await ask(server, `GET /api/runs/${runId}`)
    }
    now += 10
    await ask(server, 'GET /api/runs')
    await expect.poll(async () => (await others(server)).length).toBe(4)
    const seqs = async (query: string) => (await others(server, query)).map(({ seq }) => seq)
    const [first, second, third, list] = await seqs('')
    for (const [query, wanted] of [
      [`?run_id=${ids[1]?.toUpperCase()}`, [second]],
      ['?principal=local&kinds=runs_listed,run_exported', [list]],
      ['?principal=nobody', []],
      ['?from_ts=1020&to_ts=1040', [second, third]],
      ['?direction=backward&limit=100', [list, third, second, first]],
      [`?direction=backward&after=${third}`, [second, first]],
    ] as const) {
      expect([query, await seqs(query)]).toEqual([query, wanted])
    }
    const { frames } = await getPages(server, '/api/access?kinds=run_read&limit=2')
    expect(frames.map(({ seq }) => seq)).toEqual([first, second, third])
    const lines = await getLines(server, '/api/access?kinds=run_read&limit=2')
    expect(Frames.parse(lines).map(({ seq }) => seq)).toEqual([first, second])
  })

  test('records that it was read, and can be proved by a signed statement', async ({ start }) => {
    const server = await start()
    expect(await found(server)).toEqual([])
    await expect.poll(async () => (await found(server)).length).toBeGreaterThan(0)
    const get = async (path: string) => (await ask(server, `GET /api/${path}`)).body
    const keys = knownKeys(PublishedKeys.parse(await get('keys')))
    const proof = LedgerProof.parse(await get('access/proof'))
    expect(checkSeal(proof, keys)).toBe('good')
    const lines = await ask(server, 'GET /api/ledgers/access')
    const body = Readable.from([Buffer.from(lines.text)])
    expect(await verifiedLedger('access', body, keys)).toMatchObject({
      bad: null,
      head: proof.head,
    })
    const all = z.array(LedgerProof).parse(await get('ledgers'))
    expect(all.map(({ ledger }) => ledger)).toEqual([...LEDGERS])
    expect((await ask(server, 'GET /api/ledgers/nonsense')).status).toBe(404)
  })
})

test('can be switched off', async ({ ownServer: server }) => {
  await ask(server, 'GET /api/runs')
  expect(await found(server)).toEqual([])
})
