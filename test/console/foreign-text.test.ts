import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { colouredParts } from '../../web/src/code/ansi.ts'
import {
  isQuicklyColoured,
  isSimple,
  outsideAddress,
  visible,
} from '../../web/src/ui/foreign-text.ts'
import { baseName } from '../../web/src/ui/format.ts'

describe('text that a page shows', () => {
  test('has no hidden characters', () => {
    expect(visible('if admin\u202e \u2066// check\u2069 {\u200b')).toBe(
      'if admin⟨U+202E⟩ ⟨U+2066⟩// check⟨U+2069⟩ {⟨U+200B⟩',
    )
    expect(baseName('/home/a\u202eb/')).toBe('a⟨U+202E⟩b')
    expect(visible('\u{e0041}\x1b[2J\u0000')).toBe('⟨U+E0041⟩⟨U+001B⟩[2J⟨U+0000⟩')
  })

  test('stays as it is if it has no hidden characters', () => {
    const text = 'a\tb\r\nc  d ❤️ 👩‍💻 می‌خواهم é'
    expect(visible(text)).toBe(text)
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme-ascii' }), (ascii) => visible(ascii) === ascii),
    )
  })
})

describe('a link leads', () => {
  test.each([
    ['https://example.org/a?b#c', 'https://example.org/a?b#c'],
    ['HTTP://EXAMPLE.org', 'http://example.org/'],
    ['mailto:ada@example.org', 'mailto:ada@example.org'],
    ['https://bank.example@evil.example/', 'https://bank.example@evil.example/'],
    ['https://аррӏе.com', 'https://xn--80ak6aa92e.com/'],
  ])('to %s', (href, address) => expect(outsideAddress(href)).toBe(address))

  test.each([
    'javascript:alert(1)',
    'JAVASCRIPT:alert(1)',
    'java\nscript:alert(1)',
    'data:text/html,a',
    'vbscript:a',
    'file:///etc/passwd',
    'blob:https://a/b',
    'irc://a',
    'xmpp:a',
    'tel:1',
    '/api/runs',
    '//evil.example',
    'runs',
    '#a',
    '',
    undefined,
  ])('not to %s', (href) => expect(outsideAddress(href)).toBeNull())
})

describe('Markdown is read', () => {
  test('as models write it', () => {
    const item = '* **`gross()`** rounds the sum, _not each line_: [the law](https://example.org)\n'
    const table = '| a | b |\n| - | - |\n'.concat('| `x` | *y* |\n'.repeat(90))
    expect(
      isSimple(`# Plan\n\n${item.repeat(60)}\n\n${table}\n\n> > quoted\n\n    - a\n        - b`),
    ).toBe(true)
  })

  test.each([
    '> ',
    '>',
    '- ',
    '1. ',
    '> - ',
    '\t- ',
    '**a',
    '[',
    '[a](',
    '*a_ ',
    '_',
    'a\n',
    'word ',
  ])('quickly, also of %j repeated many times', (piece) =>
    expect(isSimple(piece.repeat(5_000))).toBe(false),
  )
})

test('code is highlighted if its lines are as short as people write them', () => {
  expect(isQuicklyColoured('const a = 1\n'.repeat(1_500), 'typescript')).toBe(true)
  for (const hostile of ['a'.repeat(20_000), '\n'.repeat(20_000), 'a b\n'.repeat(20_000)]) {
    expect(isQuicklyColoured(hostile, 'typescript')).toBe(false)
  }
  expect(isQuicklyColoured(JSON.stringify({ long: 'a '.repeat(5_000) }), 'json')).toBe(true)
  expect(isQuicklyColoured(JSON.stringify({ long: 'a '.repeat(50_000) }), 'json')).toBe(false)
})

describe('the colours that a program prints', () => {
  const shown = (output: string): string =>
    colouredParts(output)
      .map(({ text, names }) => (names === '' ? text : `<${names}>${text}</>`))
      .join('')

  test('are shown', () => {
    expect(shown('\x1b[31mFAIL\x1b[0m a \x1b[1;92mok\x1b[39m b\x1b[22m c\x1b[m')).toBe(
      '<ansi-1>FAIL</> a <ansi-2 ansi-bold>ok</><ansi-bold> b</> c',
    )
    expect(shown('\x1b[38;5;16mdark\x1b[48;2;0;0;0;33mgold')).toBe('dark<ansi-3>gold</>')
  })

  test('hide nothing, and whatever else a terminal would obey stays visible', () => {
    expect(shown('\x1b[8mconcealed\x1b[30;40mblack')).toBe('concealed<ansi-0>black</>')
    expect(shown('\x1b[2J\x1b[1A\x1b]8;;https://evil.example\x07a\u202eb')).toBe(
      '⟨U+001B⟩[2J⟨U+001B⟩[1A⟨U+001B⟩]8;;https://evil.example⟨U+0007⟩a⟨U+202E⟩b',
    )
    expect(shown('\x1b[31ma'.repeat(10_000))).toBe('⟨U+001B⟩[31ma'.repeat(10_000))
  })
})
