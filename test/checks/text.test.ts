import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { oneLine, tail } from '../../src/checks/goal.ts'

const Text = fc.oneof(
  fc.string(),
  fc.string({ unit: 'binary', maxLength: 3000 }),
  fc.array(fc.string(), { maxLength: 200 }).map((lines) => lines.join('\n')),
)
const Limit = fc.integer({ min: 20, max: 500 })

describe('shortened text', () => {
  test('never exceeds its limit', () => {
    fc.assert(
      fc.property(Text, Limit, (text, limit) => {
        for (const shorten of [tail, oneLine]) {
          expect(shorten(text, limit).length).toBeLessThanOrEqual(limit)
        }
      }),
    )
  })

  test('of one line has no line break and no escape sequence', () => {
    fc.assert(
      fc.property(Text, (text) => {
        expect(oneLine(text)).not.toMatch(/[\n\r]/)
      }),
    )
    expect(oneLine('\u001b[31mred\u001b[0m\n  and plain ')).toBe('red and plain')
  })

  test('keeps the end, from the start of a line', () => {
    const lines = Array.from({ length: 100 }, (_, index) => `line ${index}`).join('\n')
    expect(tail(lines, 30)).toBe('…\nline 97\nline 98\nline 99')
  })
})
