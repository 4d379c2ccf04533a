import fc from 'fast-check'
import { expect, it } from 'vitest'
import { FeedEntry } from '../../../src/http/live/feed-entry.ts'
import { FeedRing } from '../../../src/http/live/feed-ring.ts'

const entry = (position: string, bytes: number): FeedEntry => {
  const data = Buffer.alloc(bytes)
  const event = {
    id: '',
    type: 'step_start',
    data: '',
    metadata: '',
    stream: '',
    revision: 0,
    position,
    created: 0,
  }
  return new FeedEntry(event, { cursor: position, runId: '', kind: 'step_start', data })
}

it('keeps the newest entries within both limits, and knows every place that it goes on from', () => {
  const sizes = fc.array(fc.nat({ max: 30 }), { maxLength: 40 })
  const limits = fc.record({ ringFrames: fc.integer({ min: 1, max: 8 }), ringBytes: fc.nat(60) })
  fc.assert(
    fc.property(sizes, limits, fc.constantFrom(null, 'start'), (pushed, limit, after) => {
      const ring = new FeedRing(after, limit)
      const all = pushed.map((bytes, index) => entry(`p${index}`, bytes))
      for (const item of all) ring.push(item)
      const places = [after, ...all.map(({ position }) => position)]
      expect(ring.last).toBe(places.at(-1))

      const behind = places.map((place) => {
        const index = ring.indexBehind(place)
        return index === undefined ? null : ring.from(index)
      })
      const first = behind.findIndex((entries) => entries !== null)
      // Everything from there on can be had, nothing before it can, and nothing of it is remembered.
      for (const [i, entries] of behind.entries()) {
        expect(entries).toEqual(i < first ? null : all.slice(i))
        if (i < first) expect(ring.indexBehind(places[i] ?? null)).toBeUndefined()
      }
      const bytes = (items: FeedEntry[]) => items.reduce((sum, { data }) => sum + data.length, 0)
      const held = all.slice(first)
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

it('tells who fell out of it by the index', () => {
  const ring = new FeedRing(null, { ringFrames: 2, ringBytes: 100 })
  const index = ring.indexBehind(null)
  expect(index).toBe(0)
  for (const position of ['a', 'b', 'c']) ring.push(entry(position, 1))
  expect(ring.from(index ?? -1)).toBe(null)
  expect(ring.from(1)?.map(({ position }) => position)).toEqual(['b', 'c'])
})
