import fc from 'fast-check'
import { expect, it } from 'vitest'
import { type Entry, Frame } from '../../../src/http/live/entry.ts'
import { Ring } from '../../../src/http/live/ring.ts'

const entry = (seq: number, bytes: number): Entry => {
  return new Frame(seq, 'step_start', { memory: Buffer.alloc(bytes), start: 0, at: 0, end: bytes })
}

it('keeps the newest entries within both limits, and knows what it no longer has', () => {
  const sizes = fc.array(fc.nat({ max: 30 }), { maxLength: 40 })
  const limits = fc.record({ ringFrames: fc.integer({ min: 1, max: 8 }), ringBytes: fc.nat(60) })
  fc.assert(
    fc.property(sizes, limits, fc.integer({ min: -1, max: 20 }), (pushed, limit, after) => {
      const ring = new Ring(after, limit)
      const all = pushed.map((bytes, index) => entry(after + 1 + index, bytes))
      for (const item of all) ring.push(item)
      expect(ring.last).toBe(after + all.length)

      const kept = [...Array(all.length + 1).keys()].find((i) => ring.behind(after + i) !== null)
      const first = kept ?? 0
      const held = all.slice(first)
      // Everything from there on can be had, nothing before it can.
      for (let i = 0; i <= all.length; i += 1) {
        expect(ring.behind(after + i)).toEqual(i < first ? null : all.slice(i))
      }
      const bytes = (items: Entry[]) =>
        items.reduce((sum, item) => sum + (item.type === 'frame' ? item.data.length : 0), 0)
      expect(held.length).toBeLessThanOrEqual(limit.ringFrames)
      expect(bytes(held)).toBeLessThanOrEqual(limit.ringBytes)
      // And nothing was dropped without need.
      if (first > 0) {
        const more = all.slice(first - 1)
        expect(more.length > limit.ringFrames || bytes(more) > limit.ringBytes).toBe(true)
      }
    }),
  )
})

it('has nothing for a cursor at its end or beyond it', () => {
  const ring = new Ring(3, { ringFrames: 4, ringBytes: 100 })
  expect(ring.behind(2)).toBe(null)
  expect(ring.behind(3)).toEqual([])
  expect(ring.behind(9)).toEqual([])
})

it.each([3, 5])('refuses an entry with seq %i where 4 belongs', (seq) => {
  const ring = new Ring(3, { ringFrames: 4, ringBytes: 100 })
  expect(() => ring.push(entry(seq, 1))).toThrow(RangeError)
})
