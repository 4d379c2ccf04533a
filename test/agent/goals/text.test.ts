import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  errorLine,
  headAndTail,
  lastLine,
  nameList,
  oneLine,
  tail,
} from '../../../src/agent/goals/text.ts'

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
        for (const shorten of [tail, headAndTail, oneLine]) {
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

  test('keeps the beginning and the end', () => {
    const short = headAndTail(`first ${'x'.repeat(5000)} last`, 100)
    expect(short).toMatch(/^first x+\n\[…\]\nx+ last$/)
  })
})

test('the last line with a word', () => {
  expect(lastLine('one\ntwo\n----\n\n')).toBe('two')
  expect(lastLine('one\nnoise\n', /noise/)).toBe('one')
  expect(lastLine('noise\n', /noise/)).toBe('noise')
  expect(lastLine('')).toBe('')
})

test('a list of names ends with the number of omitted names', () => {
  expect(nameList(['a', 'b'])).toBe('a, b')
  expect(nameList(['a', 'b', 'c', 'd', 'e', 'f', 'g'])).toBe('a, b, c, d, e and 2 more')
  expect(nameList(['a'], 3)).toBe('a and 2 more')
  expect(nameList([], 3)).toBe('')
})

test('the line of an error is the line before its trace, or else the last line', () => {
  const node =
    '\n  throw err\n  ^\n\nError: Cannot find module x\n    at load (node:a:1:2) {\n}\n\nNode.js v24.21.0\n'
  expect(errorLine(node)).toBe('Error: Cannot find module x')
  expect(errorLine('panic: no port\n\ngoroutine 1 [running]:\nexit status 2\n')).toBe(
    'panic: no port',
  )
  expect(errorLine('listening\nbye\n')).toBe('bye')
})
