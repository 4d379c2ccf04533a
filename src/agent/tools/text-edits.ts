import { err, ok, type Result } from 'neverthrow'

/** A piece of text to replace, at its only place or at all its places. */
export type Edit = { readonly old: string; readonly new: string; readonly replaceAll: boolean }

/** Lines to find (` ` and `-`), and what comes in their place (` ` and `+`). */
export type Hunk = readonly { readonly op: ' ' | '-' | '+'; readonly text: string }[]

/** The line end of a text that has one kind of them; null if it has none or both. */
function endOf(text: string): '\n' | '\r\n' | null {
  if (!text.includes('\r\n')) return text.includes('\n') ? '\n' : null
  return /(?<!\r)\n/.test(text) ? null : '\r\n'
}

/** The byte order mark of a text, which does not belong to its first line. */
export const bomOf = (text: string): string => (text.startsWith('\ufeff') ? '\ufeff' : '')

/** Changes the lines of a text, which keeps its byte order mark and, if it has one kind of them, its line ends. */
export function changeLines<E>(
  text: string,
  change: (lines: readonly string[]) => Result<readonly string[], E>,
): Result<string, E> {
  const bom = bomOf(text)
  const end = endOf(text) ?? '\n'
  return change(text.slice(bom.length).split(end)).map((lines) => bom + lines.join(end))
}

/**
 * Replaces text that occurs exactly once, or everywhere. Only its line ends may differ from those of a text that has one kind
 * of them. The error is for the model. `times`: how many places were replaced.
 */
export function editText(path: string, text: string, edit: Edit) {
  const end = endOf(text)
  const inText = (part: string) => (end === null ? part : part.replace(/\r?\n/g, end))
  const [old, fresh] = [inText(edit.old), inText(edit.new)]
  if (old === fresh) return err('"old" and "new" are the same. Nothing was changed.')
  const times = text.split(old).length - 1
  if (times === 0) return err(missing('"old"', path))
  const lines = edit.replaceAll ? [] : linesWith(text, old)
  if (lines.length > 1) return err(several('"old"', path, lines))
  return ok({ text: text.split(old).join(fresh), times })
}

/** The numbers of the lines in which a text occurs. Overlapping places count: each of them could be meant. */
function linesWith(text: string, part: string): number[] {
  const lines: number[] = []
  let line = 1
  let before = 0
  for (let at = text.indexOf(part); at !== -1; at = text.indexOf(part, at + 1)) {
    line += text.slice(before, at).split('\n').length - 1
    before = at
    lines.push(line)
  }
  return lines
}

export const missing = (what: string, path: string): string =>
  `${what} occurs 0 times in ${path}. Nothing was changed. Read the place, and write its lines as they are, without the numbers of the lines.`

export const several = (what: string, path: string, lines: readonly number[]): string =>
  `${what} occurs ${lines.length} times in ${path} (lines ${lines.slice(0, 10).join(', ')}), but must occur exactly once. Nothing was changed. Include more lines around the place.`

/** The lines of a text, without their ends. */
export const linesOf = (text: string): string[] =>
  text === '' ? [] : text.replace(/\r?\n$/, '').split(/\r?\n/)

/**
 * The index of the first line of each place where these lines are, from the line `from` on. In a text with both kinds of
 * line ends, some lines still have a part of theirs.
 */
export function placesOf(
  lines: readonly string[],
  wanted: readonly string[],
  from: number,
): number[] {
  const places: number[] = []
  for (let at = from; at + wanted.length <= lines.length; at += 1) {
    const isLike = (text: string, index: number) =>
      lines[at + index] === text || lines[at + index] === `${text}\r`
    if (wanted.every(isLike)) places.push(at)
  }
  return places
}

/** The lines with a hunk in place of those at `at`. Lines that stay are as they were. */
export function applyHunk(lines: readonly string[], at: number, hunk: Hunk): string[] {
  let next = at
  const changed = hunk.flatMap(({ op, text }) => {
    if (op === '+') return [text]
    next += 1
    return op === ' ' ? [lines[next - 1] ?? ''] : []
  })
  return [...lines.slice(0, at), ...changed, ...lines.slice(next)]
}
