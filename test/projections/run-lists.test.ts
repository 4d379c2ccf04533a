import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { RunSummary } from '../../src/api/runs.ts'
import { fold } from '../../src/domain/evolve.ts'
import { RUN_SORTS, RUN_STATUSES } from '../../src/domain/state.ts'
import type { RunQuery } from '../../src/projections/read-model.ts'
import { listedRun } from '../../src/projections/read-model.ts'
import { listSql } from '../../src/projections/run-lists.ts'
import type { SqliteReadModel } from '../../src/projections/sqlite-read-model.ts'
import { createdRecord, validRun } from '../support/run-records.ts'
import { commit, eventsOf, numbered, open, temporaryFiles } from './support.ts'

const newFile = temporaryFiles()

/** Many runs, several of them created in the same millisecond. */
const runs = fc.array(
  fc.tuple(validRun(undefined, { maxMoves: 6 }), fc.nat({ max: 4 })).map(([records, ms]) => {
    const [created, ...rest] = records
    if (created === undefined) throw new Error('a run has a record')
    return [{ ...created, ts: 1_770_000_000 + ms / 1000 }, ...rest]
  }),
  { maxLength: 30, size: 'max' },
)
const TAGS = ['a', 'B c', 'ünïcode']
const maybe = <T>(values: fc.Arbitrary<T>) => fc.option(values, { nil: undefined, freq: 1 })
const query = fc.record({
  limit: fc.integer({ min: 1, max: 8 }),
  status: maybe(fc.subarray([...RUN_STATUSES], { minLength: 1 })),
  goal: maybe(fc.constantFrom('pytest', 'npm-test', 'shell-goal')),
  q: maybe(fc.constantFrom('PYTEST', 'e', 'b C', 'Ï', '%', '_', "'")),
  tag: maybe(fc.subarray(TAGS, { minLength: 1 })),
  top: maybe(fc.boolean()),
  min_cost_usd: maybe(fc.constantFrom(0, 0.01)),
  max_cost_usd: maybe(fc.constantFrom(0, 0.02)),
  from: maybe(fc.constant('2026-02-02T02:40:00.002Z')),
  to: maybe(fc.constant('2026-02-02T02:40:00.002Z')),
  sort: maybe(fc.constantFrom(...RUN_SORTS)),
  order: maybe(fc.constantFrom('asc' as const, 'desc' as const)),
})

const includes = (text: string, part: string) => text.toLowerCase().includes(part.toLowerCase())

function passes(run: RunSummary, asked: RunQuery): boolean {
  const { title = '', goal, cwd = '', tags = [], estimated_cost_usd: cost = null } = run
  const { status, q, tag = [], min_cost_usd: min, max_cost_usd: max, from = '', to = '~' } = asked
  const texts = [title, goal, cwd, ...tags]
  return [
    status?.includes(run.status) ?? true,
    asked.goal === undefined || goal === asked.goal,
    q === undefined || run.run_id.startsWith(q) || texts.some((text) => includes(text, q)),
    tag.every((each) => tags.includes(each)),
    asked.top !== true || run.parent_run_id === undefined,
    min === undefined || (cost !== null && cost >= min),
    max === undefined || (cost !== null && cost <= max),
    run.created_at >= from && run.created_at < to,
  ].every(Boolean)
}

function naive(summaries: readonly RunSummary[], asked: RunQuery): RunSummary[] {
  const keyOf = (run: RunSummary) =>
    ({
      created: run.created_at,
      updated: run.updated_at ?? '',
      cost: run.estimated_cost_usd ?? -1,
      iterations: run.iteration ?? 0,
    })[asked.sort ?? 'created']
  const sign = asked.order === 'asc' ? 1 : -1
  return summaries
    .filter((run) => passes(run, asked))
    .sort((a, b) => {
      const [x, y] = [keyOf(a), keyOf(b)]
      const isLess = x === y ? a.run_id < b.run_id : x < y
      return isLess ? -sign : sign
    })
}

function allPages(readModel: SqliteReadModel, asked: RunQuery): RunSummary[][] {
  const pages: RunSummary[][] = []
  let cursor: string | null | undefined
  while (cursor !== null) {
    const page = readModel.list({ ...asked, cursor })
    if (page === null) throw new Error('the cursor is its own')
    pages.push([...page.runs])
    cursor = page.next
  }
  return pages
}

