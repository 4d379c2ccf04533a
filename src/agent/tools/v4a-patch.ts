import { err, ok, type Result } from 'neverthrow'
import { missOf } from './file-patch.ts'
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

/** A part of a file that changes. */
type Part = {
  /** Lines above it, from the outermost: they say which of several places is meant. */
  readonly headers: readonly string[]
  readonly hunk: Hunk
  /** It ends where the file ends. */
  readonly isLast: boolean
}

/** What a patch does with a file. */
export type PatchedFile =
  | { readonly type: 'add'; readonly path: string; readonly content: string }
  | { readonly type: 'delete'; readonly path: string }
  | {
      readonly type: 'update'
      readonly path: string
      /** Its new path; null if it stays where it is. */
      readonly to: string | null
      readonly parts: readonly Part[]
    }

const BEGIN = '*** Begin Patch'
const END = '*** End Patch'
const END_OF_FILE = '*** End of File'
const FILE = /^\*\*\* (Add|Update|Delete) File: (.+)$/
const MOVE = /^\*\*\* Move to: (.+)$/
/** The numbers of a unified diff, which some models write from habit. */
const NUMBERS = /^-\d+(?:,\d+)? \+\d+(?:,\d+)? @@ ?/

/** Reads a patch in the format V4A; the error is a sentence for the model. */
export function parsePatch(input: string): Result<readonly PatchedFile[], string> {
  const lines = splitLines(input).map(({ text }) => text)
  const begin = lines.findIndex((line) => line.trim() === BEGIN)
  const end = lines.findLastIndex((line) => line.trim() === END)
  if (begin === -1) return err(`The patch must begin with the line "${BEGIN}".`)
  if (end === -1) return err(`The patch does not end with the line "${END}": it may be cut off.`)
  const files: PatchedFile[] = []
  for (let at = begin + 1; at < end; ) {
    const [, type, path = ''] = FILE.exec(lines[at] ?? '') ?? []
    if (type === undefined) {
      if (lines[at]?.trim() === '') {
        at += 1
        continue
      }
      return err(
        `Line ${at + 1} of the patch must be "*** Update File: path", "*** Add File: path" or "*** Delete File: path".`,
      )
    }
    const next = lines.findIndex((line, index) => index > at && (index === end || FILE.test(line)))
    const body = { lines: lines.slice(at + 1, next), first: at + 2 }
    const file = parseFile(type, path.trim(), body)
    if (file.isErr()) return err(file.error)
    files.push(file.value)
    at = next
  }
  return files.length === 0 ? err('The patch names no file.') : ok(files)
}

/** The lines that follow the line with the name of a file, and the number of the first of them. */
type Body = { readonly lines: readonly string[]; readonly first: number }

function parseFile(
  type: string,
  path: string,
  { lines, first }: Body,
): Result<PatchedFile, string> {
  if (type === 'Update') return parseUpdate(path, { lines, first })
  if (type === 'Delete') {
    const odd = lines.findIndex((line) => line.trim() !== '')
    if (odd === -1) return ok({ type: 'delete', path })
    return err(
      `Line ${first + odd} of the patch must be "*** Update File: path" or the like: a file that is deleted has no lines.`,
    )
  }
  const written = withoutBlankEnd(lines)
  const odd = written.findIndex((line) => !line.startsWith('+'))
  if (odd !== -1)
    return err(`Line ${first + odd} of the patch must begin with "+": it is a line of a new file.`)
  return ok({ type: 'add', path, content: written.map((line) => `${line.slice(1)}\n`).join('') })
}

function parseUpdate(path: string, { lines, first }: Body): Result<PatchedFile, string> {
  const to = MOVE.exec(lines[0] ?? '')?.[1]?.trim() ?? null
  const parts: Part[] = []
  let headers: string[] = []
  let hunk: string[] = []
  const finish = (isLast: boolean): void => {
    const ops = withoutBlankEnd(hunk).map((line) => {
      return { op: (line[0] ?? ' ') as Hunk[number]['op'], text: line.slice(1) }
    })
    if (ops.length === 0) return
    parts.push({ headers, hunk: ops, isLast })
    headers = []
    hunk = []
  }
  for (const [index, line] of lines.entries()) {
    if (index === 0 && to !== null) continue
    if (line.startsWith('@@')) {
      finish(false)
      const header = line.slice(2).trimStart().replace(NUMBERS, '')
      if (header !== '') headers.push(header)
    } else if (line.trim() === END_OF_FILE) finish(true)
    else if (line === '' || /^[ +-]/.test(line)) hunk.push(line)
    else {
      return err(`Line ${first + index} of the patch must begin with a space, "+", "-" or "@@".`)
    }
  }
  finish(false)
  if (parts.length === 0 && to === null) return err(`The patch changes nothing in ${path}.`)
  return ok({ type: 'update', path, to, parts })
}

/** Without empty lines at the end: they separate the parts of a patch. */
const withoutBlankEnd = (lines: readonly string[]): readonly string[] =>
  lines.slice(0, lines.findLastIndex((line) => line !== '') + 1)

type Patched = {
  readonly text: string
  /** Numbers of lines that were found only without regard to spaces. */
  readonly loosely: readonly number[]
}

/** Applies the parts to a text, from its beginning to its end. The error is for the model. */
export function applyParts(
  path: string,
  text: string,
  parts: readonly Part[],
): Result<Patched, string> {
  const bom = bomOf(text)
  let lines: readonly Line[] = splitLines(text.slice(bom.length))
  let from = 0
  const loosely: number[] = []
  for (const part of parts) {
    const place = placeOf(path, lines, part, from)
    if (place.isErr()) return err(place.error)
    const { at } = place.value
    const applied = applyHunk(lines, at, part.hunk)
    if (applied === null) {
      return err(
        `The lines of a part are at line ${at + 1} of ${path} only with other levels of indentation. Read them again and write them as they are.`,
      )
    }
    if (place.value.loosely) loosely.push(at + 1)
    from = at + part.hunk.filter(({ op }) => op !== '-').length
    lines = applied
  }
  return ok({ text: bom + joinLines(lines), loosely })
}

type Place = { readonly at: number; readonly loosely: boolean }

function placeOf(
  path: string,
  lines: readonly Line[],
  { headers, hunk, isLast }: Part,
  from: number,
): Result<Place, string> {
  let start = from
  for (const header of headers) {
    const [exact] = findLines(lines, [header], start).places
    const begins = ({ text }: Line, index: number) =>
      index >= start && text.trim().startsWith(header.trim())
    const at = exact ?? lines.findIndex(begins)
    if (at === -1) return err(missOf(`"@@ ${header}"`, path, joinLines(lines), [header]))
    start = at + 1
  }
  const wanted = oldLines(hunk)
  if (wanted.length === 0) {
    return ok({ at: headers.length > 0 && !isLast ? start : lines.length, loosely: false })
  }
  const { places, loosely } = findLines(lines, wanted, start)
  const fitting = isLast ? places.filter((at) => at + wanted.length === lines.length) : places
  const [at] = fitting
  if (at === undefined) return err(missOf('A part of the patch', path, joinLines(lines), wanted))
  if (fitting.length > 1 && (headers.length === 0 || loosely)) {
    const where = fitting.slice(0, 10).map((place) => place + 1)
    return err(
      `The lines of a part occur ${fitting.length} times in ${path} (lines ${where.join(', ')}). Add lines around the place, or "@@" with a line above it, such as the function that it is in.`,
    )
  }
  return ok({ at, loosely })
}
