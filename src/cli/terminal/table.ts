import { type Line, shorten } from './plain-text.ts'

/** The widest that a cell may be: one long text would fill up the lines of all others. */
const MAX_CELL = 300

/** Lines of a table with columns of even width, for people. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): Line[] {
  const cells = [head, ...rows].map((row) => row.map((cell) => shorten(cell, MAX_CELL)))
  const widths = head.map((_, column) =>
    cells.reduce((widest, row) => Math.max(widest, row[column]?.length ?? 0), 0),
  )
  const [first = '', ...others] = cells.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
  return [[{ text: first, style: 'bold' }], ...others]
}
