import { styleText } from 'node:util'
import { stripTerminalCodes } from '../../domain/terminal-codes.ts'

/**
 * What is not seen, or changes how other text is seen: control characters, separators of lines, half surrogates,
 * and what is ignored by default, with the characters that turn the direction of writing. What joins emoji
 * and letters of some scripts stays.
 */
const HIDDEN =
  /[[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\p{Default_Ignorable_Code_Point}\ufff9-\ufffb]--[\u200c\u200d\ufe0e\ufe0f]]+/gv

/** The most characters of a text that are shown. */
const MAX_CHARS = 10_000

/** Text that does nothing to a terminal and stays in its line. Spaces stay as they are; very long text is cut. */
function harmless(text: string): string {
  const shown = stripTerminalCodes(text.slice(0, MAX_CHARS)).replace(HIDDEN, ' ')
  return text.length > MAX_CHARS ? `${shown}…` : shown
}

/**
 * Text as one line, its spaces joined, for within another: what an agent, its tools or a server have said
 * may try to look like more than one.
 */
export function oneLine(text: string): string {
  return harmless(text).replace(/\s+/g, ' ').trim()
}

/** A text, or a value as JSON, in one line of at most so many characters. */
export function shorten(value: unknown, length: number): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  // Far more than is shown, and still little where a tool has printed a lot.
  const line = oneLine(text.slice(0, 10 * length))
  return line.length > length ? `${line.slice(0, length - 1)}…` : line
}

/** JSON in which nothing is hidden from who reads it at a terminal; its value is the same. */
export function visibleJson(json: string): string {
  return json.replace(HIDDEN, (found) =>
    Array.from({ length: found.length }, (_, at) => escaped(found.charCodeAt(at))).join(''),
  )
}

/** JSON whose texts do nothing to a terminal, also once they are read out of it. Line feeds and tabs stay. */
export function withoutControls(json: string): string {
  return visibleJson(json).replace(/\\(?:u([0-9a-f]{4})|.)/g, (written, code?: string) => {
    if (code === undefined) return /[bfr]/.test(written) ? ' ' : written
    const seen = String.fromCharCode(Number.parseInt(code, 16)).replace(HIDDEN, '')
    return seen === '' ? ' ' : written
  })
}

// Line feeds and spaces within JSON stand between its values.
const escaped = (unit: number): string =>
  unit === 0x0a ? '\n' : `\\u${unit.toString(16).padStart(4, '0')}`

/** A time for people. Not every number that comes from outside is one. @param seconds since the epoch */
export function timeOf(seconds: number): string {
  const time = new Date(seconds * 1000)
  return Number.isNaN(time.getTime()) ? `${seconds} s` : time.toISOString()
}

/** A line for people; its parts are plain, or in a style. */
export type Line = string | readonly (string | Styled)[]
export type Styled = { readonly text: string; readonly style: 'bold' | 'cyan' | 'dim' }

/** What is written to a terminal: the only colours in it are those of the parts. */
export function rendered(line: Line): string {
  if (typeof line === 'string') return harmless(line)
  return line
    .map((part) =>
      typeof part === 'string' ? harmless(part) : styleText(part.style, harmless(part.text)),
    )
    .join('')
}
