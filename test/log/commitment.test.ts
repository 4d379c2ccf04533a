import fc from 'fast-check'
import { expect, test } from 'vitest'
import { committed } from '../../src/log/commitment.ts'

const salt = '0f'.repeat(16)

test('strings become commitments at any depth; keys, numbers, booleans and null stay', () => {
  const payload = { a: 'x', n: 1.5, b: true, none: null, list: ['x', { 'k/~': 'x' }] }
  const result = JSON.parse(JSON.stringify(committed(payload, salt)))
  expect(result).toMatchObject({ n: 1.5, b: true, none: null })
  const all = [result.a, result.list[0], result.list[1]['k/~']]
  for (const commitment of all) expect(commitment).toMatch(/^[0-9a-f]{64}$/)
  // The same text has another commitment at another place.
  expect(new Set(all).size).toBe(3)
})

test('a commitment tells its text apart from every other, and depends on the salt', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (one, other) => {
      const of = (text: string, key = salt) => committed({ text }, key)
      expect(of(one)).toEqual(of(one))
      if (one !== other) expect(of(one)).not.toEqual(of(other))
      expect(of(one, 'f0'.repeat(16))).not.toEqual(of(one))
    }),
  )
})
