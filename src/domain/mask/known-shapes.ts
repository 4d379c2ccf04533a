import type { Finder, Found } from './finder.ts'
import { literally, properPrefixes, startOfPrefix } from './prefixes.ts'
import { RULES, type Rule } from './rules.ts'

const STARTS = [...new Set(RULES.flatMap(({ starts }) => starts))]
const ANY_START = new RegExp(STARTS.map(literally).join('|'), 'g')
const PREFIXES = properPrefixes(STARTS)

/** The rules for each start: a secret of any of them may begin there. */
const RULES_BY_START: ReadonlyMap<string, readonly Rule[]> = new Map(
  STARTS.map((found) => [
    found,
    RULES.filter(({ starts }) => starts.some((start) => found.startsWith(start))),
  ]),
)

/** What may come right before a secret, although it ends with a letter or digit: `\n`, `%3D`, a colour. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: codes for colours begin with one
const ESCAPE = /(?:\\[nrtbf]|%[0-9A-Fa-f]{2}|\x1b\[[0-9;]{0,12}m)$/
const ESCAPE_LENGTH = 16

/** Finds secrets by their shape. */
export const knownShapes: Finder = { find, undecided }

function find(text: string, from: number, edge: number): Found | null {
  ANY_START.lastIndex = from
  for (;;) {
    const hit = ANY_START.exec(text)
    if (hit === null) return null
    const [literal] = hit
    const found = secretAt(text, hit.index, literal, edge)
    if (found !== null) return found
    ANY_START.lastIndex = hit.index + 1
  }
}

function secretAt(text: string, at: number, literal: string, edge: number): Found | null {
  for (const { kind, shape, notAfter } of RULES_BY_START.get(literal) ?? []) {
    if (notAfter !== undefined && at !== edge && isPartOf(text, at, notAfter)) continue
    shape.lastIndex = at
    const match = shape.exec(text)
    if (match === null) continue
    const kept = match.groups?.keep?.length ?? 0
    return { start: at + kept, end: at + match[0].length, kind }
  }
  return null
}

function isPartOf(text: string, at: number, notAfter: RegExp): boolean {
  if (at === 0 || !notAfter.test(text.charAt(at - 1))) return false
  return !ESCAPE.test(text.slice(Math.max(0, at - ESCAPE_LENGTH), at))
}

/** Shapes match within one line, so everything before the last line is decided. */
function undecided(text: string, from: number): number {
  const line = Math.max(from, text.lastIndexOf('\n') + 1)
  if (line === text.length) return line
  ANY_START.lastIndex = line
  return ANY_START.exec(text)?.index ?? startOfPrefix(text, line, PREFIXES)
}
