import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { errAsync } from 'neverthrow'
import { describe, expect } from 'vitest'
import { locate, startAfter } from '../../../src/http/live/cursor.ts'
import { streamOf } from '../../../src/log/run-log.ts'
import { openEmbeddedStore } from '../../../src/store/embedded/embedded-store.ts'
import { damage } from '../../support/requests.ts'
import { createdRecord } from '../../support/run-records.ts'
import { bound, CLAIM, iteration, RunWriter } from '../../support/server.ts'
import { test } from '../../support/test.ts'
import { FeedWatcher, Watcher } from '../live/watcher.ts'
import { EventReader } from './event-source.ts'
import { getLines, getPage, getPages, getProblem } from './support.ts'

test.beforeAll(async ({ server }) => {
  for (const achieved of [true, false]) {
    await server.createRun({}, CLAIM, ...iteration(achieved))
  }
})

const ALL = '/api/events?kinds=all'

describe('a cursor of the feed', () => {
  test.for([
    ['nonsense', 'not a cursor'],
    ['', 'not a cursor'],
    ['VQ6EAOKbQdSnFkRmVUQAAN7xq8kQ2dE1.1', 'does not belong to this log'],
  ] as const)('that is "%s" is refused everywhere', async ([cursor, message], { server }) => {
    const after = `after=${encodeURIComponent(cursor)}`
    for (const accept of ['application/json', 'application/x-ndjson', 'text/event-stream']) {
      const problem = await getProblem(server, `/api/events?${after}`, { accept })
      expect([problem.code, problem.status]).toEqual(['unknown_cursor', 400])
      expect(problem.detail).toContain(message)
    }
    const watcher = new FeedWatcher(server, after)
    expect((await watcher.closed).code).toBe(4400)
    expect(watcher.frames).toHaveLength(1)
    expect(watcher.frames[0]).toMatchObject({ kind: 'error', run_id: '', seq: -1 })
    expect(JSON.stringify(watcher.frames[0])).toContain(message)
  })

  test('is refused if another record is in its place', async ({ server }) => {
    const { frames } = await getPages(server, ALL)
    const cursor = String(frames[0]?.cursor)
    // The same run and seq, another record.
    const other = `${cursor.slice(0, 24)}AAAAAAAA${cursor.slice(32)}`
    expect((await getProblem(server, `/api/events?after=${other}`)).code).toBe('unknown_cursor')
    const beyond = cursor.replace(/\d+$/, '99')
    expect((await getProblem(server, `/api/events?after=${beyond}`)).code).toBe('unknown_cursor')
  })

  test('is valid after a restart, and after a move to a log with other positions', async ({
    server,
  }) => {
    const folder = await mkdtemp(join(tmpdir(), 'retrai-cursor-'))
    try {
      const { frames } = await getPages(server, ALL)
      const cursor = String(frames[3]?.cursor)
      const runId = String(frames[3]?.run_id)
      const file = join(folder, 'log.sqlite')
      const first = (await openEmbeddedStore({ file }))._unsafeUnwrap()
      for (const other of [randomUUID(), randomUUID()]) {
        await new RunWriter(first, other).append([createdRecord(other)])
      }
      const options = { from: 0, direction: 'forward', limit: 100 } as const
      const events = (await server.store.readStream(streamOf(runId), options))._unsafeUnwrap()
      ;(
        await first.append(streamOf(runId), events, { expectedRevision: 'no_stream' })
      )._unsafeUnwrap()
      const place = (await locate(cursor, first))._unsafeUnwrap()
      await first.close()
      const again = (await openEmbeddedStore({ file }))._unsafeUnwrap()
      const [moved] = (
        await again.readStream(streamOf(runId), { ...options, from: 3, limit: 1 })
      )._unsafeUnwrap()
      expect((await locate(cursor, again))._unsafeUnwrap()).toBe(place)
      expect(moved?.position).toBe(place)
      expect(place).not.toBe((await locate(cursor, server.store))._unsafeUnwrap())
      await again.close()
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})

describe('the feed of all runs', () => {
  test.for([
    ['limit=0', 'limit must be at least 1'],
    ['status=odd', 'or "running" or'],
    ['run_id=x', 'run_id must be run ids'],
    ['kinds=x', 'kinds must be "all", or some of'],
    ['direction=backward', 'direction is not a field'],
  ])('reports what is wrong with ?%s', async ([search, message], { server }) => {
    const problem = await getProblem(server, `/api/events?${search}`)
    expect([problem.code, problem.status]).toEqual(['invalid_request', 422])
    expect(problem.detail).toContain(message)
    if (search === 'limit=0') return
    const watcher = new FeedWatcher(server, search)
    expect((await watcher.closed).code).toBe(4400)
    expect(JSON.stringify(watcher.frames)).toContain(JSON.stringify(message).slice(1, -1))
  })

  test('names a next page with the same query, whatever the client did not escape in it', async ({
    startServer,
  }) => {
    const own = await startServer()
    const goal = 'which?this'
    for (const runId of [randomUUID(), randomUUID()]) {
      await new RunWriter(own.store, runId).append([createdRecord(runId, { goal })])
    }
    const { frames } = await getPages(own, `${ALL}&limit=1&goal=${goal}`)
    expect(frames).toHaveLength(2)
  })

  test('begins at the end if the client asks for it, and resumes there after a lost connection', async ({
    startServer,
  }) => {
    const own = await startServer({ live: { pingMs: 10 } })
    const old = await own.createRun()
    using watcher = new FeedWatcher(own, 'after=end&kinds=all&caught_up=true')
    const reader = new EventReader(own, `${ALL}&after=end`)
    // An open socket has no place in the log yet.
    await watcher.have(1)
    await reader.until(({ lastEventId }) => lastEventId !== '')
    const { lastEventId } = reader
    expect(watcher.frames).toEqual([{ kind: 'caught_up', cursor: lastEventId }])
    reader.leave()
    await own.agentDoes(old, CLAIM)
    const again = new EventReader(own, `${ALL}&after=end`, { lastEventId })
    await again.until(({ events }) => events.length === 2)
    expect(again.frames.map(({ seq }) => seq)).toEqual([1, 2])
    again.leave()
    const fresh = await own.createRun()
    await watcher.have(4)
    expect(watcher.frames.slice(1).map(({ run_id }) => run_id)).toEqual([old, old, fresh])
  })

  test('begins at the end of the log, not at the last record that the server has read', async ({
    server,
  }) => {
    const { frames } = await getPages(server, ALL)
    const [first] = frames
    const of = { from: 0, direction: 'forward', limit: 1 } as const
    const read = await server.store.readStream(streamOf(String(first?.run_id)), of)
    const [event] = read._unsafeUnwrap()
    if (event === undefined) throw new Error('there is no record')
    const start = await startAfter('end', {
      store: server.store,
      readModel: { caughtUp: true },
      checkpoint: () => event,
    })
    expect(start._unsafeUnwrap().cursor).toBe(frames.at(-1)?.cursor)
  })

  test('reports a record that cannot be read in its place, and continues', async ({
    startServer,
  }) => {
    const own = await startServer()
    const bad = await own.createRun()
    const watcher = new FeedWatcher(own, 'kinds=run_created')
    await watcher.have(1)
    await damage(own, bad, 1)
    await watcher.have(2)
    const good = await own.createRun()
    await watcher.have(3)
    expect(watcher.frames.map(({ kind, run_id, seq }) => [kind, run_id, seq])).toEqual([
      ['run_created', bad, 0],
      ['error', bad, 1],
      ['run_created', good, 0],
    ])
    watcher.socket.terminate()
    // An observer that joins later sees the same, and can continue after it.
    expect(await getLines(own, '/api/events?kinds=run_created')).toEqual(watcher.frames)
    const behind = await getPage(own, `${ALL}&after=${watcher.frames[1]?.cursor}`)
    expect(behind.frames.map(({ run_id }) => run_id)).toEqual([good])
  })

  test('omits streams that are not runs', async ({ startServer }) => {
    const own = await startServer()
    const event = { id: randomUUID(), type: 'odd', data: '{}', metadata: '{}' }
    for (const name of ['run-of-the-mill', `run-${randomUUID().toUpperCase()}`, 'other']) {
      const appended = await own.store.append(name, [event], { expectedRevision: 'no_stream' })
      appended._unsafeUnwrap()
    }
    const runId = await own.createRun()
    const { frames } = await getPages(own, ALL)
    expect(frames.map(({ run_id }) => run_id)).toEqual([runId])
  })

  test('outlives a subscription that breaks, and a store that does not answer, as the events of a run do', async ({
    startServer,
  }) => {
    let away = false
    let refused = 0
    const own = await startServer({
      live: { retryMs: [1, 5] },
      wrapStore: (store) => ({
        ...bound(store),
        readStream: (...args) => {
          if (!away) return store.readStream(...args)
          refused += 1
          return errAsync({ type: 'store_unavailable', message: 'away' })
        },
        async *subscribeAll(options) {
          for await (const item of store.subscribeAll(options)) {
            yield item
            if (item.type === 'events') throw new Error('broken')
          }
        },
      }),
    })
    const runId = await own.createRun()
    using first = new FeedWatcher(own, 'kinds=all')
    await first.have(1)
    away = true
    const cursor = `after=${first.frames[0]?.cursor}&kinds=all`
    using later = new FeedWatcher(own, cursor)
    const ofRun = new Watcher(own, `${runId}?kinds=all`)
    const problem = await getProblem(own, `/api/events?${cursor}`)
    expect([problem.code, problem.status]).toEqual(['store_unavailable', 503])
    await Promise.all([later.opened(), ofRun.opened()])
    await expect.poll(() => refused, { message: 'refused reads' }).toBeGreaterThan(8)
    expect([later.frames, ofRun.frames]).toEqual([[], []])
    away = false
    await own.agentDoes(runId, CLAIM, ...iteration(true))
    await first.have(9)
    await later.have(8)
    expect(first.frames.map(({ seq }) => seq)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8])
    expect(later.frames).toEqual(first.frames.slice(1))
    expect((await ofRun.closed).code).toBe(1000)
    expect(ofRun.seqs).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8])
  })
})
