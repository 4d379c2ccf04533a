import { stripVTControlCharacters } from 'node:util'
import { expect, test } from 'vitest'
import { rendered } from '../../src/cli/terminal/plain-text.ts'
import { table } from '../../src/cli/terminal/print.ts'

const linesOf = (rows: readonly (readonly string[])[], columns: number): string[] =>
  table(['GOAL', 'WHAT IT MEANS', 'SETTINGS'], rows, columns).map((line) =>
    stripVTControlCharacters(rendered(line)),
  )

const ROWS = [
  ['pytest', 'All tests pass under pytest', '[--check]'],
  ['api-test', 'HTTP requests get the expected answers from a server', 'requests [start] [url]'],
]

test('a table that is wider than the terminal has its longest words wrapped, and the columns stay aligned', () => {
  expect(linesOf(ROWS, 60)).toEqual([
    'GOAL      WHAT IT MEANS               SETTINGS',
    'pytest    All tests pass under        [--check]',
    '          pytest',
    'api-test  HTTP requests get the       requests [start] [url]',
    '          expected answers from a',
    '          server',
  ])
})

test('a table that fits, or is not printed to a terminal, has one line for each row', () => {
  expect(linesOf(ROWS, 100)).toEqual(linesOf(ROWS, Number.POSITIVE_INFINITY))
  expect(linesOf(ROWS, 100)).toHaveLength(3)
})

test('ids and names stay whole, however narrow the terminal is', () => {
  const id = '550e8400-e29b-41d4-a716-446655440000'
  const lines = linesOf([[id, 'a goal of many words that is wrapped here', 'x']], 40)
  expect(lines.filter((line) => line.includes(id))).toHaveLength(1)
  expect(Math.max(...lines.map(({ length }) => length))).toBeLessThanOrEqual(36 + 2 + 20 + 2 + 8)
})
