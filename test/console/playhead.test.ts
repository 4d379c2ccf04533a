import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { thin } from '../../web/src/replay/marks.ts'
import { hashOf, play, seqFromHash } from '../../web/src/replay/playhead.ts'

const pauses = fc.array(fc.nat({ max: 20_000 }), { minLength: 1, maxLength: 30 })

function recordsOf(pausesMs: readonly number[]): { readonly ts: number }[] {
  const records = [{ ts: 1_770_000_000 }]
  for (const ms of pausesMs) records.push({ ts: (records.at(-1)?.ts ?? 0) + ms / 1000 })
  return records
}

describe('playing a run', () => {
  test('reaches the same place in many steps or in one', () => {
    fc.assert(
      fc.property(
        pauses,
        fc.array(fc.nat({ max: 900 }), { minLength: 1 }),
        fc.constantFrom(1, 4, 64),
        (ms, steps, speed) => {
          const records = recordsOf(ms)
          const start = { seq: 0, spentMs: 0 }
          const stepped = steps.reduce(
            (from, elapsed) => play(records, from, elapsed, speed),
            start,
          )
          const once = play(
            records,
            start,
            steps.reduce((sum, step) => sum + step, 0),
            speed,
          )
          expect(stepped.seq).toBe(once.seq)
        },
      ),
    )
  })

  test('ends at the last record, and shortens each pause to four seconds', () => {
    fc.assert(
      fc.property(pauses, (ms) => {
        const records = recordsOf(ms)
        expect(play(records, { seq: 0, spentMs: 0 }, 4000 * ms.length, 1).seq).toBe(ms.length)
      }),
    )
  })

  test('an address names a record, and reading it gives that record back', () => {
    fc.assert(
      fc.property(fc.nat(), (seq) => {
        expect(seqFromHash(hashOf(seq))).toBe(seq)
      }),
    )
    for (const hash of ['', '#', '#seq=', '#seq=-1', '#seq=1e3', '#seq=1&x']) {
      expect(seqFromHash(hash)).toBeNull()
    }
  })
})

test('a thinned list fits, is in order, and keeps its last item', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.nat(), { minLength: 1 }),
      fc.integer({ min: 1, max: 40 }),
      (list, room) => {
        const some = thin(list, room)
        expect(some.length).toBe(Math.min(room, list.length))
        expect(some.at(-1)).toBe(list.at(-1))
        const places = some.map((item) => list.indexOf(item))
        expect(places).toEqual([...new Set(places)].sort((a, b) => a - b))
      },
    ),
  )
})
