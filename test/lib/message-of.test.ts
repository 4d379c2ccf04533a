import { expect, test } from 'vitest'
import { messageOf } from '../../src/lib/message-of.ts'

test.each([
  [new Error('a disk is full'), 'a disk is full'],
  [{ type: 'store_failed', message: 'a disk is full' }, 'a disk is full'],
  ['a disk is full', 'a disk is full'],
  [null, 'null'],
  [undefined, 'undefined'],
])('the text of %j', (cause, text) => {
  expect(messageOf(cause)).toBe(text)
})
