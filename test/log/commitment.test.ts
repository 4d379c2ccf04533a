import canonicalize from 'canonicalize'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { canonicalText, committed } from '../../src/log/commitment.ts'

const salt = '0f'.repeat(16)

test('two texts never have the same commitment, and it depends on the salt', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (one, other) => {
      const of = (text: string, key = salt) => committed({ text }, key)
      expect(of(one)).toEqual(of(one))
      if (one !== other) expect(of(one)).not.toEqual(of(other))
      expect(of(one, 'f0'.repeat(16))).not.toEqual(of(one))
    }),
  )
})

test('the canonical form is that of RFC 8785', () => {
  const withoutLoneSurrogates = fc.jsonValue({ noUnicodeString: false, stringUnit: 'grapheme' })
  fc.assert(
    fc.property(withoutLoneSurrogates, (value) => {
      expect(canonicalText(value)).toBe(canonicalize(value))
    }),
  )
  const names = { '\u{1f600}': 1, '\ufb33': 2, '': 3, '1': 4, a: undefined, ä: [undefined, 1e21] }
  expect(canonicalText(names)).toBe(canonicalize(names))
  for (const none of [['\ud800'], { '\udfff': 1 }, [Number.POSITIVE_INFINITY], [Number.NaN]]) {
    expect(() => canonicalText(none)).toThrow(TypeError)
  }
})

test('each string is passed with its RFC 6901 pointer', () => {
  const pointers: string[] = []
  canonicalText({ 'a/b~c': ['x', { '': 'y' }] }, (_, pointer) => {
    pointers.push(pointer)
    return '""'
  })
  expect(pointers).toEqual(['/a~1b~0c/0', '/a~1b~0c/1/'])
})
