import { expect, test } from 'vitest'
import { outputOf } from '../../src/mcp/answers.ts'

const text = (value: string) => ({ type: 'text' as const, text: value })
const shown = async (texts: readonly string[], structuredContent: Record<string, unknown>) =>
  (await outputOf({ content: texts.map(text), structuredContent }, async () => [])).output

test('structured content that repeats the text of a result is given once, and what says more is given too', async () => {
  expect(await shown(['{"b": 2, "a": 1}'], { a: 1, b: 2 })).toBe('{"b": 2, "a": 1}')
  expect(await shown(['Done.'], { id: 7, done: true })).toBe('Done.\n{"id":7,"done":true}')
  expect(await shown([], { id: 7 })).toBe('{"id":7}')
})