describe('the list', () => {
  test('equals all runs, sorted and filtered, page by page', () => {
    fc.assert(
      fc.property(runs, fc.array(query, { minLength: 3, maxLength: 6 }), (all, queries) => {
        const readModel = open(newFile())
        const log = numbered(all.flatMap((records) => eventsOf(records)))
        const middle = Math.floor(log.length / 2)
        for (const part of [log.slice(0, middle), log.slice(middle)]) commit(readModel, part)
        const later = new Map(
          all.flatMap(([first], index) =>
            first === undefined || index % 3 === 0
              ? []
              : [[first.run_id, { tags: TAGS.slice(index % 4), revision: index }] as const],
          ),
        )
        readModel.tag(later)
        const summaries = all.map((records) => {
          const state = fold(records)
          if (state === null) throw new Error('a run has a record')
          const listed = listedRun(state)
          return { ...listed, tags: later.get(state.runId)?.tags ?? listed.tags }
        })
        for (const asked of queries) {
          const pages = allPages(readModel, asked)
          expect(pages.flat()).toEqual(naive(summaries, asked))
          const full = pages.slice(0, -1)
          expect(full.every((page) => page.length === asked.limit)).toBe(true)
          expect(pages.length === 1 || pages.at(-1)?.length !== 0).toBe(true)
        }
        readModel.close()
      }),
      { numRuns: 15 },
    )
  })

  test('continues after its cursor although new runs have come since', () => {
    const id = (n: number) => `f7c2a5de-2c55-4b5c-8a34-00000000000${n}`
    const created = (n: number) => eventsOf([createdRecord(id(n), { ts: 1_770_000_000 + n })])
    const readModel = open(newFile())
    commit(readModel, numbered([1, 2, 3].flatMap(created)))
    const first = readModel.list({ limit: 2 })
    commit(readModel, numbered(created(4)))
    const second = readModel.list({ limit: 2, cursor: first?.next ?? undefined })
    expect(first?.runs.map((run) => run.run_id)).toEqual([id(3), id(2)])
    expect(second?.runs.map((run) => run.run_id)).toEqual([id(1)])
    expect(second?.next).toBeNull()
    expect(readModel.list({ limit: 2 })).toBe(readModel.list({ limit: 2 }))
    expect(readModel.list({ limit: 2 })?.runs[0]?.run_id).toBe(id(4))
    readModel.tag(new Map([[id(4), { tags: ['now'], revision: 0 }]]))
    expect(readModel.list({ limit: 2 })?.runs[0]?.tags).toEqual(['now'])
    readModel.remove([id(4)])
    expect(readModel.list({ limit: 2 })).toEqual(first)
    readModel.close()
  })

  test('refuses a cursor of another query, and what is no cursor', () => {
    const readModel = open(newFile())
    const id = (n: number) => `f7c2a5de-2c55-4b5c-8a34-00000000000${n}`
    commit(readModel, numbered([1, 2].flatMap((n) => eventsOf([createdRecord(id(n))]))))
    const cursor = readModel.list({ limit: 1 })?.next ?? ''
    expect(readModel.list({ limit: 1, cursor })?.runs).toHaveLength(1)
    expect(readModel.list({ limit: 1, cursor, q: 'pytest' })).toBeNull()
    expect(readModel.list({ limit: 1, cursor, order: 'asc' })).toBeNull()
    const part = Buffer.from('{"key":"2026-02-18T12:00:00.000Z"}').toString('base64url')
    for (const other of ['', '!!', 'bnVsbA', part]) {
      expect(readModel.list({ limit: 1, cursor: other })).toBeNull()
    }
    readModel.close()
  })

  test.each([
    [{}, 'runs_newest'],
    [{ status: ['running' as const] }, 'runs_by_status'],
    [{ parent: '550e8400-e29b-41d4-a716-446655440000' }, 'runs_by_parent'],
  ])('reads only one index, in order, if it is filtered by %j', (filters, index) => {
    const file = newFile()
    open(file).close()
    const db = new DatabaseSync(file)
    const plan = db.prepare(`EXPLAIN QUERY PLAN ${listSql(filters, true)}`)
    plan.setAllowUnknownNamedParameters(true)
    const steps = plan.all().map((step) => String(step.detail))
    db.close()
    expect(steps).toHaveLength(1)
    expect(steps[0]).toMatch(new RegExp(`^SEARCH runs USING (COVERING )?INDEX ${index} \\(`))
  })
})
