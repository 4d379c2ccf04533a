import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { rendered } from '../../src/cli/terminal/print.ts'
import {
  oneLine,
  shorten,
  timeOf,
  visibleJson,
  withoutControls,
} from '../../src/domain/plain-text.ts'
import { expectLinearTime } from '../support/linear-time.ts'

/** Every terminal command begins with one of these characters, and every line ends with one. */
const CONTROL = /\p{Cc}/u
const BIDI = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/
const PIECES = [
  '\x1b',
  '\x1b[31m',
  '\x1b]0;',
  '\x07',
  '\x9b2J',
  '\x9d',
  '\x1bP',
  '\x1b\\',
  '\x85',
  '\r',
  '\n',
  '\u2028',
  '\u202e',
  '\u2066',
  '\u200b',
  '\u{e0041}',
  '\ud800',
  '  ',
  'word',
  '"',
  '\\',
]
const hostile = fc
  .array(fc.oneof(fc.constantFrom(...PIECES), fc.string({ unit: 'binary' })))
  .map((parts) => parts.join(''))

describe('text from outside', () => {
  test('cannot control a terminal, and stays on its line', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        for (const line of [rendered(text), oneLine(text), rendered([text, text])]) {
          expect(line).not.toMatch(CONTROL)
          expect(line).not.toMatch(BIDI)
        }
      }),
    )
  })

  test('loses its terminal commands and keeps its words', () => {
    expect(rendered('a\x1b[31mb\x9b1mc\x1b]0;title\x07d\x1bcd\x1b]open')).toBe('abcddopen')
    expect(rendered('two  spaces, ❤️ 👩‍💻')).toBe('two  spaces, ❤️ 👩‍💻')
    expect(oneLine(' a\tb\r\nc\u202ed  e ')).toBe('a b c d e')
    expect(shorten({ a: 'x'.repeat(90) }, 10)).toBe('{"a":"xxx…')
  })

  test('is cut if it is very long', () => {
    expect(oneLine('x'.repeat(1_000_000))).toHaveLength(10_001)
  })

  test('gets its colours only from the styles of its line', () => {
    const line = rendered([{ text: '\x1b[8mhidden', style: 'bold' }, '\x1b[8m'])
    expect(line.replace('\x1b[1m', '').replace('\x1b[22m', '')).toBe('hidden')
  })
})

describe('JSON', () => {
  test('keeps its value, and hides nothing', () => {
    fc.assert(
      fc.property(fc.jsonValue(), hostile, fc.constantFrom(undefined, 2), (value, text, indent) => {
        const json = JSON.stringify({ value, [text]: text }, null, indent)
        const visible = visibleJson(json)
        expect(JSON.parse(visible)).toEqual(JSON.parse(json))
        expect(visible.replaceAll('\n', '')).not.toMatch(CONTROL)
        expect(visible).not.toMatch(BIDI)
      }),
    )
    expect(visibleJson(JSON.stringify('\x9b\u202e\u{e0041}é'))).toBe(
      '"\\u009b\\u202e\\udb40\\udc41é"',
    )
  })

  test('that contains a log is harmless even after it is parsed', () => {
    const text = '\x1b[2J\u0090\u202e\r\b\f "\\u001b" \\ \n\tend'
    const read: unknown = JSON.parse(withoutControls(JSON.stringify({ text })))
    expect(read).toEqual({ text: ' [2J      "\\u001b" \\ \n\tend' })
  })
})

test.each(['\x1b', '\x1b[', '\x1b]', '\x9d', '\x1b[0', '\x1b]0;\x1b[', '\u202e', ' ', '\\u001b'])(
  'the time to read %j repeated many times is proportional to its length',
  (piece) => {
    const read = (text: string): void => {
      withoutControls(JSON.stringify(text))
      oneLine(text)
      shorten(text, text.length)
    }
    expectLinearTime(read, (length) => piece.repeat(length / piece.length), 128 * 1024)
  },
)

test('a number that is not a time is not an error', () => {
  expect(timeOf(0)).toBe('1970-01-01T00:00:00.000Z')
  expect(timeOf(1e300)).toBe('1e+300 s')
})
