import { once } from 'node:events'
import type { WatchState } from '../../client/index.ts'
import { type Line, rendered, shorten, visibleJson } from './plain-text.ts'

/** As shells tell of SIGPIPE. */
const BROKEN_PIPE = 141

/** Writes a line to stdout, no faster than its reader takes it. Nothing in it reaches the terminal but text. */
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

/** Tells a person something that is no result, each text in its line: stdout is left to those. */
export function say(...lines: readonly string[]): void {
  process.stderr.write(lines.map((line) => `${rendered(line)}\n`).join(''))
}

/** Tells a person why a command could not be carried out; the process ends with 1. */
export function fail(...lines: readonly string[]): void {
  say(...lines.map((line, at) => (at === 0 ? `retrai: ${line}` : line)))
  process.exitCode = 1
}

/** Ends quietly where the reader of the output has gone, such as `| head`. */
export function endWithReader(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(BROKEN_PIPE)
    throw error
  })
}

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

/** Tells a person when a connection is lost, and when it is back. */
export function tellState(): (state: WatchState) => void {
  let lost = false
  return (state) => {
    if (state === 'reconnecting' && !lost) say('The connection is lost; trying to connect again …')
    if (state === 'live' && lost) say('Connected again.')
    lost = state === 'reconnecting'
  }
}
