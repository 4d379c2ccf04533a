import { once } from 'node:events'
import { type Line, rendered, visibleJson } from './plain-text.ts'

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
