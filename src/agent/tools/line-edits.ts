/** A line of a text, without its line end. Only the last line of a text may have none. */
export type Line = { readonly text: string; readonly end: '\n' | '\r\n' | '' }

/** Lines to find (` ` and `-`), and what comes in their place (` ` and `+`). */
export type Hunk = readonly { readonly op: ' ' | '-' | '+'; readonly text: string }[]

export function splitLines(text: string): Line[] {
  const lines: Line[] = []
  for (let at = 0; at < text.length; ) {
    const newline = text.indexOf('\n', at)
    if (newline === -1) return [...lines, { text: text.slice(at), end: '' }]
    const isCrlf = newline > at && text[newline - 1] === '\r'
    const end = isCrlf ? '\r\n' : '\n'
    lines.push({ text: text.slice(at, newline + 1 - end.length), end })
    at = newline + 1
  }
  return lines
}

/** The text of lines. A line without an end gets one if another follows. */
export function joinLines(lines: readonly Line[]): string {
  const parts = lines.map(({ text, end }, index) => {
    const isLast = index === lines.length - 1
    return text + (end === '' && !isLast ? endNear(lines, index) : end)
  })
  return parts.join('')
}

/** The line end of a line and, if that has none, of the line before it. */
const endNear = (lines: readonly Line[], index: number): '\n' | '\r\n' =>
  lines[index]?.end || lines[index - 1]?.end || '\n'

/** The byte order mark of a text, which does not belong to its first line. */
export const bomOf = (text: string): string => (text.startsWith('\ufeff') ? '\ufeff' : '')

export const isBlank = (line: string): boolean => line.trim() === ''

/** How lines are compared, the strictest first. */
const FORMS: readonly ((line: string) => string)[] = [
  (line) => line,
  (line) => line.trimEnd(),
  (line) => line.trim(),
]

export type Found = {
  /** The index of the first line of each place. */
  readonly places: readonly number[]
  /** Whether the lines differ in spaces. */
  readonly loosely: boolean
}

/** Finds lines, from the line `from` on: as they are or, if they are nowhere, without regard to the spaces around them. */
export function findLines(lines: readonly Line[], wanted: readonly string[], from = 0): Found {
  for (const [strictness, form] of FORMS.entries()) {
    // Blank lines alone say nothing about the place.
    if (strictness > 0 && wanted.every(isBlank)) break
    const sought = wanted.map(form)
    const places: number[] = []
    for (let at = from; at + sought.length <= lines.length; at += 1) {
      if (sought.every((text, index) => form(lines[at + index]?.text ?? '') === text)) {
        places.push(at)
      }
    }
    if (places.length > 0) return { places, loosely: strictness > 0 }
  }
  return { places: [], loosely: false }
}

/** The lines that a hunk is about, as they must be in the text. */
export const oldLines = (hunk: Hunk): string[] =>
  hunk.flatMap(({ op, text }) => (op === '+' ? [] : [text]))

/**
 * The lines with a hunk applied at the line `at`. Lines that stay keep their spaces and line ends; new lines get the
 * indentation and the line ends of the place. Null if the indentation of the hunk has another structure than the text.
 */
export function applyHunk(lines: readonly Line[], at: number, hunk: Hunk): Line[] | null {
  const count = oldLines(hunk).length
  const found = lines.slice(at, at + count)
  const indent = indentation(oldLines(hunk).map((text, index) => [text, found[index]?.text ?? '']))
  if (indent === null) return null
  const end = endNear(lines, at)
  const result: Line[] = []
  let next = at
  for (const { op, text } of hunk) {
    const line = lines[next]
    if (op === '+') result.push({ text: indent(text), end })
    else {
      if (op === ' ' && line !== undefined) result.push(line)
      next += 1
    }
  }
  const last = result.pop()
  if (last !== undefined) {
    const openEnd = count > 0 && next === lines.length && found.at(-1)?.end === ''
    result.push({ ...last, end: openEnd ? '' : last.end || end })
  }
  return [...lines.slice(0, at), ...result, ...lines.slice(next)]
}

type Pair = readonly [asked: string, found: string]

const indentOf = (line: string): string => /^[^\S\n]*/.exec(line)?.[0] ?? ''

/** Gives lines the indentation of the place that was found; null if the pairs of lines do not say how. */
function indentation(lines: readonly Pair[]): ((line: string) => string) | null {
  const known = new Map<string, string>()
  for (const [asked, found] of lines) {
    if (isBlank(asked)) continue
    const [from, to] = [indentOf(asked), indentOf(found)]
    if ((known.get(from) ?? to) !== to) return null
    known.set(from, to)
  }
  // If two levels of indentation became one, the program would change in some languages.
  if (new Set(known.values()).size < known.size) return null
  const pairs = [...known]
  const [first] = pairs
  if (first === undefined || pairs.every(([from, to]) => from === to)) return (line) => line
  const convert = shift(pairs) ?? translation(pairs)
  return (line) => {
    const own = indentOf(line)
    return isBlank(line) ? line : convert(own) + line.slice(own.length)
  }
}

/** If all lines are indented more, or less, by the same piece, adds or removes that piece. */
function shift(pairs: readonly Pair[]): ((indent: string) => string) | null {
  const [[from, to] = ['', '']] = pairs
  const more = to.slice(0, Math.max(0, to.length - from.length))
  const less = from.slice(0, Math.max(0, from.length - to.length))
  if (!pairs.every(([asked, found]) => more + asked === less + found)) return null
  return (indent) => more + (indent.startsWith(less) ? indent.slice(less.length) : indent)
}

/** Replaces the longest known beginning of an indentation, and tabs by spaces, or spaces by tabs, in the rest. */
function translation(pairs: readonly Pair[]): (indent: string) => string {
  const longestFirst = pairs.toSorted(([a], [b]) => b.length - a.length)
  const unit = longestFirst.findLast(([from, to]) => from !== '' && to !== '')
  return (indent) => {
    const known = longestFirst.find(([from]) => indent.startsWith(from))
    if (known === undefined) return indent
    return known[1] + inUnits(indent.slice(known[0].length), unit)
  }
}

function inUnits(indent: string, unit: Pair | undefined): string {
  if (unit === undefined) return indent
  const [from, to] = unit
  const isOther = /^ +$/.test(from) ? /^\t+$/.test(to) : /^\t+$/.test(from) && /^ +$/.test(to)
  const [width, whole] = [from.length / to.length, Math.floor(indent.length / from.length)]
  if (!isOther || (width > 1 && !Number.isInteger(width))) return indent
  return width > 1
    ? '\t'.repeat(Math.floor(indent.length / width)) + ' '.repeat(indent.length % width)
    : to.repeat(whole) + indent.slice(whole * from.length)
}
