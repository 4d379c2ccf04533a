import { stripTerminalCodes } from './texts.ts'

/**
 * Characters that are invisible, or that change how other text looks: control characters, line separators, lone
 * surrogates, and the characters that Unicode lets programs ignore, such as those that change the writing direction.
 * The characters that join emoji, and letters of some scripts, stay.
 */
const HIDDEN =
  /[[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\p{Default_Ignorable_Code_Point}\ufff9-\ufffb]--[\u200c\u200d\ufe0e\ufe0f]]+/gv

/** A longer text is cut. */
const MAX_CHARS = 10_000

/** Text that cannot control a terminal and stays in its line. Spaces stay; very long text is cut. */
export function harmless(text: string): string {
  const shown = stripTerminalCodes(text.slice(0, MAX_CHARS)).replace(HIDDEN, ' ')
  return text.length > MAX_CHARS ? `${shown}…` : shown
}

/**
 * Text as one line with single spaces, for use within another text: the text of an agent, a tool or a server
 * must not look like several lines.
 */
export function oneLine(text: string): string {
  return harmless(text).replace(/\s+/g, ' ').trim()
}

type Lines = string | false | null | undefined | readonly Lines[]

/** The lines of a text for people, without those that there is no reason for (false, null or undefined). */
export const linesOf = (...parts: readonly Lines[]): string[] =>
  parts.flatMap((part) => (typeof part === 'object' ? linesOf(...(part ?? [])) : part || []))

/** A text, or a value as JSON, in one line. @param length the most characters of the line */
export function shorten(value: unknown, length: number): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  // More than the line can show, but little even if a tool has printed a lot.
  const line = oneLine(text.slice(0, 10 * length))
  return line.length > length ? `${line.slice(0, length - 1)}…` : line
}

/** JSON with the same value, in which a reader at a terminal sees every character. */
export function visibleJson(json: string): string {
  return json.replace(HIDDEN, (found) =>
    Array.from({ length: found.length }, (_, at) => escaped(found.charCodeAt(at))).join(''),
  )
}

/** JSON with texts that cannot control a terminal, even after they are parsed. Line feeds and tabs stay. */
export function withoutControls(json: string): string {
  return visibleJson(json).replace(/\\(?:u([0-9a-f]{4})|.)/g, (written, code?: string) => {
    if (code === undefined) return /[bfr]/.test(written) ? ' ' : written
    const seen = String.fromCharCode(Number.parseInt(code, 16)).replace(HIDDEN, '')
    return seen === '' ? ' ' : written
  })
}

// A raw line feed in JSON is between its values.
const escaped = (unit: number): string =>
  unit === 0x0a ? '\n' : `\\u${unit.toString(16).padStart(4, '0')}`

/** A time for people. A number from outside may not be a time. @param seconds since the epoch */
export function timeOf(seconds: number): string {
  const time = new Date(seconds * 1000)
  return Number.isNaN(time.getTime()) ? `${seconds} s` : time.toISOString()
}
