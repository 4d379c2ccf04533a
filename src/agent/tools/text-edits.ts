import { err, ok, type Result } from 'neverthrow'
import {
  applyHunk,
  bomOf,
  findLines,
  type Hunk,
  joinLines,
  type Line,
  oldLines,
  splitLines,
} from './line-edits.ts'

/** A piece of text to replace, at its only place or at all its places. */
export type Edit = { readonly old: string; readonly new: string; readonly replaceAll: boolean }

export type EditProblem =
  | { readonly type: 'same' }
  /** `lines` are numbers of lines, from 1. `loosely`: the places differ from the old text in spaces. */
  | { readonly type: 'several'; readonly lines: readonly number[]; readonly loosely: boolean }
  | { readonly type: 'missing' }
  /** It is there, but with other levels of indentation than the text has. */
  | { readonly type: 'indented_otherwise'; readonly line: number }

export type Edited = {
  readonly text: string
  /** Where it was replaced: numbers of lines of the text before, from 1. */
  readonly lines: readonly number[]
  /** Whether the text was found only without regard to spaces. */
  readonly loosely: boolean
}

/**
 * Replaces text that occurs exactly once, or everywhere. If it does not occur, its line ends may differ, and after that
 * the spaces around its lines. Everything else in the text stays as it is, byte for byte.
 */
export function editText(text: string, edit: Edit): Result<Edited, EditProblem> {
  if (edit.old === edit.new) return err({ type: 'same' })
  for (const old of new Set([
    edit.old,
    ...lineEndsOf(text).map((end) => withEnds(edit.old, end)),
  ])) {
    const places = placesOf(text, old, edit.replaceAll)
    if (places.length === 0) continue
    const lines = numbersOf(text, places)
    if (places.length > 1 && !edit.replaceAll)
      return err({ type: 'several', lines, loosely: false })
    const fresh = replacement(text, old, edit)
    return ok({ text: replaceAt(text, places, old.length, fresh), lines, loosely: false })
  }
  return editLines(text, edit)
}

/** Both, if the text has lines of both kinds. */
const lineEndsOf = (text: string): ('\n' | '\r\n')[] => [
  ...(/(?<!\r)\n/.test(text) ? ['\n' as const] : []),
  ...(text.includes('\r\n') ? ['\r\n' as const] : []),
]

const withEnds = (text: string, end: string): string => text.replace(/\r?\n/g, () => end)

/** The new text with the line ends of the text, or of what it replaces. */
function replacement(text: string, old: string, edit: Edit): string {
  const [end, other] = lineEndsOf(text)
  if (end === '\r\n') return withEnds(edit.new, end)
  if (old === edit.old || other === undefined) return edit.new
  return withEnds(edit.new, old.includes('\r\n') ? '\r\n' : '\n')
}

/** The places of a part. If only one may exist, overlapping places count too: each of them could be meant. */
function placesOf(text: string, part: string, apart: boolean): number[] {
  const places: number[] = []
  const step = apart ? part.length : 1
  for (let at = text.indexOf(part); at !== -1; at = text.indexOf(part, at + step)) places.push(at)
  return places
}

function numbersOf(text: string, places: readonly number[]): number[] {
  let [line, at] = [1, 0]
  return places.map((place) => {
    for (let end = text.indexOf('\n', at); end !== -1 && end < place; ) {
      line += 1
      at = end + 1
      end = text.indexOf('\n', at)
    }
    return line
  })
}

function replaceAt(text: string, places: readonly number[], length: number, fresh: string): string {
  let [result, at] = ['', 0]
  for (const place of places) {
    result += text.slice(at, place) + fresh
    at = place + length
  }
  return result + text.slice(at)
}

/** Replaces whole lines that differ from the old ones only in the spaces around them. */
function editLines(text: string, edit: Edit): Result<Edited, EditProblem> {
  const hunk = hunkOf(edit)
  const wanted = oldLines(hunk)
  const bom = bomOf(text)
  let lines: readonly Line[] = splitLines(text.slice(bom.length))
  const places = apart(findLines(lines, wanted).places, edit.replaceAll ? wanted.length : 1)
  if (places.length === 0) return err({ type: 'missing' })
  const numbers = places.map((place) => place + 1)
  if (places.length > 1 && !edit.replaceAll) {
    return err({ type: 'several', lines: numbers, loosely: true })
  }
  for (const place of places.toReversed()) {
    const applied = applyHunk(lines, place, hunk)
    if (applied === null) return err({ type: 'indented_otherwise', line: place + 1 })
    lines = applied
  }
  return ok({ text: bom + joinLines(lines), lines: numbers, loosely: true })
}

/** The places that do not overlap. */
function apart(places: readonly number[], length: number): number[] {
  let end = 0
  return places.filter((place) => {
    const isFree = place >= end
    if (isFree) end = place + length
    return isFree
  })
}

/** The lines that the old and the new text share at their beginning and end stay as they are. */
function hunkOf(edit: Edit): Hunk {
  const old = linesOf(edit.old)
  const fresh = linesOf(edit.new)
  if (!edit.old.endsWith('\n') && edit.new.endsWith('\n')) fresh.push('')
  if (!edit.old.endsWith('\n') && edit.new === '') fresh.push('')
  const most = Math.min(old.length, fresh.length)
  let head = 0
  while (head < most && old[head] === fresh[head]) head += 1
  let tail = 0
  while (tail < most - head && old.at(-1 - tail) === fresh.at(-1 - tail)) tail += 1
  const as = (op: Hunk[number]['op'], lines: readonly string[]) =>
    lines.map((text) => ({ op, text }))
  return [
    ...as(' ', old.slice(0, head)),
    ...as('-', old.slice(head, old.length - tail)),
    ...as('+', fresh.slice(head, fresh.length - tail)),
    ...as(' ', old.slice(old.length - tail)),
  ]
}

const linesOf = (text: string): string[] => splitLines(text).map((line) => line.text)
