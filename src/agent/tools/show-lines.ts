import { diffArrays, structuredPatch } from 'diff'
import { isBlank, type Line, splitLines } from './line-edits.ts'
import { cutLine, FOUND_LINE_CHARS } from './recorded-output.ts'

/** Lines of a miss that are compared. */
const COMPARED_LINES = 60
/** Lines in which a similar one is searched, if none is equal. */
const SEARCHED_LINES = 50_000
/** Below this, two lines have nothing in common. */
const LEAST_SIMILARITY = 0.4

/** The place of a text that is most like the wanted lines, as a small diff with line numbers; null if nothing is. */
export function nearestPlace(lines: readonly Line[], wanted: readonly string[]): string | null {
  const asked = wanted.slice(0, COMPARED_LINES)
  const at = sharedPlace(lines, asked) ?? similarPlace(lines, asked)
  if (at === null) return null
  const found = lines.slice(at, at + asked.length).map(({ text }) => text)
  let number = at
  const diff = diffArrays([...asked], found).flatMap(({ added, removed, value }) =>
    value.map((line) => {
      if (!removed) number += 1
      return `${added ? '+' : removed ? '-' : ' '} ${removed ? '' : number}\t${cut(line)}`
    }),
  )
  return diff.join('\n')
}

const cut = (line: string): string => cutLine(line, FOUND_LINE_CHARS)

/** Where most of the wanted lines are; long lines count more, and lines that are common count less. */
function sharedPlace(lines: readonly Line[], wanted: readonly string[]): number | null {
  const indices = new Map<string, number[]>()
  for (const [index, line] of wanted.entries()) {
    if (isBlank(line)) continue
    const of = indices.get(line.trim())
    if (of === undefined) indices.set(line.trim(), [index])
    else of.push(index)
  }
  const votes = new Map<number, number>()
  let best: number | null = null
  for (const [number, { text }] of lines.entries()) {
    for (const index of indices.get(text.trim()) ?? []) {
      const at = Math.max(0, number - index)
      const sum = (votes.get(at) ?? 0) + Math.min(40, text.trim().length)
      votes.set(at, sum)
      if (best === null || sum > (votes.get(best) ?? 0)) best = at
    }
  }
  return best
}

/** Where the line is that is most like the longest wanted line. */
function similarPlace(lines: readonly Line[], wanted: readonly string[]): number | null {
  const index = wanted.reduce(
    (longest, line, at) =>
      line.trim().length > (wanted[longest]?.trim().length ?? 0) ? at : longest,
    0,
  )
  const pairs = pairsOf(wanted[index] ?? '')
  let best = { at: -1, similarity: LEAST_SIMILARITY }
  for (const [number, { text }] of lines.slice(0, SEARCHED_LINES).entries()) {
    const others = pairsOf(text)
    const shared = [...others].filter((pair) => pairs.has(pair)).length
    const similarity = (2 * shared) / (pairs.size + others.size)
    if (similarity > best.similarity) best = { at: Math.max(0, number - index), similarity }
  }
  return best.at === -1 ? null : best.at
}

/** The pairs of characters that follow each other. */
function pairsOf(line: string): Set<string> {
  const text = line.trim().slice(0, FOUND_LINE_CHARS)
  return new Set(
    Array.from({ length: Math.max(0, text.length - 1) }, (_, at) => text.slice(at, at + 2)),
  )
}

const CONTEXT_LINES = 2
const SHOWN_LINES = 30
/** A text of more characters is not compared. */
const MAX_COMPARED_CHARS = 2 * 1024 * 1024
const TIMEOUT_MS = 200

/** The changed lines of a text with the lines around them, numbered; empty if comparing them would take long. */
export function changedLines(before: string, after: string): string {
  if (Math.max(before.length, after.length) > MAX_COMPARED_CHARS) return ''
  const options = { context: CONTEXT_LINES, timeout: TIMEOUT_MS }
  const patch = structuredPatch('', '', before, after, undefined, undefined, options)
  const lines = splitLines(after)
  const parts = (patch?.hunks ?? []).map(({ newStart, newLines }) =>
    numbered(lines.slice(newStart - 1, newStart - 1 + newLines), newStart),
  )
  const shown = parts.flatMap((part, index) => (index === 0 ? part : ['⋮', ...part]))
  return shown.length <= SHOWN_LINES
    ? shown.join('\n')
    : [...shown.slice(0, SHOWN_LINES - 8), '⋮', ...shown.slice(-7)].join('\n')
}

const numbered = (lines: readonly Line[], first: number): string[] =>
  lines.map(({ text }, index) => `${first + index}\t${cut(text)}`)
