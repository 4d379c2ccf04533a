import { stripTerminalCodes as strip } from '../../domain/terminal-codes.ts'

/** The longest `details` of a verdict, in characters. */
export const DETAILS_LIMIT = 4096

/** One printable line: no colours, no line breaks, at most `limit` characters. */
export function oneLine(text: string, limit = 200): string {
  const line = strip(text.slice(0, 8 * limit))
    .replace(/\s+/g, ' ')
    .trim()
  return line.length <= limit ? line : `${line.slice(0, limit - 1).trimEnd()}…`
}

/** The end of a text, from the start of a line if possible. */
export function tail(text: string, limit = DETAILS_LIMIT): string {
  const end = strip(text.slice(-4 * limit)).trimEnd()
  const plain = text.length > 4 * limit ? end : end.replace(/^\s*\n/, '')
  if (plain.length <= limit) return plain
  const kept = plain.slice(-(limit - 2))
  return `…\n${kept.slice(kept.indexOf('\n') + 1)}`
}

const GAP = '\n[…]\n'

/** The beginning and the end of a text that is longer than `limit` characters. */
export function headAndTail(text: string, limit: number): string {
  const long = text.length > 8 * limit
  const plain = strip(long ? text.slice(0, 4 * limit) + text.slice(-4 * limit) : text).trim()
  if (plain.length <= limit) return plain
  const half = Math.floor((limit - GAP.length) / 2)
  return `${plain.slice(0, half)}${GAP}${plain.slice(-half)}`
}

const NAMES = 5

/** "a, b, c and 2 more": the first few names, and how many more there are of `total`. */
export function nameList(names: readonly string[], total = names.length): string {
  const shown = names.slice(0, NAMES).map((name) => oneLine(name, 120))
  const more = total - shown.length
  if (shown.length === 0) return ''
  return more > 0 ? `${shown.join(', ')} and ${more} more` : shown.join(', ')
}

const ERROR = /^(?:[\w.]*(?:Error|Exception)|error|fatal|panic)\b.*:/i

/** The last line that names an error, which may come before a trace; without one, the last line. */
export function errorLine(output: string): string {
  const found = strip(output.slice(-16_384))
    .split('\n')
    .findLast((line) => ERROR.test(line))
  return found === undefined ? lastLine(output) : oneLine(found)
}

/** The last line with a word in it that `noise` does not match; '' if there is none. */
export function lastLine(output: string, noise: RegExp = /^$/): string {
  const lines = strip(output.slice(-16_384))
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => /[\p{L}\p{N}]/u.test(line))
  return oneLine(lines.findLast((line) => !noise.test(line)) ?? lines.at(-1) ?? '')
}
