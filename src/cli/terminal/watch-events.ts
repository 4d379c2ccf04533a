import { err, ok, type Result } from 'neverthrow'
import {
  type AgentEvent,
  type Part,
  type PartsEnd,
  type PartText,
  partsAfter,
  WatchError,
  type WatchState,
} from '../../client/index.ts'
import { io, type Output } from './io.ts'
import type { Line } from './plain-text.ts'
import { rendered, say } from './print.ts'
import { EXIT } from './steps.ts'

/** What a watch of the client needs to know of the terminal. */
type Terms = {
  readonly signal: AbortSignal
  /** Whether what is being written is shown. */
  readonly live: boolean
  readonly onState: (state: WatchState) => void
}

type Options = {
  /** Whether events are printed as JSON. Then nothing else is shown. */
  readonly json: boolean
  readonly see: (event: AgentEvent) => Promise<void>
  /** Called after Ctrl+C. */
  readonly whenInterrupted: () => void
}

/**
 * Sees events until there are no more, or the person at the terminal leaves with Ctrl+C. At a terminal, what is being
 * written is shown below them. @returns the exit code after Ctrl+C; null without it
 */
export async function watchEvents(
  open: (terms: Terms) => AsyncIterable<AgentEvent | Part | PartsEnd>,
  { json, see, whenInterrupted }: Options,
): Promise<Result<number | null, string>> {
  const leave = new AbortController()
  const { signal } = leave
  const interrupt = () => leave.abort()
  io().once('SIGINT', interrupt)
  const block = json ? null : liveBlock()
  const reportLoss = lossReporter()
  const onState = (state: WatchState) => {
    block?.clear()
    reportLoss(state)
  }
  try {
    for await (const event of open({ signal, live: block !== null, onState })) {
      block?.see(event)
      if (!isPart(event)) await see(event)
    }
  } catch (thrown) {
    // Ctrl+C ends the watch with an error, too.
    if (!signal.aborted) {
      if (thrown instanceof WatchError) return err(thrown.message)
      throw thrown
    }
  } finally {
    block?.clear()
    io().off('SIGINT', interrupt)
  }
  if (!signal.aborted) return ok(null)
  whenInterrupted()
  return ok(EXIT.interrupted)
}

const isPart = (event: AgentEvent | Part | PartsEnd): event is Part | PartsEnd =>
  event.kind === 'part' || event.kind === 'parts_end'

/** Writes to stderr when a connection is lost, and when it is back. */
function lossReporter(): (state: WatchState) => void {
  let lost = false
  return (state) => {
    if (state === 'reconnecting' && !lost) say('The connection is lost. Trying to connect again …')
    if (state === 'live' && lost) say('Connected again.')
    lost = state === 'reconnecting'
  }
}

/** How many of the last lines of a text under way are shown. */
const MAX_LINES = 5
/** More than a line of any terminal shows, in characters. */
const MAX_LINE_CHARS = 1_000
const DEFAULT_COLUMNS = 80

/** A terminal, as far as the block needs it. */
export type Terminal = Pick<Output, 'write' | 'columns'>

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
function liveBlock(): LiveBlock | null {
  const { stdout, env } = io()
  return stdout.isTTY === true && env.TERM !== 'dumb' ? new LiveBlock(stdout) : null
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
