import { describe, expect, test } from 'vitest'
import { outputOf } from '../../../src/agent/mcp/tool-output.ts'

const text = (value: string) => ({ type: 'text' as const, text: value })
const shown = async (texts: readonly string[], structuredContent: Record<string, unknown>) =>
  (await outputOf({ content: texts.map(text), structuredContent }, async () => [])).output

describe('structured content that repeats the text of a result is given once', () => {
  test.each([
    ['the same JSON', ['{"a": 1, "b": 2}'], { a: 1, b: 2 }],
    ['with its keys in another order', ['{"b": 2, "a": 1}'], { a: 1, b: 2 }],
    ['a text in an object', ['It rains.'], { result: 'It rains.' }],
    ['a number in an object', ['42'], { result: 42 }],
    ['a list in an object', ['[1, 2]'], { result: [1, 2] }],
    ['a list of texts in an object', ['one', 'two'], { result: ['one', 'two'] }],
    ['a list of objects in an object', ['{"a":1}', '{"a":2}'], { result: [{ a: 1 }, { a: 2 }] }],
  ])('%s', async (_, texts, structured) => {
    expect(await shown(texts, structured)).toBe(texts.join('\n'))
  })

  test('and one that says more is given too', async () => {
    expect(await shown(['Done.'], { id: 7, done: true })).toBe('Done.\n{"id":7,"done":true}')
    expect(await shown(['Done.'], { result: 7 })).toBe('Done.\n{"result":7}')
    expect(await shown([], { id: 7 })).toBe('{"id":7}')
  })
})
