import { once } from 'node:events'
import type { WatchState } from '../../client/index.ts'
import { type Line, rendered, shorten, visibleJson } from './plain-text.ts'

/** What shells use for SIGPIPE. */
const BROKEN_PIPE = 141

/** Writes a line to stdout, and waits if the reader is slow. Only text of it reaches the terminal. */
export function print(line: Line): Promise<void> {
  return write(rendered(line))
}

/** Writes a value to stdout as JSON in one line, or indented. */
export function printJson(value: unknown, indent?: number): Promise<void> {
  return write(visibleJson(JSON.stringify(value, null, indent)))
}

async function write(text: string): Promise<void> {
  if (!process.stdout.write(`${text}\n`)) await once(process.stdout, 'drain')
}

/** Writes messages for a person to stderr, one a line. Results go to stdout. */
export function say(...lines: readonly string[]): void {
  process.stderr.write(lines.map((line) => `${rendered(line)}\n`).join(''))
}

/** Writes to stderr why a command failed, and lets the process end with 1. */
export function fail(...lines: readonly string[]): void {
  say(...lines.map((line, at) => (at === 0 ? `retrai: ${line}` : line)))
  process.exitCode = 1
}

/** Ends the process quietly when the reader of its output has ended, as with `| head`. */
export function endWithReader(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(BROKEN_PIPE)
    throw error
  })
}

/** The most characters of a cell. One long text would widen the lines of all others. */
const MAX_CELL = 300

/** The lines of a table with aligned columns, for people. */
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

/** Writes to stderr when a connection is lost, and when it is back. */
export function reportState(): (state: WatchState) => void {
  let lost = false
  return (state) => {
    if (state === 'reconnecting' && !lost) say('The connection is lost. Trying to connect again …')
    if (state === 'live' && lost) say('Connected again.')
    lost = state === 'reconnecting'
  }
}
