import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Edit, editText } from '../../../src/agent/tools/text-edits.ts'

const edit = (old: string, fresh: string): Edit => ({ old, new: fresh, replaceAll: false })
const edited = (text: string, ...args: Parameters<typeof edit>) =>
  editText('f', text, edit(...args)).map(({ text }) => text)

/** Texts of few letters, so that parts often occur more than once. */
const someText = fc.string({ unit: fc.constantFrom('a', 'b', ' ', '\n', '\r\n', 'é', '\ufeff') })

describe('an edit', () => {
  test('changes the one place and no other character', () => {
    fc.assert(
      fc.property(someText, someText, someText, fc.string(), (before, old, after, fresh) => {
        const text = before + old + after
        const isOnce = old !== '' && text.indexOf(old) === text.lastIndexOf(old)
        fc.pre(isOnce && old !== fresh && !fresh.includes('\n'))
        expect(edited(text, old, fresh)._unsafeUnwrap()).toBe(before + fresh + after)
      }),
    )
  })

  test.each([
    ['x\ny\nx\n', 'x', 'occurs 2 times in f (lines 1, 3), but must occur exactly once'],
    ['aaa', 'aa', 'occurs 2 times in f (lines 1, 1)'],
    ['a \n', 'a\n', 'occurs 0 times in f'],
    ['abc', 'abd', 'occurs 0 times in f. Nothing was changed.'],
    ['a\n\nb', ' \n ', 'occurs 0 times'],
    ['if a:\n  b\n', 'if a:\n    b\n', 'occurs 0 times'],
    ['abc', 'new', 'are the same'],
  ])('of %j does not guess what %j means', (text, old, problem) => {
    expect(editText('f', text, edit(old, 'new'))._unsafeUnwrapErr()).toContain(problem)
  })

  test.each([
    ['one\r\ntwo\r\n', 'one\ntwo', '1\n2', '1\r\n2\r\n'],
    ['\ufeffone\r\ntwo\r\n', 'one', '1\n2\r\n3', '\ufeff1\r\n2\r\n3\r\ntwo\r\n'],
    ['one\ntwo\n', 'one\r\ntwo', '1\r\n2', '1\n2\n'],
    ['a\r\nb\nc\n', 'b\nc', 'B\nC\nD', 'a\r\nB\nC\nD\n'],
  ])('of %j keeps its line ends', (text, old, fresh, result) => {
    expect(edited(text, old, fresh)._unsafeUnwrap()).toBe(result)
  })
})
