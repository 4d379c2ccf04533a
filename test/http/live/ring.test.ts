import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { positionPlaces, Ring, seqPlaces } from '../../../src/http/live/ring.ts'

type Item<Cursor> = { readonly cursor: Cursor; readonly bytes: number }

const contents = {
  cursorOf: <C>({ cursor }: Item<C>) => cursor,
  sizeOf: ({ bytes }: Item<unknown>) => bytes,
}
type Limits = ConstructorParameters<typeof Ring>[2]

const ringOfSeqs = (after: number, limits: Limits) =>
  new Ring<number, Item<number>>(after, { ...contents, places: seqPlaces(after) }, limits)
const ringOfPositions = (after: string | null, limits: Limits) =>
  new Ring<string | null, Item<string | null>>(
    after,
    { ...contents, places: positionPlaces<string | null>(after) },
    limits,
  )

const sizes = fc.array(fc.nat({ max: 30 }), { maxLength: 40 })
const someLimits = fc.record({ ringFrames: fc.integer({ min: 1, max: 8 }), ringBytes: fc.nat(60) })

/** The newest items are kept within both limits and can be read after each of their cursors; no others can. */
function keepsTheNewest<Cursor>(
  ring: Ring<Cursor, Item<Cursor>>,
  after: Cursor,
  all: readonly Item<Cursor>[],
  limits: { readonly ringFrames: number; readonly ringBytes: number },
): void {
  for (const item of all) ring.push(item)
  const cursors = [after, ...all.map(({ cursor }) => cursor)]
  const kept = cursors.map((cursor) => ring.after(cursor))
  const first = kept.findIndex((items) => items !== null)
  for (const [i, items] of kept.entries()) expect(items).toEqual(i < first ? null : all.slice(i))
  expect(cursors.map((cursor) => ring.has(cursor))).toEqual(kept.map((items) => items !== null))
  const bytes = (items: readonly Item<Cursor>[]) => items.reduce((sum, item) => sum + item.bytes, 0)
  const held = all.slice(first)
  expect(held.length).toBeLessThanOrEqual(limits.ringFrames)
  expect(bytes(held)).toBeLessThanOrEqual(limits.ringBytes)
  // Nothing is dropped below the limits.
  if (first === 0) return
  const more = all.slice(first - 1)
  expect(more.length > limits.ringFrames || bytes(more) > limits.ringBytes).toBe(true)
}

describe('a ring keeps the newest items within both limits', () => {
  test('by seq', () => {
    fc.assert(
      fc.property(sizes, someLimits, fc.integer({ min: -1, max: 20 }), (pushed, limits, after) => {
        const all = pushed.map((bytes, index) => ({ cursor: after + 1 + index, bytes }))
        keepsTheNewest(ringOfSeqs(after, limits), after, all, limits)
      }),
    )
  })

  test('by position', () => {
    fc.assert(
      fc.property(sizes, someLimits, fc.constantFrom(null, 'start'), (pushed, limits, after) => {
        const all = pushed.map((bytes, index) => ({ cursor: `p${index}`, bytes }))
        const ring = ringOfPositions(after, limits)
        keepsTheNewest<string | null>(ring, after, all, limits)
        expect(ring.after('elsewhere')).toBe(null)
      }),
    )
  })
})

const limits = { ringFrames: 4, ringBytes: 100 }

test('a ring has nothing after its end, or after a seq that was not added yet', () => {
  const ring = ringOfSeqs(3, limits)
  expect(ring.after(2)).toBe(null)
  expect(ring.after(3)).toEqual([])
  expect(ring.after(9)).toEqual([])
})

test('a ring ignores an item that it has already, and refuses a gap', () => {
  const ring = ringOfSeqs(3, limits)
  const items = [4, 5].map((cursor) => ({ cursor, bytes: 1 }))
  for (const item of [...items, ...items]) ring.push(item)
  expect(ring.after(3)).toEqual(items)
  expect(() => ring.push({ cursor: 7, bytes: 1 })).toThrow(RangeError)
  const positions = ringOfPositions(null, limits)
  for (const cursor of ['a', 'b', 'a', 'b']) positions.push({ cursor, bytes: 1 })
  expect(positions.after(null)?.map(({ cursor }) => cursor)).toEqual(['a', 'b'])
})
