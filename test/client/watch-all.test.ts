import { describe, expect } from 'vitest'
import { createClient, FeedError, type FeedEvent, type WatchState } from '../../src/client/index.ts'
import { damage } from '../support/requests.ts'
import { CLAIM, iteration, type TestServer } from '../support/server.ts'
import { test } from '../support/test.ts'
import { broken, proxyOf } from './support.ts'

const limits = { retryMs: [1, 4] } as const
const ALL = { kinds: 'all' } as const

const client = (server: TestServer, baseUrl = server.url) => createClient({ baseUrl, limits })

async function take(events: AsyncIterable<FeedEvent>, count: number): Promise<FeedEvent[]> {
  const taken: FeedEvent[] = []
  for await (const event of events) {
    taken.push(event)
    if (taken.length === count) break
  }
  return taken
}

const failure = async (events: AsyncIterable<unknown>) => (await broken(events)).thrown

/** Two runs at the same time: one of 10 records that achieves its goal, and one of 3 that has not ended. */
async function twoRuns(server: TestServer): Promise<readonly [ended: string, open: string]> {
  const ended = await server.createRun()
  await server.agentDoes(ended, CLAIM)
  const open = await server.createRun({ goal: 'npm-test' })
  await server.agentDoes(open, CLAIM)
  await server.agentDoes(ended, ...iteration(true))
  // For the server, the end of the log is the last record that was projected.
  expect(await server.readModel.waitFor(ended, 6, 5000)).toBe(true)
  return [ended, open]
}

describe('a watch of all runs', () => {
  test('gives the history in the order of the log, begins after a cursor, or at the end', async ({
    ownServer: server,
  }) => {
    const [ended, open] = await twoRuns(server)
    const all = await take(client(server).watchAll(ALL), 10)
    expect(all.slice(0, 4).map(({ run_id, seq }) => [run_id, seq])).toEqual([
      ...[0, 1, 2].map((seq) => [ended, seq]),
      [open, 0],
    ])
    const after = all[3]?.cursor
    expect(await take(client(server).watchAll({ ...ALL, after }), 6)).toEqual(all.slice(4))
    let work: Promise<void> | undefined
    const onCaughtUp = () => {
      work = server.agentDoes(open, ...iteration(false))
    }
    const [next] = await take(client(server).watchAll({ ...ALL, after: 'end', onCaughtUp }), 1)
    await work
    expect(next).toMatchObject({ run_id: open, seq: 3 })
  })

  test('gives each event once and in order although connections break', async ({
    ownServer: server,
  }) => {
    const [, open] = await twoRuns(server)
    await server.agentDoes(open, ...iteration(false), ...iteration(true))
    const all = await take(client(server).watchAll(ALL), 22)
    for (const bytes of [300, 700, 1000, 1700]) {
      const proxy = await proxyOf(server.port, allowances(bytes))
      expect(await take(client(server, proxy.url).watchAll(ALL), all.length)).toEqual(all)
      expect(proxy.connections).toBeGreaterThan(1)
    }
  })

  test('misses nothing after the end, even if the connection breaks before the first event', async ({
    ownServer: server,
  }) => {
    const [, open] = await twoRuns(server)
    const proxy = await proxyOf(server.port)
    const states: WatchState[] = []
    let caughtUp = 0
    let work: Promise<void> | undefined
    const [next] = await take(
      client(server, proxy.url).watchAll({
        ...ALL,
        after: 'end',
        onState: (state) => {
          states.push(state)
          if (state === 'reconnecting') work = server.agentDoes(open, ...iteration(false))
        },
        onCaughtUp: () => {
          caughtUp += 1
          if (caughtUp === 1) proxy.cut()
        },
      }),
      1,
    )
    await work
    expect(next).toMatchObject({ run_id: open, seq: 3 })
    expect(states).toEqual(['connecting', 'live', 'reconnecting', 'live', 'closed'])
  })

  test('gives an error in place of a record that cannot be read, and continues', async ({
    ownServer: server,
  }) => {
    const damaged = await server.createRun()
    await damage(server, damaged, 1)
    const other = await server.createRun()
    const seen = await take(client(server).watchAll({ kinds: ['run_created'] }), 3)
    expect(seen.map(({ run_id, kind }) => [run_id, kind])).toEqual([
      [damaged, 'run_created'],
      [damaged, 'error'],
      [other, 'run_created'],
    ])
  })
})

describe('a watch of all runs that cannot continue throws', () => {
  test('for a cursor of another log', async ({ ownServer: server }) => {
    await twoRuns(server)
    const thrown = await failure(client(server).watchAll({ after: 'nonsense' }))
    expect(thrown).toBeInstanceOf(FeedError)
    expect(thrown).toMatchObject({ type: 'refused', cursor: 'nonsense' })
    expect(String(thrown)).toContain('cursor')
  })

  test('for a token that is not valid', async ({ startServer }) => {
    const guarded = await startServer({ token: 'a-token-of-at-least-32-characters-x' })
    const thrown = await failure(client(guarded).watchAll())
    expect(thrown).toMatchObject({ name: 'FeedError', type: 'refused' })
  })
})

/** Connections that break after this many bytes, each later than the one before. */
function allowances(bytes: number): () => number {
  let next = bytes
  return () => {
    next += 200
    return next
  }
}
