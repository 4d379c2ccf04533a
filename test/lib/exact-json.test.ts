import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isExactJson } from '../../src/lib/exact-json.ts'

const isWritten = (text: string): boolean => JSON.stringify(JSON.parse(text)) === text

test('the text of a value is what JSON.stringify writes for it', () => {
  fc.assert(
    fc.property(fc.jsonValue({ stringUnit: 'binary' }), (value) => {
      const text = JSON.stringify(value)
      expect(isExactJson(text, JSON.parse(text))).toBe(isWritten(text))
    }),
  )
})

test('a changed text that is still JSON is exact only if JSON.stringify would write it', () => {
  const piece = fc.constantFrom(
    ...['"', ' ', '\\', ',', ':', '0', '1e1', '1E1', '-0', '0.10', '1e21', '1e+21', '\\u0061'],
    ...['"a":1,', '"0":1,', '"__proto__":[],', '{', '}', '[', ']', '[]', '\ud800', 'é', '\n'],
  )
  const change = fc.record({ at: fc.nat({ max: 60 }), remove: fc.nat({ max: 3 }), add: piece })
  const small = fc.jsonValue({ maxDepth: 2 })
  fc.assert(
    fc.property(small, fc.array(change, { maxLength: 3 }), (value, changes) => {
      const text = changes.reduce(
        (before, { at, remove, add }) => before.slice(0, at) + add + before.slice(at + remove),
        JSON.stringify({ a: value, b: [value, 'a', 10] }),
      )
      fc.pre(isJson(text))
      expect(isExactJson(text, JSON.parse(text))).toBe(isWritten(text))
    }),
    { numRuns: 2000 },
  )
})

test.each([
  '{"a":1,"a":1}',
  '{"a":"","a":"x"}',
  '{"b":1,"1":2}',
  '{"a":1e2}',
  '{"a":1E21}',
  '{"a":-0}',
  '{"a":1.0}',
  '{ "a":1}',
  '[1,2 ]',
  '["\\u0061"]',
  '["\\/"]',
  '["\ud800"]',
  ' null',
])('%s is another spelling', (text) => {
  expect(isWritten(text)).toBe(false)
  expect(isExactJson(text, JSON.parse(text))).toBe(false)
})

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
