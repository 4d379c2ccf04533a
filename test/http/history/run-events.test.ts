import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect } from 'vitest'
import { achievedRun, damage } from '../../support/requests.ts'
import { validRun } from '../../support/run-records.ts'
import { CLAIM, iteration } from '../../support/server.ts'
import { testWith } from '../../support/test.ts'
import { EventReader } from './event-source.ts'
import {
  type Frame,
  framesOf,
  getLines,
  getPage,
  getPages,
  getProblem,
  isOfKinds,
  kindsInQuery,
  writeRun,
} from './support.ts'

const NDJSON = { accept: 'application/x-ndjson' }
const SSE = { accept: 'text/event-stream' }

// Small, so that pages of the store end in the middle of a run.
const test = testWith({ live: { pageBytes: 8_000, ringFrames: 8, ringBytes: 4000 } })

type Query = {
  readonly after: number | null
  readonly limit: number | null
  readonly direction: 'forward' | 'backward'
  readonly kinds: string | null
  readonly times: readonly (number | null)[]
}

const query: fc.Arbitrary<Query> = fc.record({
  after: fc.option(fc.nat({ max: 60 })),
  limit: fc.option(fc.integer({ min: 1, max: 40 })),
  direction: fc.constantFrom('forward', 'backward'),
  kinds: kindsInQuery,
  times: fc.array(fc.option(fc.nat({ max: 60 })), { minLength: 2, maxLength: 2 }),
})

function addressOf(runId: string, { after, limit, direction, kinds, times }: Query, all: Frame[]) {
  const [from, to] = times.map((index) => (index === null ? null : (all[index]?.ts ?? null)))
  const fields = {
    after: after === null ? null : Math.min(after, all.length - 1),
    limit,
    direction,
    kinds,
    from_ts: from === null || from === undefined ? null : from.toFixed(6),
    to_ts: to === null || to === undefined ? null : to.toFixed(6),
  }
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(fields)) {
    if (value !== null && value !== undefined) search.set(name, String(value))
  }
  return { fields, path: `/api/runs/${runId}/events?${search}` }
}

/** The expected answer, by its definition. */
function wanted(fields: ReturnType<typeof addressOf>['fields'], all: Frame[]): Frame[] {
  const { after, direction, kinds, from_ts, to_ts } = fields
  const ordered = direction === 'forward' ? all : all.toReversed()
  return ordered
    .filter(({ seq }) => after === null || (direction === 'forward' ? seq > after : seq < after))
    .filter((frame) => isOfKinds(kinds, frame))
    .filter(({ ts }) => from_ts === null || ts >= Number(from_ts))
    .filter(({ ts }) => to_ts === null || ts < Number(to_ts))
}

test('pages and lines hold exactly the selected records, for random runs and queries', async ({
  server,
}) => {
  await fc.assert(
    fc.asyncProperty(
      validRun(),
      fc.array(query, { minLength: 1, maxLength: 8 }),
      async (made, queries) => {
        const runId = randomUUID()
        const records = made.map((record) => ({ ...record, run_id: runId }))
        await writeRun(server, runId, records)
        const all = framesOf(records)
        for (const each of queries) {
          const { fields, path } = addressOf(runId, each, all)
          const expected = wanted(fields, all)
          const page = await getPage(server, path)
          const limit = each.limit ?? 500
          expect(page.frames).toEqual(expected.slice(0, limit))
          expect((await getPages(server, path)).frames).toEqual(expected)
          expect(await getLines(server, path)).toEqual(expected.slice(0, each.limit ?? undefined))
        }
      },
    ),
    { numRuns: 10 },
  )
})

describe('a page of history', () => {
  test.for([{}, NDJSON, SSE])(
    'answers 404 for an unknown run, as %j',
    async (headers, { server }) => {
      for (const runId of [randomUUID(), 'nope']) {
        const problem = await getProblem(server, `/api/runs/${runId}/events`, headers)
        expect([problem.code, problem.status]).toEqual(['run_not_found', 404])
      }
    },
  )

  test('is refused in an unknown form', async ({ server, runId }) => {
    const problem = await getProblem(server, `/api/runs/${runId}/events`, { accept: 'text/html' })
    expect([problem.code, problem.status]).toEqual(['not_acceptable', 406])
    expect(problem.detail).toContain('application/x-ndjson')
  })

  test('ends before a record that cannot be read, and the next one reports the record', async ({
    server,
  }) => {
    const runId = await server.createRun({}, CLAIM)
    await damage(server, runId, 3)
    const path = `/api/runs/${runId}/events?kinds=all`
    const page = await getPage(server, path)
    expect(page.frames.map(({ seq }) => seq)).toEqual([0, 1, 2])
    const problem = await getProblem(server, page.next ?? '')
    expect([problem.code, problem.status]).toEqual(['damaged_record', 500])
    expect(problem.detail).toContain('Record 3')
    for (const headers of [NDJSON, SSE]) {
      expect((await getProblem(server, `${path}&after=2`, headers)).code).toBe('damaged_record')
    }
  })
})

