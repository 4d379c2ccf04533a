import { expect, test } from 'vitest'
import { interleave } from '../../src/runner/collect-output.ts'

function joined() {
  let text = ''
  const [out, err] = interleave((more) => {
    text += more
  })
  return { out, err, text: () => text }
}

test('text is added at once, in order', () => {
  const { out, err, text } = joined()
  out('a', false)
  err('b', false)
  expect(text()).toBe('ab')
  out('c', false)
  expect(text()).toBe('abc')
})

test('text that comes after a part that is held back waits for that part', () => {
  const { out, err, text } = joined()
  out('', true)
  err('b', false)
  err('c', false)
  expect(text()).toBe('')
  out('a', false)
  expect(text()).toBe('abc')
  err('d', false)
  expect(text()).toBe('abcd')
})

test('if both sides hold text back, all of it is added in the end', () => {
  const { out, err, text } = joined()
  out('1', true)
  err('2', true)
  out('3', true)
  err('4', false)
  out('5', false)
  expect([...text()].sort().join('')).toBe('12345')
})

test('no text waits forever, and the text that waits has a limit', () => {
  const { out, err, text } = joined()
  out('', true)
  const line = 'x'.repeat(1_000)
  for (let count = 0; count < 1_000; count += 1) err(line, false)
  expect(text().length).toBeGreaterThan(900_000)
})
