import {
  type AgentEvent,
  type Part,
  type PartsEnd,
  type PartText,
  partsAfter,
} from '../../client/index.ts'
import { io, type Output } from './io.ts'
import { rendered } from './print.ts'

const DEFAULT_COLUMNS = 80
/** Escapes of a terminal: it erases its line; what is too long for the line is not shown, or goes into the next one again. */
const [ERASE, CUT, WRAP] = ['\r\x1b[K', '\x1b[?7l', '\x1b[?7h']

/** A terminal, as far as the line needs it. */
export type Terminal = Pick<Output, 'write' | 'columns'>

/**
 * The end of the text that is being written, in the last line of a terminal. Call `clear` before anything else is
 * printed.
 */
export class LiveLine {
  readonly #terminal: Terminal
  #parts: readonly PartText[] = []
  #isShown = false

  constructor(terminal: Terminal) {
    this.#terminal = terminal
  }

  /** Takes what a watch yields, and shows the text that was added to. */
  see(next: AgentEvent | Part | PartsEnd): void {
    const before = this.#parts
    this.#parts = partsAfter(before, next)
    this.clear()
    const added = this.#parts.find((part) => !before.includes(part))
    if (added === undefined) return
    const line = { text: this.#lineOf(added), style: 'dim' } as const
    this.#terminal.write(`${CUT}${rendered([line])}${WRAP}`)
    this.#isShown = true
  }

  clear(): void {
    if (this.#isShown) this.#terminal.write(ERASE)
    this.#isShown = false
  }

  #lineOf({ text, iteration, of, tool }: PartText): string {
    const head = `   …  it ${iteration}  ${(tool ?? of).slice(0, 18).padEnd(18)} `
    const room = Math.max(1, (this.#terminal.columns || DEFAULT_COLUMNS) - head.length)
    // A progress bar overwrites its line.
    const last =
      text
        .trimEnd()
        .split(/[\r\n]/)
        .at(-1) ?? ''
    return `${head}${last.slice(-room)}`
  }
}

/** The line of this process; null if its output is not a terminal that can move its cursor. */
export function liveLine(): LiveLine | null {
  const { stdout, env } = io()
  return stdout.isTTY === true && env.TERM !== 'dumb' ? new LiveLine(stdout) : null
}
