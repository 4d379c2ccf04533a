import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { RunSummary } from '../../src/api/runs.ts'
import { fold } from '../../src/domain/evolve.ts'
import { RUN_STATUSES, type RunState, statusOf } from '../../src/domain/state.ts'
import type { RunQuery } from '../../src/projections/read-model.ts'
import { listSql, runRow } from '../../src/projections/read-model.ts'
import type { SqliteReadModel } from '../../src/projections/sqlite-read-model.ts'
import { runDetails } from '../../src/queries/run-details.ts'
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
const query = fc.record({
  limit: fc.integer({ min: 1, max: 8 }),
  status: fc.option(fc.constantFrom(...RUN_STATUSES), { nil: undefined }),
  goal: fc.option(fc.constantFrom('pytest', 'npm-test', 'shell-goal'), { nil: undefined }),
})

function summaryOf(state: RunState): RunSummary {
  const isQueued = statusOf(state) === 'queued' && state.queued !== null
  const { cwd, model_name, max_iterations, ended_at, progress, doubt } = runDetails(state)
  const { iteration, total_tokens, estimated_cost_usd } = progress
  return {
    ...{ ...runRow(state), cwd, model_name, max_iterations, ended_at },
    ...{ iteration, total_tokens, estimated_cost_usd },
    ...(isQueued ? { queued_reason: state.queued } : {}),
    ...(doubt === undefined ? {} : { doubt }),
  }
}

function naive(summaries: readonly RunSummary[], { status, goal }: RunQuery): RunSummary[] {
  const key = ({ created_at, run_id }: RunSummary) => `${created_at} ${run_id}`
  return summaries
    .filter((run) => status === undefined || run.status === status)
    .filter((run) => goal === undefined || run.goal === goal)
    .sort((a, b) => (key(a) < key(b) ? 1 : -1))
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
        const summaries = all.map((records) => {
          const state = fold(records)
          if (state === null) throw new Error('a run has a record')
          return summaryOf(state)
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
    readModel.close()
  })

  test.each([
    '',
    'x',
    '!!',
    'bnVsbA',
    Buffer.from('{"created_at":"2026-02-18T12:00:00.000Z"}').toString('base64url'),
    Buffer.from('{"created_at":"soon","run_id":"f7c2a5de-2c55-4b5c-8a34-4c1a3c1b2a10"}').toString(
      'base64url',
    ),
  ])('refuses the cursor %j, which is not its own', (cursor) => {
    const readModel = open(newFile())
    expect(readModel.list({ limit: 10, cursor })).toBeNull()
    readModel.close()
  })

  test.each([
    [{}, 'runs_newest'],
    [{ status: 'running' as const }, 'runs_by_status'],
    [{ goal: 'pytest' }, 'runs_by_goal'],
    [{ goal: 'pytest', status: 'running' as const }, 'runs_by_goal_and_status'],
    [{ parent: '550e8400-e29b-41d4-a716-446655440000' }, 'runs_by_parent'],
  ])('reads only one index, in order, if it is filtered by %j', (filters, index) => {
    const file = newFile()
    open(file).close()
    const db = new DatabaseSync(file)
    const plan = db.prepare(`EXPLAIN QUERY PLAN ${listSql(filters)}`)
    plan.setAllowUnknownNamedParameters(true)
    const steps = plan.all().map((step) => String(step.detail))
    db.close()
    expect(steps).toHaveLength(1)
    expect(steps[0]).toMatch(new RegExp(`^SEARCH runs USING (COVERING )?INDEX ${index} \\(`))
  })
})
