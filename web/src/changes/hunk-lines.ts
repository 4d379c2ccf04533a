import { parsePatch } from 'diff'

/** A line as it is shown. `mark` is what is said between lines: where a part begins, or that a line break is missing. */
export type NumberedLine = {
  readonly type: 'same' | 'removed' | 'added' | 'mark'
  readonly text: string
  /** The numbers of the line in the old and in the new file, from 1; null where it is not. */
  readonly old: number | null
  readonly new: number | null
}

const TYPES: ReadonlyMap<string, NumberedLine['type']> = new Map([
  [' ', 'same'],
  ['-', 'removed'],
  ['+', 'added'],
])

/** The lines of the hunks in a patch of git. @throws Error if it is not one */
export function hunkLines(patch: string): NumberedLine[] {
  const hunks = parsePatch(patch).flatMap((file) => file.hunks)
  return hunks.flatMap(({ oldStart, newStart, lines }) => {
    let old = oldStart
    let fresh = newStart
    const shown = lines.map((line): NumberedLine => {
      const type = TYPES.get(line.charAt(0)) ?? 'mark'
      const text = type === 'mark' ? line.slice(2) : line.slice(1)
      if (type === 'mark') return { type, text, old: null, new: null }
      return {
        type,
        text,
        old: type === 'added' ? null : old++,
        new: type === 'removed' ? null : fresh++,
      }
    })
    const place = `Line ${Math.max(1, newStart)}`
    return [{ type: 'mark', text: place, old: null, new: null }, ...shown]
  })
}

/** The lines of a whole file. */
export function fileLines(text: string): NumberedLine[] {
  const lines = text.split('\n')
  if (lines.at(-1) === '') lines.pop()
  return lines.map((line, index) => ({ type: 'same', text: line, old: null, new: index + 1 }))
}
