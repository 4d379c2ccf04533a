import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Edit, editText } from '../../../src/agent/tools/text-edits.ts'

const edit = (old: string, fresh: string, replaceAll = false): Edit => {
  return { old, new: fresh, replaceAll }
}
const edited = (text: string, ...args: Parameters<typeof edit>) =>
  editText(text, edit(...args)).map(({ text, loosely }) => ({ text, loosely }))

/** Texts of few letters, so that parts often occur more than once. */
const someText = fc.string({ unit: fc.constantFrom('a', 'b', ' ', '\n', '\r\n', 'é', '\ufeff') })

describe('an edit', () => {
  test('changes the one place and no other character', () => {
    fc.assert(
      fc.property(someText, someText, someText, fc.string(), (before, old, after, fresh) => {
        const text = before + old + after
        const isOnce = old !== '' && text.indexOf(old) === text.lastIndexOf(old)
        fc.pre(isOnce && old !== fresh && !fresh.includes('\n'))
        expect(edited(text, old, fresh)._unsafeUnwrap()).toEqual({
          text: before + fresh + after,
          loosely: false,
        })
      }),
    )
  })

  test('replaces every place if that is asked for', () => {
    fc.assert(
      fc.property(someText, fc.constantFrom('a', 'b', 'ab', 'aa', ' '), (text, old) => {
        fc.pre(text.includes(old))
        const { text: result } = edited(text, old, 'X', true)._unsafeUnwrap()
        expect(result).toBe(text.replaceAll(old, 'X'))
      }),
    )
  })

  test('of lines that differ in spaces keeps all lines around them', () => {
    const lines = fc.array(fc.constantFrom('x', ' y', '', '\tz '), { maxLength: 5 })
    const ends = fc.constantFrom('\n', '\r\n')
    fc.assert(
      fc.property(lines, lines, ends, ends, (before, after, end, asked) => {
        const text = [...before, '    if here:', '        old()', ...after, ''].join(end)
        const old = ['if here:', '    old()', ''].join(asked)
        const fresh = ['if here:', '    new()', '    if b:', '        c()', ''].join(asked)
        const there = ['    if here:', '        new()', '        if b:', '            c()']
        expect(edited(text, old, fresh)._unsafeUnwrap()).toEqual({
          text: [...before, ...there, ...after, ''].join(end),
          loosely: true,
        })
      }),
    )
  })

  test.each([
    ['x\ny\nx\n', 'x', { type: 'several', lines: [1, 3], loosely: false }],
    ['aaa', 'aa', { type: 'several', lines: [1, 1], loosely: false }],
    ['  a\n\n\ta\n', 'a \n', { type: 'several', lines: [1, 3], loosely: true }],
    ['abc', 'abd', { type: 'missing' }],
    ['a\n\nb', ' \n ', { type: 'missing' }],
    ['abc', 'new', { type: 'same' }],
    ['a\nb\n', 'a\n  b\n', { type: 'indented_otherwise', line: 1 }],
    ['if a:\n  b\nelse:\n  c', '  if a:\n  b\n', { type: 'indented_otherwise', line: 1 }],
  ])('of %j does not guess what %j means', (text, old, problem) => {
    expect(editText(text, edit(old, 'new'))._unsafeUnwrapErr()).toEqual(problem)
  })
})

describe('line ends', () => {
  test.each([
    ['one\r\ntwo\r\n', 'one\ntwo', '1\n2', '1\r\n2\r\n'],
    ['\ufeffone\r\ntwo\r\n', 'one', '1\n2\r\n3', '\ufeff1\r\n2\r\n3\r\ntwo\r\n'],
    ['one\ntwo\n', 'one\r\ntwo', '1\r\n2', '1\r\n2\n'],
    ['a\nb\r\nc\r\n', 'b\nc\n', 'B\nC\n', 'a\nB\r\nC\r\n'],
    ['a\r\nb\nc\n', 'b\nc', 'B\nC\nD', 'a\r\nB\nC\nD\n'],
  ])('of %j are kept', (text, old, fresh, result) => {
    const { text: after } = edited(text, old, fresh)._unsafeUnwrap()
    expect(after).toBe(result)
  })
})

describe('spaces', () => {
  test.each([
    ['trailing ones', 'a  \nb\n', 'a\nb\n', 'a\nc\n', 'a  \nc\n'],
    [
      'tabs instead of spaces',
      '\tif x:\n\t\ty\n',
      '  if x:\n    y\n',
      '  if z:\n    if y:\n      w\n',
      '\tif z:\n\t\tif y:\n\t\t\tw\n',
    ],
    [
      'spaces instead of tabs',
      '  if x:\n    y\n',
      '\tif x:\n\t\ty\n',
      '\tif x:\n\t\ty\n\t\t\tz\n',
      '  if x:\n    y\n      z\n',
    ],
    [
      'less indentation',
      'if x:\n  y\n',
      '    if x:\n      y\n',
      '    if x:\n      z\n',
      'if x:\n  z\n',
    ],
    ['no line end at the end', '  a\n  b', 'b\n', 'c\n', '  a\n  c'],
    ['an end that the old text leaves out', '  a\n  b\n', 'a\nb ', 'a\nc\nd', '  a\n  c\n  d\n'],
    ['lines that go', '  a\n  b\n  c\n', 'b \n', '', '  a\n  c\n'],
  ])('may differ: %s', (_, text, old, fresh, result) => {
    expect(edited(text, old, fresh)._unsafeUnwrap()).toEqual({ text: result, loosely: true })
  })
})
