import { once } from 'node:events'
import { styleText } from 'node:util'
import { harmless, shorten, visibleJson } from '../../domain/plain-text.ts'
import { io } from './io.ts'

/** A line for people. Its parts are plain or have a style. */
export type Line = string | readonly (string | Styled)[]
export type Styled = {
  readonly text: string
  readonly style: 'bold' | 'cyan' | 'dim' | 'green' | 'red' | 'yellow'
}

const OUTCOMES: Readonly<Record<string, Styled['style']>> = {
  achieved: 'green',
  failed: 'red',
  aborted: 'dim',
  awaiting_human: 'yellow',
  paused: 'yellow',
  running: 'cyan',
}

/** The status of a run, in its colour. @param text what is shown of it; without it, the status */
export const outcome = (status: string, text = status): string | Styled => {
  const style = OUTCOMES[status]
  return style === undefined ? text : { text, style }
}

/** The text for the terminal. Only the styles of its parts colour it. */
export function rendered(line: Line): string {
  if (typeof line === 'string') return harmless(line)
  return line
    .map((part) =>
      typeof part === 'string'
        ? harmless(part)
        : styleText(part.style, harmless(part.text), { stream: io().stdout }),
    )
    .join('')
}

/** Writes a line to stdout, and waits if the reader is slow. Only text of it reaches the terminal. */
export function print(line: Line): Promise<void> {
  return write(rendered(line))
}

/** Writes a value to stdout as JSON in one line, or indented. */
export function printJson(value: unknown, indent?: number): Promise<void> {
  return write(visibleJson(JSON.stringify(value, null, indent)))
}

async function write(text: string): Promise<void> {
  const { stdout } = io()
  if (!stdout.write(`${text}\n`)) await once(stdout, 'drain')
}

/** Prints a list: each item as JSON in a line, or a table for people. */
export async function printList<T>(
  json: boolean,
  head: readonly string[],
  items: readonly T[],
  rowOf: (item: T) => readonly Cell[],
): Promise<void> {
  if (json) for (const item of items) await printJson(item)
  else for (const line of table(head, items.map(rowOf))) await print(line)
}

/** A command of ours within a message. */
const COMMAND = /(?<![\w/.-]|npx )retrai(?= [a-z])/g

/** A message with commands as the person has to type them: a checkout has no `retrai` in the path of the shell. */
export const asTyped = (text: string): string =>
  io().env.npm_command === 'exec' ? text.replace(COMMAND, 'npx retrai') : text

/** Writes messages for a person to stderr, one a line. Results go to stdout. */
export function say(...lines: readonly string[]): void {
  io().stderr.write(lines.map((line) => `${rendered(asTyped(line))}\n`).join(''))
}

/** Writes to stderr why a command failed. */
export function fail(...lines: readonly string[]): void {
  say(...lines.map((line, at) => (at === 0 ? `retrai: ${line}` : line)))
}

/** The most characters of a cell. One long text would widen the lines of all others. */
const MAX_CELL = 300

type Cell = string | Styled
const textOf = (cell: Cell): string => (typeof cell === 'string' ? cell : cell.text)

/** The lines of a table with aligned columns, for people. A terminal wraps the last one, so that is the one of words. */
function table(head: readonly string[], rows: readonly (readonly Cell[])[]): Line[] {
  const bold = head.map((text): Cell => ({ text, style: 'bold' }))
  const lines = [bold, ...rows].map((row) =>
    row.map((cell) => {
      const text = shorten(textOf(cell), MAX_CELL)
      return typeof cell === 'string' ? text : { ...cell, text }
    }),
  )
  const widths = head.map((_, at) => Math.max(...lines.map((row) => textOf(row[at] ?? '').length)))
  return lines.map((row) => {
    const last = row.findLastIndex((cell) => textOf(cell) !== '')
    return row.slice(0, last + 1).flatMap((cell, at): readonly Cell[] => {
      const gap = at === last ? 0 : (widths[at] ?? 0) - textOf(cell).length + 2
      return [cell, ' '.repeat(gap)]
    })
  })
}
