import { expect, test } from 'vitest'
import { UnreadText } from '../../src/agent/unread-text.ts'

test('text that was read is not returned again', () => {
  const unread = new UnreadText()
  unread.add('one\n')
  expect(unread.text()).toBe('one\n')
  unread.add('two\n')
  expect(unread.take()).toBe('one\ntwo\n')
  expect(unread.take()).toBe('')
  unread.add('three\n')
  expect(unread.take()).toBe('three\n')
})

test('beyond the limit, the oldest lines are dropped, and their bytes are counted', () => {
  const unread = new UnreadText(1_000)
  const lines = Array.from({ length: 10_000 }, (_, index) => `line ${index} ä\n`)
  for (const line of lines) unread.add(line)
  const [, marker = '', ...kept] = unread.take().split('\n')
  expect(kept.length).toBeGreaterThan(10)
  expect(kept.join('\n').length).toBeLessThanOrEqual(1_000)
  expect(lines.join('').endsWith(kept.join('\n'))).toBe(true)
  const dropped = Number(/^\[(\d+) bytes of output are dropped here\]$/.exec(marker)?.[1])
  expect(dropped + Buffer.byteLength(kept.join('\n'))).toBe(Buffer.byteLength(lines.join('')))
  expect(unread.take()).toBe('')
})

test('a single line that is longer than the limit keeps its end', () => {
  const unread = new UnreadText(10)
  unread.add(`${'x'.repeat(100)}the end`)
  expect(unread.take()).toBe('\n[97 bytes of output are dropped here]\nxxxthe end')
})

test('a gap in the middle is marked in its place', () => {
  const unread = new UnreadText()
  unread.add('before\n')
  unread.skip(123)
  unread.add('after\n')
  expect(unread.take()).toBe('before\n\n[123 bytes of output are dropped here]\nafter\n')
})
