import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { RunSummary } from '../../src/client/index.ts'
import { type RunList, withHead, withOlder } from '../../web/src/list/run-list.ts'
import { queryFor } from '../../web/src/list/use-filter.ts'

const runOf = (n: number): RunSummary => ({
  run_id: `${String(n).padStart(8, '0')}-0000-4000-8000-000000000000`,
  goal: 'pytest',
  status: 'running',
  // Some have the same moment, so only the id determines their order.
  created_at: new Date(1_770_000_000_000 + 1000 * Math.floor(n / 3)).toISOString(),
})

/** A server that lists runs 0 to newest, newest first; the cursor is the last run of a page. */
function pageOf(newest: number, limit: number, cursor: string | null = null): RunList {
  const first = cursor === null ? newest : Number(cursor) - 1
  const last = Math.max(0, first - limit + 1)
  const runs = Array.from({ length: Math.max(0, first - last + 1) }, (_, i) => runOf(first - i))
  return { runs, next: last > 0 ? String(last) : null }
}

test('the list of runs holds the newest runs in order and without a gap, whatever happens meanwhile', () => {
  const step = fc.record({ born: fc.nat({ max: 12 }), older: fc.boolean() })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), fc.nat({ max: 40 }), (steps, known) => {
      let newest = known
      let list = withHead(null, pageOf(newest, 5))
      for (const { born, older } of steps) {
        newest += born
        list = withHead(list, pageOf(newest, 5))
        if (older && list.next !== null) list = withOlder(list, pageOf(newest, 7, list.next))
        const expected = Array.from({ length: list.runs.length }, (_, i) => runOf(newest - i))
        expect(list.runs).toEqual(expected)
        expect(list.next === null).toBe(list.runs.length === newest + 1)
      }
    }),
  )
})

test.each(['2026-12-01T10:00:00Z', '202611-01-01', '275760-09-13', 'soon'])(
  'an address may have %s in place of a day: the server reads it',
  (text) => expect(queryFor({ to: text })).toEqual({ to: text, top: true }),
)
