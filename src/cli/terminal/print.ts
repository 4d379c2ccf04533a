import { once } from 'node:events'
import type { WatchState } from '../../client/index.ts'
import { messageOf } from '../../lib/message-of.ts'
import { EXIT } from './exit-codes.ts'
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
  try {
    if (!process.stdout.write(`${text}\n`)) await once(process.stdout, 'drain')
  } catch (cause) {
    endUnwritten(cause)
  }
}

/** Ends the process when its output cannot be written: quietly when its reader has ended, as with `| head`. */
function endUnwritten(cause: unknown): never {
  if (cause instanceof Error && 'code' in cause && cause.code === 'EPIPE') process.exit(BROKEN_PIPE)
  say(`retrai: The output cannot be written: ${messageOf(cause)}`)
  process.exit(EXIT.notDone)
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

/** Ends the process as soon as its output cannot be written, also if it waits for something else. */
export function endWithReader(): void {
  process.stdout.on('error', endUnwritten)
}

/** The most characters of a cell. One long text would widen the lines of all others. */
const MAX_CELL = 300

/** A column that is narrower than this is hard to read. */
const MIN_WIDTH = 20

/**
 * The lines of a table with aligned columns, for people. If they are wider than the terminal, columns of words are
 * wrapped, the widest first; names and ids stay whole.
 * @param columns of the terminal
 */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  columns = process.stdout.isTTY ? process.stdout.columns : Number.POSITIVE_INFINITY,
): Line[] {
  const cells = [head, ...rows].map((row) => row.map((cell) => shorten(cell, MAX_CELL)))
  const widths = head.map((_, column) =>
    cells.reduce((widest, row) => Math.max(widest, row[column]?.length ?? 0), 0),
  )
  const isOfWords = widths.map((_, column) => cells.some((row) => row[column]?.includes(' ')))
  let excess = widths.reduce((sum, width) => sum + width + GAP.length, -GAP.length) - columns
  for (; excess > 0; excess -= 1) {
    const widest = widths.reduce(
      (best, width, column) =>
        isOfWords[column] && width > Math.max(MIN_WIDTH, widths[best] ?? 0) ? column : best,
      -1,
    )
    if (widest === -1) break
    widths[widest] = (widths[widest] ?? 0) - 1
  }
  const [first = [], ...others] = cells.map((row) => {
    const wrapped = row.map((cell, column) =>
      isOfWords[column] ? wrap(cell, widths[column] ?? 0) : [cell],
    )
    const height = Math.max(...wrapped.map(({ length }) => length))
    return Array.from({ length: height }, (_, at) =>
      wrapped
        .map((lines, column) => (lines[at] ?? '').padEnd(widths[column] ?? 0))
        .join(GAP)
        .trimEnd(),
    )
  })
  return [...first.map((text): Line => [{ text, style: 'bold' }]), ...others.flat()]
}

const GAP = '  '

/** The lines of a text, broken between words. A word that is longer than a line stays whole. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
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
