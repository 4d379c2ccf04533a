import { expect, test } from 'vitest'
import { interleave } from '../../src/runner/collect-output.ts'

function joined() {
  let text = ''
  const [out, err] = interleave((more) => {
    text += more
  })
  return { out, err, text: () => text }
}

test('what comes is there at once, in its order', () => {
  const { out, err, text } = joined()
  out('a', false)
  err('b', false)
  expect(text()).toBe('ab')
  out('c', false)
  expect(text()).toBe('abc')
})

test('what comes behind a part that is held back waits for it', () => {
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

test('where both hold something back, all comes in the end', () => {
  const { out, err, text } = joined()
  out('1', true)
  err('2', true)
  out('3', true)
  err('4', false)
  out('5', false)
  expect([...text()].sort().join('')).toBe('12345')
})

test('nothing waits for ever, nor grows without a bound', () => {
  const { out, err, text } = joined()
  out('', true)
  const line = 'x'.repeat(1_000)
  for (let count = 0; count < 1_000; count += 1) err(line, false)
  expect(text().length).toBeGreaterThan(900_000)
})