describe('the event stream of a run', () => {
  const pathOf = (runId: string, search = 'kinds=all') => `/api/runs/${runId}/events?${search}`

  test('is history, then live, then the end', async ({ server, runId }) => {
    const reader = new EventReader(server, pathOf(runId))
    await reader.until(({ events }) => events.length === 1)
    await server.agentDoes(runId, CLAIM, ...iteration(true))
    await reader.ended
    const { headers } = await reader.response
    expect(headers['content-type']).toBe('text/event-stream')
    expect(headers['cache-control']).toBe('no-store')
    expect(reader.retry).toBe(1000)
    const { frames } = await getPages(server, pathOf(runId))
    expect(reader.frames).toEqual(frames)
    expect(reader.events.slice(0, -1).map(({ id }) => id)).toEqual(frames.map((f) => String(f.seq)))
    const last = String(frames.length - 1)
    expect(reader.events.at(-1)).toEqual({ type: 'end', id: last, data: `{"seq":${last}}` })
  })

  test('continues after the Last-Event-ID, which takes precedence over `after`', async ({
    server,
  }) => {
    const runId = await achievedRun(server)
    const whole = new EventReader(server, pathOf(runId))
    await whole.ended
    const at = whole.events[4]?.id ?? ''
    const rest = new EventReader(server, pathOf(runId, 'kinds=all&after=1'), { lastEventId: at })
    await rest.ended
    expect(rest.events).toEqual(whole.events.slice(5))
    const behind = new EventReader(server, pathOf(runId, `kinds=all&after=${at}`))
    await behind.ended
    expect(behind.events).toEqual(rest.events)
  })

  test('answers 204 to a client that has everything', async ({ server }) => {
    const runId = await achievedRun(server)
    // run_end was not selected; the end names it nevertheless.
    const whole = new EventReader(server, pathOf(runId, 'kinds=goal_check'))
    await whole.ended
    const again = new EventReader(server, pathOf(runId), { lastEventId: whole.lastEventId })
    expect((await again.response).statusCode).toBe(204)
    await again.ended
    expect(again.events).toEqual([])
  })

  test.for([
    [{ 'last-event-id': 'x' }, '', 'Last-Event-ID must be'],
    [{ 'last-event-id': '7' }, '', 'after=7 is beyond'],
    [{}, 'limit=5', 'limit is not for text/event-stream'],
    [{}, 'direction=backward', 'direction=backward is not for'],
  ] as const)('refuses %j with ?%s', async ([headers, search, message], { server, runId }) => {
    const problem = await getProblem(server, pathOf(runId, search), { ...SSE, ...headers })
    expect(problem.status).toBe(422)
    expect(problem.detail).toContain(message)
  })

  test('counts as a live connection until it ends, which pages do not', async ({ startServer }) => {
    const own = await startServer({ live: { socketsPerClient: 1 } })
    const path = pathOf(await own.createRun())
    const reader = new EventReader(own, path)
    await reader.until(({ events }) => events.length === 1)
    for (const headers of [SSE, NDJSON]) {
      const problem = await getProblem(own, path, headers)
      expect([problem.code, problem.status]).toEqual(['too_many_of_client', 429])
    }
    expect((await getPage(own, path)).status).toBe(200)
    reader.leave()
    // The server notices a moment later that the reader has left.
    await expect.poll(() => getLines(own, path), { message: 'the lines' }).toHaveLength(1)
  })

  test('ends when the server stops, so that its reader connects again', async ({ startServer }) => {
    const own = await startServer()
    const runId = await own.createRun()
    const reader = new EventReader(own, pathOf(runId))
    await reader.until(({ events }) => events.length === 1)
    await own.stop()
    await reader.ended
    expect(reader.events.map(({ type }) => type)).toEqual(['message'])
  })

  test('sends comments that move the cursor past records that were not selected', async ({
    startServer,
  }) => {
    const own = await startServer({ live: { pingMs: 10 } })
    const runId = await own.createRun()
    using reader = new EventReader(own, pathOf(runId, 'kinds=goal_check'))
    await reader.until(({ comments, lastEventId }) => comments >= 3 && lastEventId === '0')
    expect(reader.events).toEqual([])
    await own.agentDoes(runId, CLAIM)
    await reader.until(({ lastEventId }) => lastEventId === '2')
  })
})
