import type { WriteStream } from 'node:tty'
import {
  type AgentEvent,
  type Part,
  type PartsEnd,
  type PartText,
  partsAfter,
} from '../../client/index.ts'
import { type Line, rendered } from './plain-text.ts'

/** How many of the last lines of a text under way are shown. */
const MAX_LINES = 5
/** More than a line of any terminal shows, in characters. */
const MAX_LINE_CHARS = 1_000
const DEFAULT_COLUMNS = 80

/** A terminal, as far as the block needs it. */
export type Terminal = Pick<WriteStream, 'write' | 'columns'>

/**
 * The text that is being written, as the last lines of a terminal. A record that is printed after it takes its place.
 * Call `clear` before anything else is printed.
 */
export class LiveBlock {
  readonly #terminal: Terminal
  #parts: readonly PartText[] = []
  /** How many lines are on the terminal. */
  #lines = 0

  constructor(terminal: Terminal) {
    this.#terminal = terminal
  }

  /** Takes what a watch yields, and shows the text that was added to last. */
  see(next: AgentEvent | Part | PartsEnd): void {
    this.#parts = partsAfter(this.#parts, next)
    if (next.kind !== 'part' && this.#lines === 0) return
    const shown =
      next.kind === 'part' ? this.#parts.findLast((part) => isOf(part, next)) : undefined
    const lines = shown === undefined ? [] : this.#linesOf(shown)
    this.#terminal.write(this.#erasing() + lines.map((line) => `${rendered(line)}\n`).join(''))
    this.#lines = lines.length
  }

  clear(): void {
    if (this.#lines > 0) this.#terminal.write(this.#erasing())
    this.#lines = 0
  }

  #erasing(): string {
    return this.#lines === 0 ? '' : `\x1b[${this.#lines}F\x1b[0J`
  }

  #linesOf({ text, iteration, of, tool }: PartText): Line[] {
    const columns = this.#terminal.columns || DEFAULT_COLUMNS
    const head = `   …  it ${iteration}  ${(tool ?? of).slice(0, 18).padEnd(18)} `
    const lines = text.trimEnd().split(/\r?\n/).slice(-MAX_LINES).map(lastWritten)
    return lines.map((line, index) => {
      const start = index === 0 ? head : ' '.repeat(head.length)
      return [{ text: withinColumns(`${start}${line}`, columns - 1), style: 'dim' }]
    })
  }
}

/** The block of this process; null if its output is not a terminal that can move its cursor. */
export function liveBlock(): LiveBlock | null {
  const { stdout } = process
  return stdout.isTTY && process.env.TERM !== 'dumb' ? new LiveBlock(stdout) : null
}

const isOf = (part: PartText, piece: Part): boolean =>
  part.run_id === piece.run_id &&
  part.attempt === piece.attempt &&
  part.of === piece.of &&
  (piece.of !== 'arguments' || part.call === piece.call)

/** A line of a progress bar overwrites itself. */
function lastWritten(line: string): string {
  return line.slice(-MAX_LINE_CHARS).split('\r').at(-1) ?? ''
}

/** A line that does not wrap: characters beyond ASCII may be two columns wide. */
function withinColumns(line: string, columns: number): string {
  let width = 0
  let end = 0
  for (const character of line) {
    width += character > '~' ? 2 : 1
    if (width > columns) return line.slice(0, end)
    end += character.length
  }
  return line
}
