import { stripTerminalCodes } from '../domain/terminal-codes.ts'

/**
 * Text as one line that does nothing to a terminal: what an agent or its tools have printed may hold
 * sequences that move the cursor, change colours or turn the direction of writing.
 */
export function oneLine(text: string): string {
  return stripTerminalCodes(text)
    .replace(/[\s\p{Cc}\u202a-\u202e\u2066-\u2069]+/gu, ' ')
    .trim()
}

/** A text, or a value as JSON, in one line of at most so many characters. */
export function shorten(value: unknown, length: number): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  // Far more than is shown, and still little where a tool has printed a lot.
  const line = oneLine(text.slice(0, 10 * length))
  return line.length > length ? `${line.slice(0, length - 1)}…` : line
}
