import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BoundedText } from '../../src/runner/bounded-text.ts'

const piece = fc
  .array(fc.constantFrom('a', '\n', 'é', '€', '😀', '\u0000'), { maxLength: 40 })
  .map((characters) => characters.join(''))
const pieces = fc.array(piece, { maxLength: 40 })

describe('bounded text', () => {
  test('keeps a text that fits, and otherwise whole characters of both ends', () => {
    fc.assert(
      fc.property(pieces, fc.nat(400), (texts, limit) => {
        const bounded = new BoundedText(limit)
        for (const text of texts) bounded.add(text)
        const all = texts.join('')
        const size = Buffer.byteLength(all)
        const kept = bounded.text()
        if (size <= limit) {
          expect(kept).toBe(all)
          return
        }

        const match = /^(.*)\n\[(\d+) bytes of output are dropped here\]\n(.*)$/s.exec(kept)
        const [, head = '', dropped = '', tail = ''] = match ?? []
        expect(match).not.toBeNull()
        expect(all.startsWith(head)).toBe(true)
        expect(all.endsWith(tail)).toBe(true)
        const shown = Buffer.byteLength(head) + Buffer.byteLength(tail)
        expect(shown).toBeLessThanOrEqual(limit)
        // Each end loses less than one character.
        expect(shown).toBeGreaterThanOrEqual(limit - 6)
        expect(shown + Number(dropped)).toBe(size)
      }),
      { numRuns: 500 },
    )
  })

  test('can be copied, and later text changes only one of the two', () => {
    fc.assert(
      fc.property(pieces, fc.nat(40), pieces, fc.nat(400), (before, gap, after, limit) => {
        const [one, other] = [new BoundedText(limit), new BoundedText(limit)]
        for (const text of before) for (const each of [one, other]) each.add(text)
        if (gap > 0) for (const each of [one, other]) each.skip(gap)
        const copy = one.copy()
        for (const text of after) {
          copy.add(text)
          other.add(text)
        }
        const own = one.text()
        expect(copy.text()).toBe(other.text())
        expect(one.text()).toBe(own)
        expect(one.copy().text()).toBe(own)
      }),
    )
  })
})
